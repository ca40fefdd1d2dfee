"""Depthwise convolutions of images and of clips, in training.

`python -m tools.bench_kernels` measures them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import paddle
from paddle import nn

from models import kernels
from models.kernels.convolution import convolve


class DepthwiseConv2D(nn.Conv2D):
    """A convolution of each channel by itself, without a bias.

    Args:
        channels: C.
        kernel_size: Of a square kernel, odd.
        stride: Along both axes.
        same_padding: Pad by the size of the input, as Paddle's `SAME`; without it, all sides by half of the kernel.
        weight_attr: As of nn.Conv2D.
    """

    def __init__(
        self, channels: int, kernel_size: int, stride: int = 1, same_padding: bool = False, weight_attr: Any = None
    ) -> None:
        padding = "SAME" if same_padding else kernel_size // 2
        super().__init__(
            channels, channels, kernel_size, stride, padding, groups=channels, weight_attr=weight_attr, bias_attr=False
        )
        self.same_padding = same_padding

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [B, C, H, W] to [B, C, H / stride, W / stride]."""
        if self.bias is not None or not kernels.serve(x, self.weight):  # a norm that was folded leaves a bias
            return super().forward(x)
        images, channels, *sides = x.shape
        kernel, stride = self.weight.shape[-1], self._stride[0]
        if self.same_padding:
            outs = [-(-side // stride) for side in sides]
            before = [max((out - 1) * stride + kernel - side, 0) // 2 for out, side in zip(outs, sides, strict=True)]
        else:
            outs = _outs(sides, [kernel] * 2, stride)
            before = [kernel // 2] * 2
        geometry = _geometry(images, channels, [1, *sides], [1, *outs], [1, kernel, kernel], (1, stride), [0, *before])
        return convolve("depthwise_conv", x, self.weight, None, geometry, [images, channels, *outs])


class DepthwiseConv3D(nn.Conv3D):
    """A convolution of each channel by itself over frames, rows and columns, padded by half of its kernel, no bias.

    Args:
        channels: C.
        kernel_size: Of frames, rows and columns, odd.
        stride: Of frames, and of rows and columns.
        weight_attr: As of nn.Conv3D.
    """

    def __init__(
        self, channels: int, kernel_size: Sequence[int], stride: tuple[int, int] = (1, 1), weight_attr: Any = None
    ) -> None:
        padding = [side // 2 for side in kernel_size]
        super().__init__(
            channels, channels, list(kernel_size), [stride[0], stride[1], stride[1]], padding, groups=channels,
            weight_attr=weight_attr, bias_attr=False,
        )  # fmt: skip

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, T, H, W] to [N, C, T', H', W'], divided by the stride."""
        if self.bias is not None or not kernels.serve(x, self.weight):
            return super().forward(x)
        clips, channels, *sizes = x.shape
        kernel, (frames, stride, _) = self.weight.shape[2:], self._stride
        outs = [*_outs(sizes[:1], kernel[:1], frames), *_outs(sizes[1:], kernel[1:], stride)]
        before = [side // 2 for side in kernel]
        geometry = _geometry(clips, channels, sizes, outs, kernel, (frames, stride), before)
        return convolve("depthwise_conv", x, self.weight, None, geometry, [clips, channels, *outs])


def _outs(sides: Sequence[int], kernel: Sequence[int], stride: int) -> list[int]:
    """Sizes of the output, with half of the kernel as padding."""
    return [(side + 2 * (one // 2) - one) // stride + 1 for side, one in zip(sides, kernel, strict=True)]


def _geometry(
    clips: int, channels: int, sizes: Sequence[int], outs: Sequence[int], kernel: Sequence[int],
    stride: tuple[int, int], before: Sequence[int],
) -> ctypes.Array[Any]:  # fmt: skip
    """What the C++ file reads; sizes, kernels and paddings are of frames, rows and columns."""
    return kernels.integers(clips, channels, *sizes, *outs, *kernel, *stride, *before)
