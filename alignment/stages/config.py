"""Every constant of every layer and of the optimizer, read off both live objects."""

from __future__ import annotations

from typing import Any

from alignment.audit.layers import compare_models
from alignment.audit.optimizers import compare_optimizers
from alignment.sides.pair import Pair, copied, optimization_of
from alignment.sides.state import is_torch, named_layers
from alignment.stages.session import Session
from alignment.verdicts.record import Stage, exact


def config(session: Session) -> Stage:
    """Compares what the two models and their optimizers are set to, before any number is computed."""
    stage, pair = Stage("config"), session.pair
    reference, candidate = copied(pair.reference, "reference"), copied(pair.candidate, "candidate")
    stage.records.append(
        exact("frozen layers", "constant", *(_frozen(model, pair) for model in (reference, candidate)))
    )
    reference.train()
    candidate.train()
    stage.records += compare_models(reference, candidate, pair.candidate_name, pair.layers)
    if pair.optimizer is not None:
        left = optimization_of(pair.optimizer.reference, reference, "reference")
        right = optimization_of(pair.optimizer.candidate, candidate, "candidate")
        stage.records += compare_optimizers(left, right, reference, candidate, pair.candidate_name, pair.layers)
    stage.notes = _alone(pair)
    stage.blame(lambda failure: f"The constant {failure.name} differs: {failure.reason}. Set it as in the reference.")
    return stage


def _frozen(model: Any, pair: Pair) -> list[str]:
    """The candidate's paths of norms that evaluate while their model trains, as a caller may have set them."""
    frozen = [path for path, layer in named_layers(model) if not layer.training and "Norm" in type(layer).__name__]
    return sorted(pair.candidate_name(path) if is_torch(model) else path for path in frozen if model.training)


def _alone(pair: Pair) -> list[str]:
    """Notes on layers that the other side does not have, such as a container around some, or a function there."""
    theirs, ours = dict(pair.reference.named_modules()), dict(pair.candidate.named_sublayers())
    twins = {path: pair.candidate_name(path) for path in theirs if path}
    alone = {
        "reference": [path for path, twin in twins.items() if twin not in ours and not _weights(theirs[path])],
        "candidate": [path for path in ours if path not in twins.values() and not _weights(ours[path])],
    }
    return [
        f"layers that the {side} alone has ({len(paths)}, none with weights, such as {', '.join(paths[:3])}) are seen "
        "in the layers around them"
        for side, paths in alone.items()
        if paths
    ]


def _weights(layer: Any) -> list[Any]:
    """The layer's own parameters."""
    return [parameter for parameter in layer._parameters.values() if parameter is not None]
