"""Depthwise 2-D convolution: 2.7 to 4.4 times as fast as Paddle's on CPU, forward and backward together.

By `python -m tools.bench_kernels --rounds 2`, Intel Xeon, on the maps of MobileNetV2.
"""

from __future__ import annotations

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
            outs = [(side + 2 * (kernel // 2) - kernel) // stride + 1 for side in sides]
            before = [kernel // 2] * 2
        geometry = kernels.integers(images, channels, *sides, *outs, kernel, kernel, stride, *before)
        return convolve("depthwise_conv2d", x, self.weight, geometry, [images, channels, *outs])
