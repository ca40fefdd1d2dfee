"""Carries the weights of a live model to its twin in the other framework, by name.

The common form is a dict of arrays in Paddle's names and layouts. PyTorch differs from it in two points: its running
statistics are called `running_mean` and `running_var`, and the weight of its Linear is [out, in].
"""

from __future__ import annotations

from typing import Any

import numpy as np

STATISTICS = {"running_mean": "_mean", "running_var": "_variance"}
Layout = dict[str, tuple[tuple[int, ...], np.dtype]]  # shape and type of each array
COUNTER = "num_batches_tracked"  # PyTorch counts batches for a rule that needs no momentum; Paddle has no such rule


def copy_weights(source: Any, target: Any) -> int:
    """Copies every parameter and statistic of one model to the other, one of Paddle and one of PyTorch.

    Args:
        source: paddle.nn.Layer or torch.nn.Module.
        target: The same architecture in the other framework, or in the same one.

    Returns:
        The number of tensors, which both models have in common and which is all that each has.

    Raises:
        ValueError: A tensor of either side has no twin, or its twin has another shape or a narrower type.
    """
    arrays = read_weights(source)
    write_weights(target, arrays)
    return len(arrays)


def read_weights(model: Any) -> dict[str, np.ndarray]:
    """Copies of a model's parameters and statistics, in Paddle's names and layouts."""
    if not is_torch(model):
        return {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    transposed = _transposed(model)
    arrays = {}
    for name, tensor in model.state_dict().items():
        if not name.endswith(COUNTER):
            array = tensor.detach().cpu().numpy()
            arrays[paddle_name(name)] = (array.T if name in transposed else array).copy()
    return arrays


def write_weights(model: Any, arrays: dict[str, np.ndarray]) -> None:
    """Puts arrays in Paddle's names and layouts into a model, all of them or none.

    Raises:
        ValueError: As `copy_weights`.
    """
    layout = require_fit(model, arrays)
    assign(model, {name: array.astype(layout[name][1], copy=False) for name, array in arrays.items()})


def require_fit(model: Any, arrays: dict[str, np.ndarray]) -> Layout:
    """The layout of a model, which has exactly these arrays.

    Raises:
        ValueError: As `copy_weights`.
    """
    expected = _layout(model)
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
    last = STATISTICS.get(last, last)
    return f"{path}.{last}" if path else last


def is_torch(model: Any) -> bool:
    """Whether a model is of PyTorch rather than of Paddle, found without importing either."""
    return is_of(model, "torch")


def is_of(model: Any, framework: str) -> bool:
    """Whether an object's class, or one that it inherits from, is of a framework."""
    return any(cls.__module__.partition(".")[0] == framework for cls in type(model).__mro__)


def _transposed(model: Any) -> set[str]:
    """PyTorch's names of the weights that Paddle stores the other way round."""
    from torch import nn

    return {f"{path}.weight".lstrip(".") for path, module in model.named_modules() if isinstance(module, nn.Linear)}


def _layout(model: Any) -> Layout:
    """Shape and type of each array that `read_weights` would return."""
    if not is_torch(model):
        found = model.state_dict().items()
        return {name: (tuple(t.shape), np.dtype(str(t.dtype).rpartition(".")[2])) for name, t in found}
    transposed = _transposed(model)
    return {
        paddle_name(name): (
            tuple(t.shape)[:: -1 if name in transposed else 1],
            np.dtype(str(t.dtype).rpartition(".")[2]),
        )
        for name, t in model.state_dict().items()
        if not name.endswith(COUNTER)
    }


def assign(model: Any, arrays: dict[str, np.ndarray]) -> None:
    """Puts arrays that are known to fit into a model; weights that are not among them stay."""
    if not is_torch(model):
        for name, tensor in model.state_dict().items():
            if name in arrays:
                tensor.set_value(arrays[name])
        return
    import torch

    transposed = _transposed(model)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if paddle_name(name) in arrays:
                array = arrays[paddle_name(name)]
                tensor.copy_(torch.from_numpy(np.ascontiguousarray(array.T if name in transposed else array)))
