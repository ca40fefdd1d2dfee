"""Dense convolutions in training: 3 x 3 by minimal filtering, others by products with columns that stay in the cache.

`python -m tools.bench_kernels` measures them.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import paddle
from paddle import nn
from paddle.autograd import PyLayer

from models import kernels

GEMM = {paddle.float32: "cblas_sgemm", paddle.float64: "cblas_dgemm"}


@functools.cache
def _gemm(dtype: paddle.dtype) -> int:
    """The address of a matrix product, in the library that Paddle computes with; 0 where it has another one."""
    if kernels.MKL is None:
        return 0
    return ctypes.cast(getattr(ctypes.CDLL(str(kernels.MKL)), GEMM[dtype]), ctypes.c_void_p).value or 0


class _Conv2D(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: paddle.Tensor, weight: paddle.Tensor, stride: int, padding: int) -> paddle.Tensor:
        x = x.contiguous()
        images, in_channels, *sides = x.shape
        out_channels, _, *kernel = weight.shape
        outs = [(side + 2 * padding - one) // stride + 1 for side, one in zip(sides, kernel, strict=True)]
        ctx.operator = "conv2d_winograd" if (*kernel, stride, padding) == (3, 3, 1, 1) else "conv2d_im2col"
        ctx.convolution = kernels.integers(
            images, in_channels, out_channels, *sides, *outs, *kernel, stride, padding, padding, _gemm(x.dtype)
        )
        out = paddle.empty([images, out_channels, *outs], x.dtype)
        kernels.call(ctx.operator, x.dtype, ctx.convolution, x, weight, out)
        ctx.save_for_backward(x, weight)
        return out

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        x, weight = ctx.saved_tensor()
        x_grad, weight_grad = (None if t.stop_gradient else paddle.empty_like(t) for t in (x, weight))
        tensors = (x, weight, grad.contiguous(), x_grad, weight_grad)
        kernels.call(f"{ctx.operator}_grad", x.dtype, ctx.convolution, *tensors)
        return x_grad, weight_grad


class Conv2D(nn.Conv2D):
    """nn.Conv2D, which is computed here where that is possible: dense, without a bias, padded by zeros alike."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [B, C, H, W] to [B, C', H', W']."""
        if kernels.serve(x, self.weight) and self._is_served(x) and _gemm(x.dtype):
            return _Conv2D.apply(x, self.weight, self._stride[0], self._padding)
        return super().forward(x)

    def _is_served(self, x: paddle.Tensor) -> bool:
        return (
            self.bias is None
            and self._groups == 1
            and self._dilation == [1, 1]
            and self._stride[0] == self._stride[1]
            and isinstance(self._padding, int)
            and self._padding_mode == "zeros"
            and self._data_format == "NCHW"
            and min(x.shape[2:]) + 2 * self._padding >= max(self.weight.shape[2:])
        )
