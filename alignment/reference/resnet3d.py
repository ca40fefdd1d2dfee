"""ResNet over clips, in PyTorch.

Source: Carreira and Zisserman, CVPR 2017; Feichtenhofer et al., "SlowFast Networks", ICCV 2019, table 1; the layers of
mmaction2's `models/backbones/resnet3d.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

DEPTHS = {"r50": (3, 4, 6, 3), "r101": (3, 4, 23, 3), "tiny": (1, 2, 2, 2)}


def conv3d(
    in_channels: int, out_channels: int, kernel: tuple[int, ...], stride: tuple[int, ...] = (1, 1, 1), groups: int = 1
) -> nn.Conv3d:
    """A convolution without bias, padded by half of its kernel."""
    padding = tuple(side // 2 for side in kernel)
    conv = nn.Conv3d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
    nn.init.normal_(conv.weight, std=math.sqrt(2 / (math.prod(kernel) * out_channels)))
    return conv


class Bottleneck3D(nn.Module):
    """tx1x1, tx3x3 and 1x1x1 with four times the channels, around them a shortcut."""

    def __init__(
        self, in_channels: int, width: int, stride: int, frames: tuple[int, int], norm_eps: float, zero_init: bool
    ) -> None:
        super().__init__()
        self.conv1 = conv3d(in_channels, width, (frames[0], 1, 1))
        self.bn1 = nn.BatchNorm3d(width, eps=norm_eps)
        self.conv2 = conv3d(width, width, (frames[1], 3, 3), (1, stride, stride))
        self.bn2 = nn.BatchNorm3d(width, eps=norm_eps)
        self.conv3 = conv3d(width, 4 * width, (1, 1, 1))
        self.bn3 = nn.BatchNorm3d(4 * width, eps=norm_eps)
        if zero_init:
            nn.init.zeros_(self.bn3.weight)
        self.downsample = None
        if stride != 1 or in_channels != 4 * width:
            self.downsample = nn.Sequential(
                conv3d(in_channels, 4 * width, (1, 1, 1), (1, stride, stride)),
                nn.BatchNorm3d(4 * width, eps=norm_eps),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, T, H, W] to [N, 4 * width, T, H / stride, W / stride]."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (self.downsample(x) if self.downsample else x))


class ResNet3D(nn.Module):
    """Stem and four stages.

    Args:
        depths: Blocks of each stage.
        stem: Frames of the first kernel.
        stem_stride: Temporal stride of the stem, and of the pooling behind it.
        stages: For each stage, the frames that the two first kernels of its blocks reach over, in turn.
        halves: Halve the frames behind the first stage.
        width: Channels of the stem.
        joined: Channels that another pathway adds to the input of each stage.
        norm_eps: Epsilon of every BatchNorm.
        zero_init: Last norm of each block starts at 0.
    """

    def __init__(
        self,
        depths: Sequence[int],
        stem: int,
        stem_stride: int,
        stages: Sequence[Sequence[tuple[int, int]]],
        *,
        halves: bool,
        width: int = 64,
        joined: Sequence[int] = (0, 0, 0, 0),
        norm_eps: float = 1e-5,
        zero_init: bool = True,
    ) -> None:
        super().__init__()
        self.conv1 = conv3d(3, width, (stem, 7, 7), (stem_stride, 2, 2))
        self.bn1 = nn.BatchNorm3d(width, eps=norm_eps)
        self.maxpool = nn.MaxPool3d((1, 3, 3), (stem_stride, 2, 2), (0, 1, 1))
        self.pool2 = nn.MaxPool3d((2, 1, 1), (2, 1, 1)) if halves else nn.Identity()
        self.out_channels = width
        for i in range(4):
            blocks, channels = [], self.out_channels + joined[i]
            for j in range(depths[i]):
                frames = stages[i][j % len(stages[i])]
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(Bottleneck3D(channels, width * 2**i, stride, frames, norm_eps, zero_init))
                channels = 4 * width * 2**i
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
            self.out_channels = channels

    def stem(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, 3, T, H, W] to [N, width, T', H / 4, W / 4]."""
        return self.maxpool(F.relu(self.bn1(self.conv1(x))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, 3, T, H, W] to [N, out_channels, t, H / 32, W / 32]."""
        x = self.pool2(self.layer1(self.stem(x)))
        return self.layer4(self.layer3(self.layer2(x)))
