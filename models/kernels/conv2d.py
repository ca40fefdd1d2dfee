"""Dense convolutions in training: 3 x 3 by minimal filtering, others by products with columns that stay in the cache.

`python -m tools.bench_kernels` measures them.
"""

from __future__ import annotations

import ctypes
import functools

import paddle
from paddle import nn

from models import kernels
from models.kernels.convolution import convolve

GEMM = {paddle.float32: "cblas_sgemm", paddle.float64: "cblas_dgemm"}


@functools.cache
def _gemm(dtype: paddle.dtype) -> int:
    """The address of a matrix product, in the library that Paddle computes with; 0 where it has another one."""
    if kernels.MKL is None:
        return 0
    return ctypes.cast(getattr(ctypes.CDLL(str(kernels.MKL)), GEMM[dtype]), ctypes.c_void_p).value or 0


class Conv2D(nn.Conv2D):
    """nn.Conv2D, which is computed here where that is possible: dense, without a bias, padded by zeros alike."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [B, C, H, W] to [B, C', H', W']."""
        if not (kernels.serve(x, self.weight) and self._is_served(x) and _gemm(x.dtype)):
            return super().forward(x)
        images, in_channels, *sides = x.shape
        out_channels, _, *kernel = self.weight.shape
        stride, padding = self._stride[0], self._padding
        outs = [(side + 2 * padding - one) // stride + 1 for side, one in zip(sides, kernel, strict=True)]
        geometry = kernels.integers(
            images, in_channels, out_channels, *sides, *outs, *kernel, stride, padding, padding, _gemm(x.dtype)
        )
        operator = "conv2d_winograd" if (*kernel, stride, padding) == (3, 3, 1, 1) else "conv2d_im2col"
        return convolve(operator, x, self.weight, geometry, [images, out_channels, *outs])

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
