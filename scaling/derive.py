"""Descendants of a block: copies with fewer channels inside, physically smaller, of the same shape outside.

Which channels stay is the rule of L1 filter pruning (Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017):
those whose weights have the largest sum of absolute values; how many go is counted as `torch.nn.utils.prune` does.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence

import numpy as np
import paddle
from paddle import nn
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


def kept_channels(block: nn.Layer, group: Group, sparsity: float, multiple: int = 1) -> np.ndarray:
    """Numbers of the channels of a group that stay, rising, int64.

    Of channels that are worth the same those with the larger numbers stay, as in PyTorch's choice.
    """
    count = group.channels - round(sparsity * group.channels)
    if sparsity and multiple > 1:
        count = math.floor(count / multiple + 0.5) * multiple
    count = min(max(count, multiple, 1), group.channels)
    order = np.argsort(importance(block, group), kind="stable")
    return np.sort(order[group.channels - count :])


def importance(block: nn.Layer, group: Group) -> np.ndarray:
    """For each channel of a group the sum of the absolute weights that write it, float64 [channels].

    Those are the weights of its writer, and of the depthwise convolutions that follow.
    """
    layers = [find_layer(block, path) for path in (group.writer, *group.followers)]
    weights = [layer.weight.numpy() for layer in layers if isinstance(layer, _ConvNd)]
    return sum(np.abs(weight.astype(np.float64)).reshape(len(weight), -1).sum(axis=1) for weight in weights)


def narrow(block: nn.Layer, group: Group, kept: np.ndarray) -> None:
    """Takes the other channels of a group out of a block's layers."""
    writer = find_layer(block, group.writer)
    _take(writer, ("weight", "bias"), kept)
    writer._out_channels = len(kept)
    for path in group.followers:
        _narrow_follower(find_layer(block, path), kept)
    _narrow_reader(find_layer(block, group.reader), kept)


def _narrow_follower(layer: nn.Layer, kept: np.ndarray) -> None:
    if isinstance(layer, _BatchNormBase):
        _take(layer, ("weight", "bias", "_mean", "_variance"), kept)
        layer._num_features = len(kept)
    elif isinstance(layer, _ConvNd):
        _take(layer, ("weight", "bias"), kept)
        layer._in_channels = layer._out_channels = layer._groups = len(kept)
    else:
        first, last = (getattr(layer, name) for name in layer.gate)
        _narrow_reader(first, kept)
        _take(last, ("weight", "bias"), kept)
        last._out_channels = len(kept)


def _narrow_reader(layer: _ConvNd, kept: np.ndarray) -> None:
    _take(layer, ("weight",), kept, axis=1)
    layer._in_channels = len(kept)


def fill(layer: nn.Layer, arrays: Mapping[str, np.ndarray]) -> bool:
    """Puts arrays into a layer; False, and the layer as it was, unless they are just its names and shapes."""
    own = layer.state_dict()
    if {name: tuple(tensor.shape) for name, tensor in own.items()} != {name: a.shape for name, a in arrays.items()}:
        return False
    for name, tensor in own.items():
        tensor.set_value(arrays[name])
    return True


def _take(layer: nn.Layer, names: Sequence[str], kept: np.ndarray, axis: int = 0) -> None:
    """Replaces parameters of a layer by what is left of them along an axis."""
    for name in names:
        old = getattr(layer, name, None)
        if old is None:
            continue
        values = np.take(old.numpy(), kept, axis=axis)
        new = layer.create_parameter(list(values.shape), dtype=old.dtype)
        new.set_value(paddle.to_tensor(values))
        new.stop_gradient = old.stop_gradient
        setattr(layer, name, new)
