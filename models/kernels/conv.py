"""Dense convolutions in training: 3 x 3 by minimal filtering, others by products with columns that stay in the cache.

`python -m tools.bench_kernels` measures them.
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
    """nn.Conv2D, which is computed here where that is possible: dense, padded by zeros alike."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [B, C, H, W] to [B, C', H', W']."""
        if not (kernels.serve(x, *_parameters(self)) and self._is_served(x) and _gemm(x.dtype)):
            return super().forward(x)
        padding = [(0, 0), *[(self._padding, self._padding)] * 2]
        return _convolved(self, x, [1, *x.shape[2:]], [1, *self.weight.shape[2:]], (1, self._stride[0]), padding)

    def _is_served(self, x: paddle.Tensor) -> bool:
        return (
            self._groups == 1
            and self._dilation == [1, 1]
            and self._stride[0] == self._stride[1]
            and isinstance(self._padding, int)
            and self._padding_mode == "zeros"
            and self._data_format == "NCHW"
            and min(x.shape[2:]) + 2 * self._padding >= max(self.weight.shape[2:])
        )


class Conv3D(nn.Conv3D):
    """nn.Conv3D, which is computed here where that is possible: dense, padded by zeros.

    Its stride over rows and over columns is one number, its padding a number for each axis, or `SAME`.
    """

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, T, H, W] to [N, C', T', H', W']."""
        if not (kernels.serve(x, *_parameters(self)) and self._is_served() and _gemm(x.dtype)):
            return super().forward(x)
        sizes, kernel, stride = x.shape[2:], self.weight.shape[2:], (self._stride[0], self._stride[-1])
        padding = self._padding_of(sizes, kernel)
        if min(size + sum(around) - side for size, around, side in zip(sizes, padding, kernel, strict=True)) < 0:
            return super().forward(x)  # which says what is wrong
        if kernel[1:] == [1, 1] and stride == (1, 1) and not any(map(sum, padding[1:])):
            frames, height, width = sizes  # rows of pixels, the frames one below the other
            rows = [1, frames, height * width]
            out = _convolved(self, x, rows, [1, kernel[0], 1], stride, [(0, 0), padding[0], (0, 0)])
            return out.reshape([*out.shape[:2], out.shape[3], height, width])
        return _convolved(self, x, sizes, kernel, stride, padding)

    def _is_served(self) -> bool:
        return (
            self._groups == 1
            and self._dilation == [1, 1, 1]
            and self._stride[1] == self._stride[2]
            and (self._padding == "SAME" or isinstance(self._padding, int) or len(self._padding) == 3)
            and self._padding_mode == "zeros"
            and self._data_format == "NCDHW"
        )

    def _padding_of(self, sizes: Sequence[int], kernel: Sequence[int]) -> list[tuple[int, int]]:
        """Zeros before and behind, of each axis."""
        if self._padding != "SAME":
            around = [self._padding] * 3 if isinstance(self._padding, int) else self._padding
            return [(before, before) for before in around]
        return same_padding(sizes, kernel, self._stride)


def same_padding(sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """Places before and behind, of each axis, that TensorFlow's and Paddle's `SAME` adds."""
    totals = [
        max((-(-size // strides[i]) - 1) * strides[i] + kernel[i] - size, 0)
        for i, size in enumerate(sizes)  # `to_static` takes no `strict` of zip
    ]
    return [(total // 2, total - total // 2) for total in totals]


def _parameters(layer: Conv2D | Conv3D) -> list[paddle.Tensor]:
    return [layer.weight] if layer.bias is None else [layer.weight, layer.bias]


def _convolved(
    layer: Conv2D | Conv3D, x: paddle.Tensor, sizes: Sequence[int], kernel: Sequence[int], stride: tuple[int, int],
    padding: Sequence[tuple[int, int]],
) -> paddle.Tensor:  # fmt: skip
    """The convolution of clips, as whose memory that of x is taken: [N, C', T', H', W'], of images [B, C', H', W'].

    Args:
        layer: Its weight is [C', C, ...].
        x: [N, C, ...].
        sizes, kernel: Frames, rows and columns.
        stride: Of frames, and of rows and columns.
        padding: Zeros before and behind, of each axis.
    """
    clips, in_channels, out_channels = x.shape[0], x.shape[1], layer.weight.shape[0]
    strides = (stride[0], stride[1], stride[1])
    outs = [
        (size + sum(around) - side) // step + 1
        for size, around, side, step in zip(sizes, padding, kernel, strides, strict=True)
    ]
    geometry = kernels.integers(
        clips, in_channels, out_channels, *sizes, *outs, *kernel, *stride, *(before for before, _ in padding),
        _gemm(x.dtype),
    )  # fmt: skip
    half = kernel[0] // 2
    is_filtered = (*kernel[1:], *stride, *padding) == (3, 3, 1, 1, (half, half), (1, 1), (1, 1)) and kernel[0] % 2
    operator = "conv_winograd" if is_filtered else "conv_im2col"
    return convolve(operator, x, layer.weight, layer.bias, geometry, [clips, out_channels, *outs[5 - x.ndim :]])
