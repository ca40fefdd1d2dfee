"""Models that nobody here wrote, as references for ours: their own code on one side, our Paddle model on the other.

The weights cross by `weights.translate`, the converter that users of public checkpoints get; the stage `weights` then
compares what has arrived by the names below, so that every tensor must have gone to its place.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import weights
from alignment.certification.certify import Upstream
from alignment.certification.objectives import CLASSES
from alignment.certification.recognizers import DROPOUT, recognizer_pair
from alignment.sides.pair import IncomparableError, Pair, one_line
from alignment.sides.state import read_weights, write_weights
from alignment.upstream import (
    efficient_3dcnns,
    mit_tsm,
    mmaction2,
    mvfnet,
    pyslowfast,
    pytorch_i3d,
    pytorchvideo,
    resnets_3d,
    timm,
    torchvision,
)
from alignment.upstream.source import LAYERS, Settings, Source
from configs import Recipe
from configs.networks import network_of

__all__ = ["SOURCES", "find_source", "find_upstream", "third_party_pair"]

# name, which is that of the layout of its weights too -> where its models come from
SOURCES: dict[str, Source] = {
    "mmaction2": mmaction2.SOURCE,
    "mit-tsm": mit_tsm.SOURCE,
    "mvfnet": mvfnet.SOURCE,
    "torchvision": torchvision.SOURCE,
    "timm": timm.SOURCE,
    "pytorchvideo": pytorchvideo.SOURCE,
    "pyslowfast": pyslowfast.SOURCE,
    "pytorch-i3d": pytorch_i3d.SOURCE,
    "efficient-3dcnns": efficient_3dcnns.SOURCE,
    "resnets-3d": resnets_3d.SOURCE,
}


def find_source(reference: str) -> tuple[str, Source, str]:
    """Name, source and path of the checkout from `NAME` or `NAME:PATH`.

    Raises:
        IncomparableError: The name is unknown, or there is no checkout at the path.
    """
    name, colon, path = reference.partition(":")
    if name not in SOURCES:
        known = ", ".join(f"{known}:PATH" if source.url else known for known, source in SOURCES.items())
        raise IncomparableError(f"--reference must be one of {known}, got {reference!r}")
    source = SOURCES[name]
    if not source.url and colon:
        raise IncomparableError(f"--reference {name} is an installed package and takes no path, got {path!r}")
    if source.url and not (path and (Path(path) / source.marker).is_file()):
        found = f"there is no {source.marker} in {path}" if path else "no path is given"
        raise IncomparableError(
            f"--reference {name}:PATH needs a checkout, and {found}: git clone {source.url} {path or 'PATH'}"
        )
    return name, source, path


def third_party_pair(
    reference: str,
    model: str,
    recipe: Recipe,
    clips: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int = 0,
    randomize: bool = True,
    options: Mapping[str, Any] | None = None,
) -> Pair:
    """A foreign model and ours with its weights, with everything that trains them.

    Args:
        reference: See `find_source`.
        model: A key of `models.MODELS` that the source has.
        recipe, clips, labels, seed, options: See `recognizer_pair`.
        randomize: Give the foreign model the weights of our PyTorch twin, which are nowhere 0 or 1. Without it both
            keep their own initial weights, for the stage `init`.

    Raises:
        IncomparableError: The source is not there, or does not have the model.
    """
    name, source, path = find_source(reference)
    if model not in source.models:
        raise IncomparableError(f"--model must be one that {name} has: {', '.join(source.models)}, got {model}")
    chosen = {"num_classes": CLASSES, "num_frames": clips.shape[1], "dropout": DROPOUT, **source.options(model)}
    chosen |= options or {}
    network = network_of(model, **{key: chosen[key] for key in chosen if key not in ("num_classes", "num_frames")})
    settings = Settings(chosen["num_classes"], chosen["num_frames"], network, clips.shape[-1])
    twins = recognizer_pair(model, recipe, clips, labels, seed=seed, randomize=randomize, options=chosen)
    pair = dataclasses.replace(
        twins,
        reference=_built(name, model, settings, path),
        names=source.names(model),
        layers=LAYERS,
        carry=False,
        title=f"{model}_vs_{name}",
    )
    if randomize:
        _give_weights(twins.reference, pair)
        state = {key: tensor.numpy() for key, tensor in pair.reference.state_dict().items()}
        weights.assign(pair.candidate, weights.translate(state, "the state", name))
    return pair


def find_upstream(reference: str) -> Upstream:
    """A source as `certify` takes it.

    Args:
        reference: See `find_source`, which says what this raises.
    """
    name, source, _ = find_source(reference)
    return Upstream(
        pair=functools.partial(third_party_pair, reference),
        models=source.models,
        same_initialization=source.same_initialization,
        describe=lambda: reference if source.url else f"{name} {importlib.metadata.version(name)}",
    )


def _built(name: str, model: str, settings: Settings, path: str) -> Any:
    """The source's model; whatever its code raises, in another release or beside another PyTorch, becomes one line."""
    try:
        return SOURCES[name].build(model, settings, path)
    except IncomparableError:
        raise
    except Exception as error:
        raise IncomparableError(f"the code of {name} cannot build {model}: {one_line(error)}") from error


def _give_weights(twin: Any, pair: Pair) -> None:
    """Puts the weights of our PyTorch twin into the foreign model."""
    back = {pair.candidate_name(name): name for name in read_weights(pair.reference, pair.layers)}
    try:
        arrays = {back.get(name, name): array for name, array in read_weights(twin).items()}
        write_weights(pair.reference, arrays, pair.layers)
    except ValueError as error:
        raise IncomparableError(f"{pair.title}: the two do not have the same weights: {error}") from error
