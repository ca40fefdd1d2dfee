"""BatchNorm in training, and the ReLU behind it in the same pass.

`python -m tools.bench_kernels` measures it.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.autograd import PyLayer

from models import kernels

NO_RELU = -1.0


class _BatchNorm(PyLayer):
    @staticmethod
    def forward(
        ctx: Any, x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, norm: nn.Layer, ceiling: float
    ) -> paddle.Tensor:
        x = x.contiguous()
        images, channels, *sides = x.shape
        ctx.shape, ctx.ceiling = kernels.integers(images, channels, math.prod(sides)), ceiling
        ctx.statistics = (ctypes.c_double * (2 * channels))()
        out = paddle.empty_like(x)
        kernels.call(
            "batch_norm", x.dtype, ctx.shape, x, weight, bias, _single(norm._epsilon), _single(norm._momentum), ceiling,
            out, ctx.statistics, norm._mean, norm._variance,
        )  # fmt: skip
        ctx.save_for_backward(x, weight, bias)
        return out

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensor()
        grads = [paddle.empty_like(t) for t in (x, weight, bias)]
        kernels.call(
            "batch_norm_grad",
            x.dtype,
            ctx.shape,
            x,
            weight,
            bias,
            ctx.statistics,
            ctx.ceiling,
            grad.contiguous(),
            *grads,
        )
        return tuple(None if t.stop_gradient else g for t, g in zip((x, weight, bias), grads, strict=True))


class BatchNorm2D(nn.BatchNorm2D):
    """nn.BatchNorm2D, whose training is computed here where that is possible."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [B, C, H, W] to the same."""
        return _BatchNorm.apply(x, self.weight, self.bias, self, NO_RELU) if _serve(self, x) else super().forward(x)


class BatchNorm3D(nn.BatchNorm3D):
    """nn.BatchNorm3D, see BatchNorm2D."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [B, C, T, H, W] to the same."""
        return _BatchNorm.apply(x, self.weight, self.bias, self, NO_RELU) if _serve(self, x) else super().forward(x)


def norm_relu(norm: nn.Layer, x: paddle.Tensor) -> paddle.Tensor:
    """F.relu(norm(x)), in one pass where `norm` is a BatchNorm that trains and that nobody watches."""
    return _norm_and(F.relu, math.inf, norm, x)


def norm_relu6(norm: nn.Layer, x: paddle.Tensor) -> paddle.Tensor:
    """F.relu6(norm(x)), see `norm_relu`."""
    return _norm_and(F.relu6, 6.0, norm, x)


def _norm_and(
    relu: Callable[[paddle.Tensor], paddle.Tensor], ceiling: float, norm: nn.Layer, x: paddle.Tensor
) -> paddle.Tensor:
    if kernels.is_plain(norm, BatchNorm2D) and _serve(norm, x):
        return _BatchNorm.apply(x, norm.weight, norm.bias, norm, ceiling)
    return relu(norm(x))


def _single(value: float) -> float:
    """A constant as Paddle's operator holds it, in single precision."""
    return ctypes.c_float(value).value


def _serve(norm: nn.Layer, x: paddle.Tensor) -> bool:
    return (
        norm.training
        and not norm._use_global_stats
        and norm._data_format.startswith("NC")
        and kernels.serve(x, norm.weight, norm.bias, norm._mean)
    )
