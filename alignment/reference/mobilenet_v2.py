"""MobileNetV2 for single frames in PyTorch.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, figure 4d and table 2;
torchvision's names of parameters; TensorFlow's manual, `tf.nn`, for the rule of its padding SAME.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn


class SameConv2d(nn.Conv2d):
    """A convolution that puts out ceil(size / stride) values of each side, padded evenly or with the odd one last."""

    def __init__(self, *args: int, **options: int | bool) -> None:
        super().__init__(*args, **options)
        self.padding = "same"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, C, H, W] to [B, out_channels, ceil(H / stride), ceil(W / stride)]."""
        ends: list[int] = []
        for size, kernel, stride in zip(x.shape[2:], self.kernel_size, self.stride, strict=True):
            needed = (math.ceil(size / stride) - 1) * stride + kernel
            total = max(needed - size, 0)
            ends = [total // 2, total - total // 2, *ends]  # F.pad begins at the last axis
        return F.conv2d(F.pad(x, ends), self.weight, self.bias, self.stride, groups=self.groups)


def _conv(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1, same_padding: bool = False
) -> nn.Conv2d:
    kind = SameConv2d if same_padding else nn.Conv2d
    conv = kind(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out")
    return conv


def _bn_relu6_after(conv: nn.Conv2d, norm_eps: float) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels, eps=norm_eps), nn.ReLU6())


class InvertedResidual(nn.Module):
    """Expansion, depthwise 3x3, linear projection."""

    first_conv = "conv.0.0"

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, expansion: int, same_padding: bool, norm_eps: float
    ) -> None:
        super().__init__()
        self.has_shortcut = stride == 1 and in_channels == out_channels
        hidden = expansion * in_channels
        layers: list[nn.Module] = []
        if expansion > 1:
            layers.append(_bn_relu6_after(_conv(in_channels, hidden, 1), norm_eps))
        layers.append(_bn_relu6_after(_conv(hidden, hidden, 3, stride, hidden, same_padding), norm_eps))
        project = _conv(hidden, out_channels, 1)
        self.conv = nn.Sequential(*layers, project, nn.BatchNorm2d(out_channels, eps=norm_eps))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, C, H, W] to [B, out_channels, H / stride, W / stride]."""
        return x + self.conv(x) if self.has_shortcut else self.conv(x)


class MobileNetV2(nn.Module):
    """The convolutional part of MobileNetV2 at width 1.

    Args:
        same_padding: Pad as TensorFlow's `SAME` does.
        norm_eps: Epsilon of every BatchNorm.
    """

    out_channels = 1280
    # The blocks that put out 1/4, 1/8, 1/16 and 1/32 of the resolution.
    block_paths = (
        ["features.2", "features.3"],
        ["features.4", "features.5", "features.6"],
        [f"features.{i}" for i in range(7, 14)],
        [f"features.{i}" for i in range(14, 18)],
    )

    def __init__(self, same_padding: bool = False, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.same_padding, self.norm_eps = same_padding, norm_eps
        self.features = nn.Sequential(
            _bn_relu6_after(_conv(3, 32, 3, stride=2, same_padding=same_padding), norm_eps),
            *self._group(32, 16, depth=1, stride=1, expansion=1),
            *self._group(16, 24, depth=2, stride=2),
            *self._group(24, 32, depth=3, stride=2),
            *self._group(32, 64, depth=4, stride=2),
            *self._group(64, 96, depth=3, stride=1),
            *self._group(96, 160, depth=3, stride=2),
            *self._group(160, 320, depth=1, stride=1),
            _bn_relu6_after(_conv(320, 1280, 1), norm_eps),
        )

    def _group(
        self, in_channels: int, out_channels: int, depth: int, stride: int, expansion: int = 6
    ) -> list[nn.Module]:
        """One row of table 2: `depth` blocks, of which the first has the stride."""
        options = self.same_padding, self.norm_eps
        rest = [InvertedResidual(out_channels, out_channels, 1, expansion, *options) for _ in range(depth - 1)]
        return [InvertedResidual(in_channels, out_channels, stride, expansion, *options), *rest]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps images float [B, 3, H, W] to features [B, 1280, H / 32, W / 32]."""
        return self.features(x)
