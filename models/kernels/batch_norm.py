"""BatchNorm in training, and the ReLU behind it, or a shortcut and the ReLU behind that, in the same pass.

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
        ctx: Any, x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, shortcut: paddle.Tensor | None,
        norm: nn.Layer, ceiling: float,
    ) -> paddle.Tensor:  # fmt: skip
        x = x.contiguous()
        ctx.shape, ctx.ceiling = kernels.planes_of(x), ceiling
        ctx.statistics = (ctypes.c_double * (2 * x.shape[1]))()
        out = paddle.empty_like(x)
        kernels.call(
            "batch_norm", x.dtype, ctx.shape, x, weight, bias, None if shortcut is None else shortcut.contiguous(),
            _single(norm._epsilon), _single(norm._momentum), ceiling, out, ctx.statistics, norm._mean, norm._variance,
        )  # fmt: skip
        ctx.save_for_backward(x, weight, bias, None if shortcut is None else out.detach())
        ctx.needed = [t is not None and not t.stop_gradient for t in (x, weight, bias, shortcut)]
        return out

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        x, weight, bias, out = ctx.saved_tensor()
        grads = [None if t is None else paddle.empty_like(t) for t in (x, weight, bias, out)]
        kernels.call(
            "batch_norm_grad", x.dtype, ctx.shape, x, weight, bias, out, ctx.statistics, ctx.ceiling,
            grad.contiguous(), *grads,
        )  # fmt: skip
        found = [g if is_needed else None for g, is_needed in zip(grads, ctx.needed, strict=True)]
        return tuple(found if out is not None else found[:3])


class BatchNorm2D(nn.BatchNorm2D):
    """nn.BatchNorm2D, whose training is computed here where that is possible."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [B, C, H, W] to the same."""
        return _run(self, x, NO_RELU) if _serve(self, x) else super().forward(x)


class BatchNorm3D(nn.BatchNorm3D):
    """nn.BatchNorm3D, see BatchNorm2D."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [B, C, T, H, W] to the same."""
        return _run(self, x, NO_RELU) if _serve(self, x) else super().forward(x)


def norm_relu(norm: nn.Layer, x: paddle.Tensor) -> paddle.Tensor:
    """F.relu(norm(x)), in one pass where `norm` is a BatchNorm that trains and that nobody watches."""
    return _norm_and(F.relu, math.inf, norm, x)


def norm_relu6(norm: nn.Layer, x: paddle.Tensor) -> paddle.Tensor:
    """F.relu6(norm(x)), see `norm_relu`."""
    return _norm_and(F.relu6, 6.0, norm, x)


def norm_add_relu(norm: nn.Layer, x: paddle.Tensor, shortcut: paddle.Tensor) -> paddle.Tensor:
    """F.relu(norm(x) + shortcut), see `norm_relu`; the two are of one shape."""
    if _is_plain(norm) and _serve(norm, x) and shortcut.dtype == x.dtype:
        assert shortcut.shape == x.shape
        return _run(norm, x, math.inf, shortcut)
    return F.relu(norm(x) + shortcut)


def _norm_and(
    relu: Callable[[paddle.Tensor], paddle.Tensor], ceiling: float, norm: nn.Layer, x: paddle.Tensor
) -> paddle.Tensor:
    if _is_plain(norm) and _serve(norm, x):
        return _run(norm, x, ceiling)
    return relu(norm(x))


def _is_plain(norm: nn.Layer) -> bool:
    return kernels.is_plain(norm, BatchNorm2D) or kernels.is_plain(norm, BatchNorm3D)


def _run(norm: nn.Layer, x: paddle.Tensor, ceiling: float, shortcut: paddle.Tensor | None = None) -> paddle.Tensor:
    return _BatchNorm.apply(x, norm.weight, norm.bias, shortcut, norm, ceiling)


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
