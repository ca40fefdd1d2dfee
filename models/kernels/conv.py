"""Dense convolutions in training: 3 x 3 by minimal filtering, others by products with columns that stay in the cache.

A kernel over frames alone is one of rows, with the pixels of a frame as columns; one of single frames takes the frames
for images. `python -m tools.bench_kernels` measures them.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence

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
        padding = (self._padding, self._padding)
        return _convolved(x, self.weight, x.shape[2:], self.weight.shape[2:], self._stride[0], padding, 1)

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


class Conv3D(nn.Conv3D):
    """nn.Conv3D, which is computed here where that is possible: over frames alone or over pixels alone.

    Further it is dense, without a bias, padded by half of its kernel, and has a stride over pixels at most.
    """

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, T, H, W] to [N, C', T', H', W']."""
        if not (kernels.serve(x, self.weight) and self._is_served(x) and _gemm(x.dtype)):
            return super().forward(x)
        frames, height, width = x.shape[2:]
        reach, *kernel = self.weight.shape[2:]
        stride = self._stride[-1]
        if kernel == [1, 1] and stride == 1:
            out = _convolved(x, self.weight, [frames, height * width], [reach, 1], 1, (reach // 2, 0), 1)
            return out.reshape([*out.shape[:2], frames, height, width])
        padding = (kernel[0] // 2, kernel[1] // 2)
        out = _convolved(x, self.weight, [height, width], kernel, stride, padding, frames)
        return out.reshape([*out.shape[:2], frames, out.shape[2] // frames, out.shape[3]])

    def _is_served(self, x: paddle.Tensor) -> bool:
        reach, *kernel = self.weight.shape[2:]
        stride_t, *stride = self._stride
        return (
            self.bias is None
            and self._groups == 1
            and self._dilation == [1, 1, 1]
            and stride_t == 1
            and stride[0] == stride[1]
            and (reach == 1 or (kernel == [1, 1] and stride[0] == 1))
            and kernel[0] == kernel[1]
            and list(self._padding) == [side // 2 for side in self.weight.shape[2:]]
            and self._padding_mode == "zeros"
            and self._data_format == "NCDHW"
        )


def _convolved(
    x: paddle.Tensor, weight: paddle.Tensor, sides: Sequence[int], kernel: Sequence[int], stride: int,
    padding: tuple[int, int], frames: int,
) -> paddle.Tensor:  # fmt: skip
    """The convolution of images [B, C, H, W], or of clips of so many frames, whose memory is taken for that.

    Returns:
        [B, C', H', W'], of clips [N, C', T * H', W'].
    """
    clips, in_channels, out_channels = x.shape[0], x.shape[1], weight.shape[0]
    outs = [(side + 2 * before - one) // stride + 1 for side, before, one in zip(sides, padding, kernel, strict=True)]
    geometry = kernels.integers(
        clips * frames, in_channels, out_channels, *sides, *outs, *kernel, stride, *padding, frames, _gemm(x.dtype)
    )
    is_filtered = (*kernel, stride, *padding) == (3, 3, 1, 1, 1)
    operator = "conv2d_winograd" if is_filtered else "conv2d_im2col"
    return convolve(operator, x, weight, geometry, [clips, out_channels, frames * outs[0], outs[1]])
