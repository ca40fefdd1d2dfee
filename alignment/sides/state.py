"""Carries the weights of a live model to its twin in the other framework, by name.

The common form is a dict of arrays in Paddle's names and layouts. PyTorch differs from it in two points: its running
statistics are called `running_mean` and `running_var`, and the weight of its Linear is [out, in].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

STATISTICS = {"running_mean": "_mean", "running_var": "_variance"}
Layout = dict[str, tuple[tuple[int, ...], np.dtype]]  # shape and type of each array
COUNTER = "num_batches_tracked"  # PyTorch counts batches for a rule that needs no momentum; Paddle has no such rule


def read_weights(model: Any) -> dict[str, np.ndarray]:
    """Copies of a model's parameters and statistics, in Paddle's names and layouts."""
    found = {}
    for name, tensor, transposed in _entries(model):
        array = tensor.detach().cpu().numpy()
        found[name] = (array.T if transposed else array).copy()
    return found


def write_weights(model: Any, arrays: dict[str, np.ndarray]) -> None:
    """Puts arrays in Paddle's names and layouts into a model, all of them or none.

    Raises:
        ValueError: A tensor of either side has no twin, or its twin has another shape or a narrower type.
    """
    layout = require_fit(model, arrays)
    assign(model, {name: array.astype(layout[name][1], copy=False) for name, array in arrays.items()})


def require_fit(model: Any, arrays: dict[str, np.ndarray]) -> Layout:
    """The layout of a model, which has exactly these arrays.

    Raises:
        ValueError: As `write_weights`.
    """
    expected = {
        name: (tuple(tensor.shape)[:: -1 if transposed else 1], np.dtype(str(tensor.dtype).rpartition(".")[2]))
        for name, tensor, transposed in _entries(model)
    }
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
    return expected


def paddle_name(torch_name: str) -> str:
    """`backbone.bn1.running_mean` -> `backbone.bn1._mean`; other names are the same."""
    path, _, last = torch_name.rpartition(".")
    return f"{path}.{STATISTICS.get(last, last)}".lstrip(".")


def is_torch(model: Any) -> bool:
    """Whether a model is of PyTorch rather than of Paddle, found without importing either."""
    return is_of(model, "torch")


def named_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """(path, layer) of a model and of all that is in it; Paddle before 3.3 has no `named_modules`."""
    return model.named_modules() if is_torch(model) else model.named_sublayers(include_self=True)


def is_of(model: Any, framework: str) -> bool:
    """Whether an object's class, or one that it inherits from, is of a framework."""
    return any(cls.__module__.partition(".")[0] == framework for cls in type(model).__mro__)


def _entries(model: Any) -> Iterator[tuple[str, Any, bool]]:
    """Paddle's name of each array of a model, its tensor, and whether Paddle stores it the other way round."""
    if not is_torch(model):
        yield from ((name, tensor, False) for name, tensor in model.state_dict().items())
        return
    from torch import nn

    linear = {f"{path}.weight".lstrip(".") for path, module in model.named_modules() if isinstance(module, nn.Linear)}
    for name, tensor in model.state_dict().items():
        if not name.endswith(COUNTER):
            yield paddle_name(name), tensor, name in linear


def assign(model: Any, arrays: dict[str, np.ndarray]) -> None:
    """Puts arrays that are known to fit into a model; weights that are not among them stay."""
    for name, tensor, transposed in _entries(model):
        if name not in arrays:
            continue
        if not is_torch(model):
            tensor.set_value(arrays[name])
        else:
            import torch

            tensor.copy_(torch.from_numpy(np.ascontiguousarray(arrays[name].T if transposed else arrays[name])))
