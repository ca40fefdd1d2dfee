"""BatchNorm whose statistics are those of the samples of all processes, by the messages that gradients travel in.

Paddle's own nn.SyncBatchNorm has no kernel on CPU.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import paddle
from paddle import nn
from paddle.autograd import PyLayer, PyLayerContext
from paddle.nn.layer.norm import _BatchNormBase

from engine.processes import Processes


@contextmanager
def synchronized(model: nn.Layer, processes: Processes) -> Iterator[None]:
    """While this is open, each BatchNorm of a model that trains normalizes by the statistics over all processes.

    Every process has to pass the same layers in the same order, with one sample at least.
    """
    layers = [layer for layer in model.sublayers() if isinstance(layer, _BatchNormBase)]
    for layer in layers:
        layer.forward = functools.partial(_normalized, layer, processes)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


class _Sum(PyLayer):
    """The sum over the processes; its gradient is the sum of their gradients, as each has a share of the loss."""

    @staticmethod
    def forward(ctx: PyLayerContext, x: paddle.Tensor, processes: Processes) -> paddle.Tensor:
        ctx.processes = processes
        total = x.clone()
        processes.add(total)
        return total

    @staticmethod
    def backward(ctx: PyLayerContext, gradient: paddle.Tensor) -> paddle.Tensor:
        total = gradient.clone()
        ctx.processes.add(total)
        return total


def _normalized(layer: nn.Layer, processes: Processes, x: paddle.Tensor) -> paddle.Tensor:
    """Maps [B, C, ...] to the same, as BatchNorm over the samples of all processes."""
    if not layer.training or layer._use_global_stats:
        return type(layer).forward(layer, x)
    axes = [0, *range(2, x.ndim)]
    shape = [1, -1] + [1] * (x.ndim - 2)
    count = paddle.full([1], x.size / x.shape[1], x.dtype)
    total = _Sum.apply(paddle.concat([x.sum(axes), count]), processes)  # [C + 1]
    mean, number = total[:-1] / total[-1], total[-1]
    away = x - mean.reshape(shape)
    variance = _Sum.apply((away * away).sum(axes), processes) / number  # [C], biased, as Paddle's running one
    with paddle.no_grad():
        for kept, now in ((layer._mean, mean), (layer._variance, variance)):
            kept.set_value(layer._momentum * kept + (1 - layer._momentum) * now.detach())
    scale = (variance + layer._epsilon).rsqrt()
    if layer.weight is not None:
        scale = scale * layer.weight
    y = away * scale.reshape(shape)
    return y if layer.bias is None else y + layer.bias.reshape(shape)
