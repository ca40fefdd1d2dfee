"""Finds blocks in a network that says nothing of itself: guessed from one pass, and each guess proved.

A layer that takes one tensor and gives one may be a block. Of two convolutions that it calls one behind the other, the
first may write channels that only the second reads, through the norms and depthwise convolutions called in between.
That is so if the layer without half of these channels gives what it gives when its reader sees zeros in their place:
the guesses for which this does not hold are dropped, whatever the code between them does.

Source: what is looked for is Han et al.'s, MobiCom 2021, section 3.1 (parts with one input and one output).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn.layer.conv import _ConvNd

from models.temporal_module import TemporalModule, find_layer
from scaling.derive import kept_channels, narrow
from scaling.extract import Block, Group, chains_of, extract, follows

TOLERANCE = 1e-4  # relative to the largest output: other shapes are added up in another order


def blocks_of(model: nn.Layer, view_shape: Sequence[int]) -> list[Block]:
    """The blocks that layers state by `chains`, or, of a network where none does, those that are discovered.

    Args:
        model: In eval mode.
        view_shape: Of one clip or image that it takes.

    Raises:
        UserError: There are none.
    """
    if not any(chains_of(layer, {}) for layer in model.sublayers()):
        noise = np.random.default_rng(0).standard_normal((1, *view_shape), dtype=np.float32)
        found = discover(model, paddle.to_tensor(noise))
        if found:
            return found
    return extract(model)


def discover(model: nn.Layer, example: paddle.Tensor) -> list[Block]:
    """The blocks of a network in its order, innermost ones; none lies in another, and none is the network itself.

    Args:
        model: In eval mode.
        example: What it takes; noise does.
    """
    calls, tensors = _calls(model, example)
    found: list[Block] = []
    for path in sorted(tensors, key=lambda path: -path.count(".")):
        if any(block.path.startswith(f"{path}.") for block in found):
            continue
        groups = tuple(_groups(model, path, [name for name in calls if name.startswith(f"{path}.")], tensors[path]))
        if groups:
            found.append(Block(path, groups))
    return sorted(found, key=lambda block: calls.index(f"{block.path}.{block.groups[0].writer}"))


def _calls(model: nn.Layer, example: paddle.Tensor) -> tuple[list[str], dict[str, paddle.Tensor]]:
    """Convolutions, and what follows them, as they are called; layers of layers with what they take, if called once."""
    calls: list[str] = []
    tensors: dict[str, paddle.Tensor] = {}
    several: set[str] = set()

    def hook_of(path: str) -> Callable[[nn.Layer, Any, Any], None]:
        def hook(layer: nn.Layer, given: tuple[Any, ...], made: Any) -> None:
            if isinstance(layer, _ConvNd) or follows(layer):
                calls.append(path)
            elif not any(True for _ in layer.children()) or path in tensors:
                several.add(path)
            elif len(given) == 1 and isinstance(given[0], paddle.Tensor) and isinstance(made, paddle.Tensor):
                tensors[path] = given[0]

        return hook

    hooks = [layer.register_forward_post_hook(hook_of(path)) for path, layer in model.named_sublayers()]
    try:
        with paddle.no_grad():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return calls, {path: given for path, given in tensors.items() if path not in several}


def _groups(model: nn.Layer, path: str, names: list[str], given: paddle.Tensor) -> Iterator[Group]:
    """The groups of channels in a layer that are proved."""
    layer = find_layer(model, path)
    if isinstance(layer, TemporalModule) or len(set(names)) < len(names):
        return
    inside = [name.removeprefix(f"{path}.") for name in names]
    writer, followers = "", []
    for name in inside:
        one = find_layer(layer, name)
        if follows(one):
            followers.append(name)
            continue
        if writer and one._groups == 1 and find_layer(layer, writer)._out_channels == one._in_channels > 1:
            group = Group(writer, tuple(followers), name, one._in_channels)
            if is_proved(layer, group, given):
                yield group
        writer, followers = name if one._groups == 1 else "", []


def is_proved(layer: nn.Layer, group: Group, given: paddle.Tensor) -> bool:
    """Whether a layer without half of a group's channels gives what it gives when they are not read.

    Args:
        layer: In eval mode; left as it is.
        group: Which channels.
        given: What the layer takes.
    """
    kept = kept_channels(layer, group, 0.5)
    unread, narrower = copy.deepcopy(layer), copy.deepcopy(layer)
    reader = find_layer(unread, group.reader)
    weight = reader.weight.numpy()
    weight[:, np.setdiff1d(np.arange(group.channels), kept)] = 0
    reader.weight.set_value(weight)
    try:
        narrow(narrower, group, kept)
        with paddle.no_grad():
            expected, found = unread(given).numpy(), narrower(given).numpy()
    except Exception:  # of any kind: shapes that do not fit are what shows a wrong guess
        return False
    scale = float(np.abs(expected).max())
    return scale > 0 and expected.shape == found.shape and float(np.abs(found - expected).max()) <= TOLERANCE * scale
