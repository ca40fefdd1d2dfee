"""What the operators for convolutions have in common: one kernel for x and weight, one for both gradients."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import paddle
from paddle.autograd import PyLayer

from models import kernels


class _Convolution(PyLayer):
    @staticmethod
    def forward(
        ctx: Any, x: paddle.Tensor, weight: paddle.Tensor, operator: str, geometry: ctypes.Array[Any],
        shape: Sequence[int],
    ) -> paddle.Tensor:  # fmt: skip
        x = x.contiguous()
        out = paddle.empty(shape, x.dtype)
        kernels.call(operator, x.dtype, geometry, x, weight, out)
        ctx.save_for_backward(x, weight)
        ctx.operator, ctx.geometry = operator, geometry
        return out

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        x, weight = ctx.saved_tensor()
        x_grad, weight_grad = (None if t.stop_gradient else paddle.empty_like(t) for t in (x, weight))
        tensors = (x, weight, grad.contiguous(), x_grad, weight_grad)
        kernels.call(f"{ctx.operator}_grad", x.dtype, ctx.geometry, *tensors)
        return x_grad, weight_grad


def convolve(
    operator: str, x: paddle.Tensor, weight: paddle.Tensor, geometry: ctypes.Array[Any], shape: Sequence[int]
) -> paddle.Tensor:
    """A convolution by an operator that `kernels.serve` serves.

    Args:
        operator: Its name in the library; its gradients are computed by the one with `_grad` behind.
        x: Maps [B, C, H, W].
        weight: Its kernels.
        geometry: What the C++ file of the operator reads its sizes from.
        shape: Of the output.
    """
    return _Convolution.apply(x, weight, operator, geometry, shape)
