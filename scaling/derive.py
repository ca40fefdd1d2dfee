"""Descendants of a block: copies with fewer channels inside, physically smaller, of the same shape outside.

Which channels stay is the rule of L1 filter pruning (Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017):
those whose weights have the largest sum of absolute values; how many go is counted as `torch.nn.utils.prune` does.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import paddle
from paddle import nn
from paddle.base.framework import EagerParamBase
from paddle.nn.layer.conv import _ConvNd
from paddle.nn.layer.norm import _BatchNormBase

from models.temporal_module import find_layer
from runtime.errors import UserError
from scaling.extract import Group


def derive(block: nn.Layer, groups: Sequence[Group], sparsity: float, multiple: int = 1) -> nn.Layer:
    """A copy of a block without that fraction of the channels of each group; at least one of each stays.

    Args:
        block: Left as it is.
        groups: Of the block, see `scaling.extract`.
        sparsity: 0 to below 1; 0 gives an equal copy.
        multiple: What stays of a group is rounded to a multiple of it, up where half of one is left; engines compute
            channels by eights or sixteens, and of another number may take longer for fewer.

    Raises:
        UserError: The sparsity is out of its range.
    """
    if not (math.isfinite(sparsity) and 0 <= sparsity < 1):
        raise UserError(f"a sparsity must be from 0 to below 1, got {sparsity}")
    descendant = copy.deepcopy(block)
    for group in groups:
        kept = kept_channels(block, group, sparsity, multiple)
        if len(kept) < group.channels:
            narrow(descendant, group, kept)
    return descendant


def rebuilt(
    block: nn.Layer, groups: Sequence[Group], sparsity: float, multiple: int, arrays: Mapping[str, np.ndarray]
) -> nn.Layer | None:
    """What `derive` gives, with these weights instead of those of the block; no channel is ranked for it.

    Returns:
        The descendant, or None unless the arrays have just its names and shapes.
    """
    tensors = block.state_dict()
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    for group in groups:
        for path, names, axis in _concerned(block, group):
            for key in (f"{path}.{name}" for name in names):
                if key in shapes:
                    shapes[key][axis] = width(group, sparsity, multiple)
    if shapes != {name: list(array.shape) for name, array in arrays.items()}:
        return None
    made = copy.deepcopy(block, {id(tensor): tensor for tensor in tensors.values()})
    for key in shapes:
        path, _, name = key.rpartition(".")
        _replace(find_layer(made, path) if path else made, name, arrays[key])
    for group in groups:
        _declare(made, group, width(group, sparsity, multiple))
    return made


def kept_channels(block: nn.Layer, group: Group, sparsity: float, multiple: int = 1) -> np.ndarray:
    """Numbers of the channels of a group that stay, rising, int64.

    Of channels that are worth the same those with the larger numbers stay, as in PyTorch's choice.
    """
    count = width(group, sparsity, multiple)
    order = np.argsort(importance(block, group), kind="stable")
    return np.sort(order[group.channels - count :])


def width(group: Group, sparsity: float, multiple: int = 1) -> int:
    """How many channels of a group stay."""
    count = group.channels - round(sparsity * group.channels)
    if sparsity and multiple > 1:
        count = math.floor(count / multiple + 0.5) * multiple
    return min(max(count, multiple, 1), group.channels)


def importance(block: nn.Layer, group: Group) -> np.ndarray:
    """For each channel of a group the sum of the absolute weights that write it, float64 [channels].

    Those are the weights of its writer, and of the depthwise convolutions that follow.
    """
    layers = [find_layer(block, path) for path in (group.writer, *group.followers)]
    weights = [layer.weight.numpy() for layer in layers if isinstance(layer, _ConvNd)]
    return sum(np.abs(weight.astype(np.float64)).reshape(len(weight), -1).sum(axis=1) for weight in weights)


def narrow(block: nn.Layer, group: Group, kept: np.ndarray) -> None:
    """Takes the other channels of a group out of a block's layers."""
    for path, names, axis in _concerned(block, group):
        layer = find_layer(block, path)
        for name in names:
            if getattr(layer, name, None) is not None:
                _replace(layer, name, np.take(getattr(layer, name).numpy(), kept, axis=axis))
    _declare(block, group, len(kept))


def _concerned(block: nn.Layer, group: Group) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """The tensors that have an entry for each channel of a group: paths of layers, names, and the axis."""
    yield group.writer, ("weight", "bias"), 0
    for path in group.followers:
        layer = find_layer(block, path)
        if isinstance(layer, _BatchNormBase):
            yield path, ("weight", "bias", "_mean", "_variance"), 0
        elif isinstance(layer, _ConvNd):
            yield path, ("weight", "bias"), 0
        else:
            first, last = layer.gate
            yield f"{path}.{first}", ("weight",), 1
            yield f"{path}.{last}", ("weight", "bias"), 0
    yield group.reader, ("weight",), 1


def _declare(block: nn.Layer, group: Group, channels: int) -> None:
    """Tells the layers of a block how many channels a group has."""
    find_layer(block, group.writer)._out_channels = channels
    for path in group.followers:
        layer = find_layer(block, path)
        if isinstance(layer, _BatchNormBase):
            layer._num_features = channels
        elif isinstance(layer, _ConvNd):
            layer._in_channels = layer._out_channels = layer._groups = channels
        else:
            first, last = (getattr(layer, name) for name in layer.gate)
            first._in_channels = last._out_channels = channels
    find_layer(block, group.reader)._in_channels = channels


def fill(layer: nn.Layer, arrays: Mapping[str, np.ndarray]) -> bool:
    """Puts arrays into a layer; False, and the layer as it was, unless they are just its names and shapes."""
    own = layer.state_dict()
    if {name: tuple(tensor.shape) for name, tensor in own.items()} != {name: a.shape for name, a in arrays.items()}:
        return False
    for name, tensor in own.items():
        tensor.set_value(arrays[name])
    return True


def _replace(layer: nn.Layer, name: str, values: np.ndarray) -> None:
    """Puts a new parameter in the place of one, as trainable as that was; what else has the old one keeps it."""
    new = EagerParamBase.from_tensor(paddle.to_tensor(values))
    new.stop_gradient = getattr(layer, name).stop_gradient
    setattr(layer, name, new)
