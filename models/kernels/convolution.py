"""What the operators for convolutions have in common: one for the output, one for both gradients, and the bias."""

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
        ctx: Any, x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor | None, operator: str,
        geometry: ctypes.Array[Any], shape: Sequence[int],
    ) -> paddle.Tensor:  # fmt: skip
        x = x.contiguous()
        out = paddle.empty(shape, x.dtype)
        kernels.call(operator, x.dtype, geometry, x, weight, out)
        if bias is not None:
            kernels.call("bias", x.dtype, kernels.planes_of(out), bias, out)
        ctx.save_for_backward(x, weight, bias)
        ctx.operator, ctx.geometry = operator, geometry
        return out

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensor()
        grads = [None if t is None or t.stop_gradient else paddle.empty_like(t) for t in (x, weight, bias)]
        grad = grad.contiguous()
        kernels.call(f"{ctx.operator}_grad", x.dtype, ctx.geometry, x, weight, grad, *grads[:2])
        if grads[2] is not None:
            kernels.call("bias_grad", x.dtype, kernels.planes_of(grad), grad, grads[2])
        return tuple(grads if bias is not None else grads[:2])


def convolve(
    operator: str, x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor | None, geometry: ctypes.Array[Any],
    shape: Sequence[int],
) -> paddle.Tensor:  # fmt: skip
    """A convolution by an operator that `kernels.serve` serves.

    Args:
        operator: Its name in the library; its gradients are computed by the one with `_grad` behind.
        x: Maps [B, C, H, W].
        weight: Its kernels.
        bias: [C'], if it has one.
        geometry: What the C++ file of the operator reads its sizes from.
        shape: Of the output.
    """
    return _Convolution.apply(x, weight, bias, operator, geometry, shape)
