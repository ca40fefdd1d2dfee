"""Counts what the layers of a network do, as they do it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

from paddle import nn
from paddle.nn.layer.norm import _BatchNormBase


@dataclasses.dataclass
class Operations:
    """What one part of a network costs.

    Attributes:
        params: Parameters that train.
        multiply_adds: Of one clip or image.
        published: FLOPs as the papers count them.
        stored: Numbers in a file of its weights, with the statistics of BatchNorm.
    """

    params: int = 0
    multiply_adds: int = 0
    published: int = 0
    stored: int = 0

    def __add__(self, other: Operations) -> Operations:
        """The cost of both parts."""
        return Operations(*map(sum, zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))


@contextmanager
def counted(layer: nn.Layer) -> Iterator[Operations]:
    """What a layer costs: its weights at once, its operations as it is called while this is open."""
    params = sum(prod(p.shape) for p in layer.parameters() if not p.stop_gradient)
    cost = Operations(params, stored=sum(prod(tensor.shape) for tensor in layer.state_dict().values()))

    def hook(layer: nn.Layer, inputs: Any, output: Any) -> None:
        if isinstance(layer, nn.Conv2D | nn.Conv3D):
            multiply_adds = output.size * prod(layer.weight.shape[1:])
            cost.multiply_adds += multiply_adds
            cost.published += multiply_adds
        elif isinstance(layer, nn.Conv2DTranspose):
            multiply_adds = inputs[0].size * prod(layer.weight.shape[1:])
            cost.multiply_adds += multiply_adds
            cost.published += multiply_adds
        elif isinstance(layer, nn.Linear):
            multiply_adds = output.size * layer.weight.shape[0]
            cost.multiply_adds += multiply_adds
            cost.published += 2 * multiply_adds
        elif isinstance(layer, _BatchNormBase):
            cost.published += 2 * output.size

    hooks = [one.register_forward_post_hook(hook) for one in layer.sublayers(include_self=True)]
    try:
        yield cost
    finally:
        for one in hooks:
            one.remove()
