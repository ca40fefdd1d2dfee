"""ResNet for single frames in PyTorch.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1 and figure 5; torchvision's
names of parameters, and its place of the stride: the 3x3 convolution of a bottleneck.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _downsample(in_channels: int, out_channels: int, stride: int, norm_eps: float) -> nn.Sequential | None:
    """The projection of the shortcut, or None where the identity fits."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(_conv(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels, eps=norm_eps))


class BasicBlock(nn.Module):
    """relu(x + BN(3x3(relu(BN(3x3(x))))))."""

    expansion = 1
    first_conv = "conv1"
    has_shortcut = True

    def __init__(self, in_channels: int, width: int, stride: int, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width, eps=norm_eps)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width, eps=norm_eps)
        self.downsample = _downsample(in_channels, width, stride, norm_eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, C, H, W] to [B, width, H / stride, W / stride]."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (self.downsample(x) if self.downsample else x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 with four times the channels, around them a shortcut."""

    expansion = 4
    first_conv = "conv1"
    has_shortcut = True

    def __init__(self, in_channels: int, width: int, stride: int, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, width, 1)
        self.bn1 = nn.BatchNorm2d(width, eps=norm_eps)
        self.conv2 = _conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width, eps=norm_eps)
        self.conv3 = _conv(width, 4 * width, 1)
        self.bn3 = nn.BatchNorm2d(4 * width, eps=norm_eps)
        self.downsample = _downsample(in_channels, 4 * width, stride, norm_eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, C, H, W] to [B, 4 * width, H / stride, W / stride]."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (self.downsample(x) if self.downsample else x))


class ResNet(nn.Module):
    """The convolutional part of a ResNet.

    Args:
        block: BasicBlock or Bottleneck.
        depths: Blocks of each of the four stages.
        width: Channels of the stem and width of the first stage.
        norm_eps: Epsilon of every BatchNorm.
    """

    def __init__(
        self, block: type[nn.Module], depths: tuple[int, int, int, int], width: int = 64, norm_eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.conv1 = _conv(3, width, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(width, eps=norm_eps)
        self.out_channels = width
        self.layer1 = self._stage(block, depths[0], width, stride=1, norm_eps=norm_eps)
        self.layer2 = self._stage(block, depths[1], 2 * width, stride=2, norm_eps=norm_eps)
        self.layer3 = self._stage(block, depths[2], 4 * width, stride=2, norm_eps=norm_eps)
        self.layer4 = self._stage(block, depths[3], 8 * width, stride=2, norm_eps=norm_eps)
        self.block_paths = [[f"layer{i}.{j}" for j in range(depth)] for i, depth in enumerate(depths, 1)]

    def _stage(self, block: type[nn.Module], depth: int, width: int, stride: int, norm_eps: float) -> nn.Sequential:
        blocks = []
        for i in range(depth):
            blocks.append(block(self.out_channels, width, stride if i == 0 else 1, norm_eps))
            self.out_channels = width * block.expansion
        return nn.Sequential(*blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps images float [B, 3, H, W] to features [B, out_channels, H / 32, W / 32]."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))
