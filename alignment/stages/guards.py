"""Proof that the other stages could have failed: every weight, every sample and every loss makes a difference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from alignment.sides.pair import OUTPUT, IncomparableError
from alignment.stages.forward import run_isolated
from alignment.stages.session import Session, layer_of
from alignment.verdicts.difference import SAMPLE
from alignment.verdicts.judge import Judge
from alignment.verdicts.record import Record, Stage

PERTURBATION = 2.0**-6  # of the root mean square of a weight
# Of an output's scale: far above rounding, far below what a perturbation does; a bias may be small beside what a sum
# over many channels makes in evaluation.
NOTICED = {"float64": 2.0**-30, "float32": 2.0**-14}
SUFFIXES = ("weight", "bias", "_mean", "_variance")


def guards(session: Session) -> Stage:
    """Perturbs what was compared and demands that the comparison notices.

    Raises:
        IncomparableError: The stage forward has not run before.
    """
    if session.activations is None:
        raise IncomparableError("the stage guards needs the stage forward before it: name both in steps")
    stage = Stage("guards")
    for weights in _by_suffix(session.candidate.weights()):
        stage.records += _noticed(session, session.activations.reference, weights)
    if session.gradients is not None and session.activation_gradients is not None:
        stage.records += [_reached(name, array) for name, array in session.gradients.reference.items()]
        stage.records += _samples(session.activation_gradients)
    stage.blame(lambda failure: f"The comparison proves nothing about {failure.name}: {failure.reason}.")
    return stage


def _by_suffix(weights: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The float weights in groups in which no layer has two, as far as their names are usual.

    The projections of an attention are in one: by itself the bias of its keys changes nothing, as a softmax is the same
    for scores that are all larger by one number.
    """
    groups: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for name, array in weights.items():
        if array.dtype.kind == "f":
            groups[next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")][name] = array
    return list(groups.values())


def _noticed(session: Session, reference: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]) -> list[Record]:
    """Perturbs some weights at once; each owner, fed with the reference's activations, must differ."""
    rng = np.random.default_rng(session.seed)
    perturbed = {name: _perturbed(array, rng) for name, array in weights.items()}
    changed = _changed(session, reference, perturbed, alone=True)
    unseen: dict[str, dict[str, np.ndarray]] = defaultdict(dict)  # by owner, weights whose own layer is not observed
    records = {}
    for name, array in perturbed.items():
        layers = list(session.around(name))
        owner = next((layer for layer in layers if layer in changed), None)
        if owner and (changed[owner] or owner == layers[0]):
            records[name] = _record(name, changed[owner])
        else:
            unseen[owner or name][name] = array
    for group in unseen.values():
        noticed = _changed(session, reference, group, alone=False).get(OUTPUT, False)
        records |= {name: _record(name, noticed) for name in group}
    return [records[name] for name in perturbed]


def _changed(
    session: Session, reference: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray], alone: bool
) -> dict[str, bool]:
    """Whether each layer's output differs from the reference with these weights in the candidate."""
    found: dict[str, bool] = {}

    def notice(name: str, array: np.ndarray) -> None:
        layer = layer_of(name)
        if name in reference:
            found[layer] = found.get(layer, False) or _differs(reference[name], array, NOTICED[session.precision])

    session.candidate.reset()
    session.candidate.set_weights(weights)
    if alone:
        run_isolated(session.candidate, session.pair.inputs, reference, notice, "eval")
    else:
        session.candidate.forward(session.pair.inputs, notice)
    session.candidate.reset()
    return found


def _record(name: str, noticed: bool) -> Record:
    return Record(name, "guard", noticed, "" if noticed else "another value of it changes no output in evaluation")


def _differs(expected: np.ndarray, array: np.ndarray, least: float) -> bool:
    """Whether evenly spaced elements of two arrays differ by more than this fraction of the scale."""
    if expected.shape != array.shape or not expected.size:
        return expected.shape != array.shape
    step = max(1, expected.size // SAMPLE) | 1  # odd, so that it visits all channels
    a, b = (values.reshape(-1)[::step].astype(np.float64) for values in (expected, array))
    return bool(np.abs(a - b).max() > least * np.abs(a).max())


def _perturbed(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    size = float(np.sqrt(np.mean(np.square(array)))) or 1.0
    return array + PERTURBATION * size * np.abs(rng.normal(1.0, 0.25, array.shape)).astype(array.dtype)


def _reached(name: str, gradient: np.ndarray) -> Record:
    passed = bool(np.any(gradient))
    return Record(f"{name} gradient", "guard", passed, "" if passed else "it receives no gradient")


def _samples(gradients: Judge) -> list[Record]:
    """Every sample, and every frame of a clip [N, T, C, H, W], must reach the loss."""
    found = []
    for name, gradient in gradients.reference.items():
        if name.startswith("input "):
            axes = tuple(range(2 if gradient.ndim == 5 else 1, gradient.ndim))
            for index in np.argwhere(np.abs(gradient).max(axis=axes) == 0):
                place = f"{name}{[int(i) for i in index]}"
                found.append(Record(place, "guard", False, "it does not reach the loss"))
            found.append(Record(f"{name} reaches the loss", "guard", True))
    return found
