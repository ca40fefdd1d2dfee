"""`align`: the whole comparison of two live models."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from alignment.reports.environment import environment
from alignment.reports.report import Report
from alignment.sides.pair import IncomparableError, Pair, Sides, explained
from alignment.sides.parameters import NO_LAYERS, Layers, Rule
from alignment.sides.state import is_of, read_weights
from alignment.stages import STAGES, find_stage
from alignment.stages.session import Session
from alignment.verdicts.record import Stage

PRECISIONS = ("float64", "float32")
TRAIN_STEPS = 3


def align(
    *,
    reference: Any,
    candidate: Any,
    inputs: np.ndarray | Sequence[np.ndarray],
    labels: np.ndarray | None = None,
    loss: tuple[Callable, Callable] | Mapping[str, tuple[Callable, Callable]] | None = None,
    optimizer: tuple[Callable, Callable] | None = None,
    metric: tuple[Callable, Callable] | None = None,
    names: Sequence[tuple[str, str]] = (),
    layers: Layers = NO_LAYERS,
    opaque: Sequence[str] = (),
    copy: bool = True,
    steps: Sequence[str] | None = None,
    precision: str = "float64",
    train_steps: int = TRAIN_STEPS,
    seed: int = 0,
    title: str = "",
) -> Report:
    """Compares a Paddle model with the PyTorch model that it should equal.

    Both models are copied; theirs stay as they are, but for the weights that `copy` writes into the candidate.

    Args:
        reference: torch.nn.Module in float32.
        candidate: paddle.nn.Layer in float32.
        inputs: The models' positional arguments, one array or several; the first axis is the batch.
        labels: int64 [N], for losses and metrics.
        loss: Two functions (output, labels) -> scalar, PyTorch's and Paddle's, or a dict of such pairs by name, whose
            first is minimized.
        optimizer: Two functions model -> optimizer, or -> Optimization where there is clipping or a schedule.
        metric: Two functions (scores float64 [N, K], labels) -> dict of figures, on NumPy arrays.
        names: Pairs (pattern, replacement) of regular expressions from the reference's paths to the candidate's.
        layers: What the parameters of a layer are where the two sides keep them in different ways: classes of either
            framework -> patterns of names from the layer on -> Rule. `alignment/sides/parameters.py` has those of
            PyTorch's and Paddle's own layers.
        opaque: Patterns of paths of the reference; what lies inside these layers is computed in another way on purpose
            and only their outputs are compared.
        copy: Carry the reference's weights to the candidate first. If not, they must be equal already: this tests a
            converter of weights.
        steps: Names of stages; without them all for which there is what they need.
        precision: `float64`, where all that exceeds 1e-12 is a bug, or `float32`, judged by that reference's error.
        train_steps: Steps of the optimizer.
        seed: Of dropout masks and of what the stages make up.
        title: What the report calls the pair.

    Raises:
        IncomparableError: The two cannot be compared; the message says what to change.
    """
    arrays = tuple(np.asarray(a) for a in (inputs if isinstance(inputs, (tuple, list)) else (inputs,)))
    pair = Pair(
        reference=reference,
        candidate=candidate,
        inputs=arrays,
        labels=np.zeros(arrays[0].shape[:1] if arrays else (), np.int64) if labels is None else np.asarray(labels),
        losses=_losses(loss),
        optimizer=_sides(optimizer, "optimizer") if optimizer else None,
        metric=_sides(metric, "metric") if metric else None,
        names=tuple(names),
        layers=layers,
        opaque=tuple(opaque),
        carry=copy,
        title=title or type(candidate).__name__,
    )
    return align_pair(pair, steps=steps, precision=precision, train_steps=train_steps, seed=seed)


def align_pair(
    pair: Pair,
    *,
    steps: Sequence[str] | None = None,
    precision: str = "float64",
    train_steps: int = TRAIN_STEPS,
    seed: int = 0,
    until_failure: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> Report:
    """As `align`, for a pair that has been put together.

    Args:
        pair: What to compare.
        steps, precision, train_steps, seed: See `align`.
        until_failure: Leave out the stages after the first that fails.
        progress: Hears the name of each stage before it runs.
    """
    wanted = possible(pair) if steps is None else tuple(steps)
    _check(pair, wanted, precision)
    if train_steps < 1 or seed < 0:
        raise IncomparableError(f"train_steps must be 1 or more and seed 0 or more, got {train_steps} and {seed}")
    session = Session(pair, precision, seed, train_steps)
    stages: list[Stage] = []
    if "weights" not in wanted and any(STAGES[name].computes for name in wanted):
        find_stage("weights")(session)  # numbers can only be compared with equal weights
    for name in [name for name in STAGES if name in wanted]:
        progress(name)
        if STAGES[name].computes:
            session.start()
        began = time.perf_counter()
        try:
            stage = find_stage(name)(session)
        except IncomparableError as error:
            failed = [earlier for earlier in stages if not earlier.passed]
            if not failed:
                raise
            if failed[-1].name in ("config", "weights"):
                raise IncomparableError(f"{error}. Before that: {failed[0].sentence}") from error
            stages[-1].notes.append(f"the stages from {name} on were left out: {error}")
            break
        stage.seconds = time.perf_counter() - began
        stages.append(stage)
        if until_failure and not stage.passed:
            break
    settings = {
        "seed": seed, "train_steps": train_steps, "inputs": [list(array.shape) for array in pair.inputs],
        "labels": _shown(pair.labels), "weights": "carried over" if pair.carry else "as given",
        "running_variance": "Paddle's rule (biased)" if session.biased_variance else "unbiased",
    }  # fmt: skip
    return Report(pair.title, precision, stages, environment(), settings, tensors=session.tensors)


def possible(pair: Pair) -> tuple[str, ...]:
    """The stages that a pair has everything for, without those that run on request only."""
    return tuple(
        name
        for name, entry in STAGES.items()
        if not entry.on_request and all(getattr(pair, field) for field in entry.needs)
    )


def _shown(labels: np.ndarray) -> Any:
    """Labels as the report has them: of maps how often each occurs."""
    if labels.ndim == 1:
        return labels.tolist()
    values, counts = np.unique(labels, return_counts=True)
    return {str(value): int(count) for value, count in zip(values, counts, strict=True)}


def _losses(loss: Any) -> dict[str, Sides]:
    if loss is None:
        return {}
    named = loss if isinstance(loss, Mapping) else {"loss": loss}
    return {name: _sides(pair, "loss") for name, pair in named.items()}


def _sides(pair: Any, name: str) -> Sides:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise IncomparableError(f"{name} must be two functions, PyTorch's and Paddle's, got {pair!r}")
    return Sides(*pair)


def _check(pair: Pair, steps: Sequence[str], precision: str) -> None:
    """Raises IncomparableError for arguments that make no comparison."""
    unknown = [step for step in steps if step not in STAGES]
    if unknown:
        raise IncomparableError(f"steps must be among {', '.join(STAGES)}, got {', '.join(unknown)}")
    if not steps:
        raise IncomparableError(f"steps is empty: name some of {', '.join(STAGES)}")
    if precision not in PRECISIONS:
        raise IncomparableError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if not is_of(pair.reference, "torch") or not is_of(pair.candidate, "paddle"):
        raise IncomparableError(
            f"reference must be a torch.nn.Module and candidate a paddle.nn.Layer, "
            f"got {type(pair.reference).__name__} and {type(pair.candidate).__name__}"
        )
    _check_precision(pair)
    _check_patterns(pair)
    _check_layers(pair)
    for array in pair.inputs:
        if array.ndim == 0 or array.dtype.kind not in "fiub":
            raise IncomparableError(
                f"inputs must be arrays of numbers with a batch axis, got {array.dtype} {array.shape}"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise IncomparableError("inputs hold NaN or infinity")
    if not pair.inputs or pair.labels.ndim == 0:
        raise IncomparableError("inputs and labels must be arrays with a batch axis, one input at least")
    if len(pair.labels) != len(pair.inputs[0]):
        raise IncomparableError(f"there are {len(pair.labels)} labels for a batch of {len(pair.inputs[0])}")


def _check_precision(pair: Pair) -> None:
    kinds = {str(p.dtype).rpartition(".")[2] for model in (pair.reference, pair.candidate) for p in model.parameters()}
    if len(kinds) > 1 or not kinds <= set(PRECISIONS):
        raise IncomparableError(
            f"both models must be in float32 (or both in float64), found {', '.join(sorted(kinds))}"
        )


def _check_patterns(pair: Pair) -> None:
    try:
        for pattern in [*(pattern for pattern, _replacement in pair.names), *pair.opaque]:
            re.compile(pattern)
    except (re.error, ValueError, TypeError) as error:
        raise IncomparableError(
            f"names must be pairs (pattern, replacement) and opaque patterns, as re takes them: {error}"
        ) from error


def _check_layers(pair: Pair) -> None:
    """Raises IncomparableError for rules of layers that are none or do not fit what they are for."""
    if not isinstance(pair.layers, Mapping):
        raise IncomparableError(f"layers must be a dict of classes of layers, got {pair.layers!r}")
    for layer, rules in pair.layers.items():
        is_rules = isinstance(rules, Mapping) and all(isinstance(rule, Rule) for rule in rules.values())
        if not isinstance(layer, type) or not is_rules:
            raise IncomparableError(
                f"layers must be classes, each with a dict of patterns and Rules, got {layer!r}: {rules!r}"
            )
    for model in (pair.reference, pair.candidate):
        with explained(f"layers does not fit the parameters of {type(model).__name__}"):
            read_weights(model, pair.layers)
