"""The blocks of a network that can be made narrower inside while the rest of it sees no difference of shape.

A layer with `chains` is a block. A chain is the paths of the layers that channels inside go through, one behind the
other, from a convolution that reads what comes from outside to one that writes what goes there; it may pass a layer
that has chains of its own. What lies beside it, as a shortcut, a shift of frames, or a fusion of views around the first
convolution, reads or writes the channels outside, which stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from paddle import nn
from paddle.nn.layer.conv import _ConvNd
from paddle.nn.layer.norm import _BatchNormBase

from models.temporal_module import TemporalModule, find_layer
from runtime.errors import UserError

Chains: TypeAlias = Sequence[Sequence[str]]
Rules: TypeAlias = Mapping[type[nn.Layer], Chains]  # by the class of a block


class Group(NamedTuple):
    """Channels inside a block that stand or fall together, number by number.

    Attributes:
        writer: Path, from the block on, of the convolution that writes them.
        followers: Of the layers that take and give each of them by itself: norms, depthwise convolutions, gates.
        reader: Of the convolution that reads them.
        channels: How many they are.
    """

    writer: str
    followers: tuple[str, ...]
    reader: str
    channels: int


class Block(NamedTuple):
    """A part of a network.

    Attributes:
        path: Of the layer in the network.
        groups: Its channels that may become fewer; at least one group.
    """

    path: str
    groups: tuple[Group, ...]


def extract(model: nn.Layer, rules: Rules | None = None) -> list[Block]:
    """The blocks of a network, in its order; none lies in another.

    Args:
        model: Any network.
        rules: Chains of classes that have none, or others than their own.

    Raises:
        UserError: There is none, or a chain names what the block has not.
    """
    rules = rules or {}
    blocks: list[Block] = []
    for path, layer in model.named_sublayers():
        inside = any(path.startswith(f"{block.path}.") for block in blocks)
        groups = () if inside or not chains_of(layer, rules) else groups_of(layer, rules, path)
        if groups:
            blocks.append(Block(path, groups))
    if not blocks:
        raise UserError(
            f"{type(model).__name__} has no block that can be made narrower: give their classes `chains`, or "
            "extract(model, rules={Class: [(names of its layers in their order)]})"
        )
    return blocks


def chains_of(layer: nn.Layer, rules: Rules) -> Chains:
    """The chains of a layer; empty if it is no block."""
    found: Chains | None = rules.get(type(layer)) or getattr(layer, "chains", None)
    return found or ()


def groups_of(block: nn.Layer, rules: Rules, path: str = "") -> tuple[Group, ...]:
    """The groups of channels inside a block, in the order in which they are written.

    Args:
        block: A layer with chains.
        rules: See `extract`.
        path: For the message.

    Raises:
        UserError: The chain names a layer that is not there, or one that mixes channels in a way of its own.
    """
    return tuple(group for chain in chains_of(block, rules) for group in _groups_along(block, chain, rules, path))


def _groups_along(block: nn.Layer, chain: Sequence[str], rules: Rules, path: str) -> Iterator[Group]:
    writer: str = ""
    followers: list[str] = []
    for name, layer in _flat(block, chain, rules, path):
        if follows(layer):
            followers.append(name)
        elif isinstance(layer, _ConvNd):
            if writer and layer._groups == 1:
                yield Group(writer, tuple(followers), name, layer._in_channels)
            # What a convolution in groups reads or writes is tied to places in it.
            writer, followers = name if layer._groups == 1 else "", []
        else:
            raise UserError(f"{path or type(block).__name__}: its chain names {name}, a {type(layer).__name__}")


def follows(layer: nn.Layer) -> bool:
    """Whether a layer takes and gives each channel by itself."""
    depthwise = isinstance(layer, _ConvNd) and 1 < layer._groups == layer._in_channels == layer._out_channels
    return depthwise or isinstance(layer, _BatchNormBase) or hasattr(layer, "gate")


def _flat(
    block: nn.Layer, chain: Sequence[str], rules: Rules, path: str, before: str = ""
) -> Iterator[tuple[str, nn.Layer]]:
    """Paths from the outermost block on, and layers, of a chain and of those that it passes."""
    for name in chain:
        try:
            layer = find_layer(block, name)
        except (AttributeError, KeyError):
            raise UserError(f"{path or type(block).__name__}: its chain names {name}, which it has not") from None
        while isinstance(layer, TemporalModule):
            name, layer = f"{name}.net", layer.net
        inner = chains_of(layer, rules)
        if inner:
            yield from _flat(layer, inner[0], rules, path, f"{before}{name}.")
        elif layer is not None:  # which a part is that this block was built without
            yield before + name, layer
