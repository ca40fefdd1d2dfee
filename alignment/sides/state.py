"""Carries the weights of a live model to its twin in the other framework, by name.

The common form is a dict of arrays in Paddle's names and layouts, fused weights in parts: see `parameters`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from alignment.sides.parameters import NO_LAYERS, Layers, Part, parts, rules_of


def read_weights(model: Any, layers: Layers = NO_LAYERS) -> dict[str, np.ndarray]:
    """Copies of a model's parameters and statistics, in Paddle's names and layouts.

    Args:
        model: torch.nn.Module or paddle.nn.Layer.
        layers: Rules for layers that `parameters.LAYERS` does not know, here and below.
    """
    return {part.name: part.view(part.tensor.detach().cpu().numpy()).copy() for part in weight_parts(model, layers)}


def write_weights(model: Any, arrays: dict[str, np.ndarray], layers: Layers = NO_LAYERS) -> None:
    """Puts arrays in Paddle's names and layouts into a model, all of them or none.

    Raises:
        ValueError: A tensor of either side has no twin, or its twin has another shape or a narrower type.
    """
    require_fit(model, arrays, layers)
    assign(model, arrays, layers)


def require_fit(model: Any, arrays: dict[str, np.ndarray], layers: Layers = NO_LAYERS) -> None:
    """Raises ValueError, as `write_weights`, unless a model has exactly these arrays."""
    expected = {part.name: _layout(part) for part in weight_parts(model, layers)}
    problems = [f"{name} has no source" for name in expected.keys() - arrays.keys()]
    problems += [f"{name} has no target" for name in arrays.keys() - expected.keys()]
    for name in expected.keys() & arrays.keys():
        (shape, dtype), new = expected[name], arrays[name]
        if shape != new.shape:
            problems.append(f"{name} is {list(new.shape)}, the target's {list(shape)}")
        elif not np.can_cast(new.dtype, dtype, "safe"):
            problems.append(f"{name} is {new.dtype}, the target's {dtype}")
    if problems:
        shown = "; ".join(sorted(problems)[:5])
        raise ValueError(f"{len(problems)} weights do not fit, build both models with the same options: {shown}")


def _layout(part: Part) -> tuple[tuple[int, ...], np.dtype]:
    dtype = np.dtype(str(part.tensor.dtype).rpartition(".")[2])
    return part.view(np.broadcast_to(np.zeros((), dtype), tuple(part.tensor.shape))).shape, dtype


def is_torch(model: Any) -> bool:
    """Whether a model is of PyTorch rather than of Paddle, found without importing either."""
    return is_of(model, "torch")


def named_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """(path, layer) of a model and of all that is in it; Paddle before 3.3 has no `named_modules`."""
    return model.named_modules() if is_torch(model) else model.named_sublayers(include_self=True)


def all_layers(model: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The same, with a layer that is used in two places under both paths."""
    yield path, model
    children = model._modules if is_torch(model) else model._sub_layers
    for name, child in children.items():
        if child is not None:
            yield from all_layers(child, f"{path}.{name}" if path else name)


def is_of(model: Any, framework: str) -> bool:
    """Whether an object's class, or one that it inherits from, is of a framework."""
    return any(cls.__module__.partition(".")[0] == framework for cls in type(model).__mro__)


def weight_parts(model: Any, layers: Layers = NO_LAYERS) -> Iterator[Part]:
    """The parts of a model's parameters and statistics."""
    return parts(model.state_dict(), rules_of(all_layers(model), layers))


def assign(model: Any, arrays: dict[str, np.ndarray], layers: Layers = NO_LAYERS) -> None:
    """Puts arrays that are known to fit into a model; weights that are not among them stay."""
    wanted = (part for part in weight_parts(model, layers) if part.name in arrays)
    for _, group in itertools.groupby(wanted, key=lambda part: part.own):
        pieces = list(group)
        tensor = pieces[0].tensor
        array = np.array(tensor.detach().cpu().numpy())
        for part in pieces:
            part.view(array)[...] = arrays[part.name]
        if is_torch(model):
            import torch

            tensor.copy_(torch.from_numpy(array))
        else:
            tensor.set_value(array)
