"""X3D, in PyTorch.

Source: Feichtenhofer, CVPR 2020, tables 1 and 3; Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018; widths of the
squeeze by PySlowFast's `round_width`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from alignment.reference.recognizer3d import ClipHead, Recognizer3D
from alignment.reference.resnet3d import conv3d

DEPTHS = {"tiny": (1, 2, 1, 1), "l": (5, 10, 25, 15)} | dict.fromkeys(("xs", "s", "m"), (3, 5, 11, 7))
SQUEEZED = {54: 8, 108: 8, 216: 16, 432: 32}


class SqueezeExcitation(nn.Module):
    """x * sigmoid(fc2(relu(fc1(mean(x)))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv3d(channels, SQUEEZED[channels], 1)
        self.fc2 = nn.Conv3d(SQUEEZED[channels], channels, 1)
        for layer in (self.fc1, self.fc2):
            nn.init.normal_(layer.weight, std=(2 / layer.in_channels) ** 0.5)
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, T, H, W] to the same."""
        mean = x.mean(dim=(2, 3, 4), keepdim=True)
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(mean))))


class BlockX3D(nn.Module):
    """1x1x1, depthwise 3x3x3 (norm, squeeze and excitation, swish), 1x1x1, around them a shortcut."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, squeeze: bool, shortcut_norm: bool, norm_eps: float
    ) -> None:
        super().__init__()
        width = int(2.25 * out_channels)
        self.conv1 = conv3d(in_channels, width, (1, 1, 1))
        self.bn1 = nn.BatchNorm3d(width, eps=norm_eps)
        self.conv2 = conv3d(width, width, (3, 3, 3), (1, stride, stride), groups=width)
        self.bn2 = nn.BatchNorm3d(width, eps=norm_eps)
        self.se = SqueezeExcitation(width) if squeeze else None
        self.conv3 = conv3d(width, out_channels, (1, 1, 1))
        self.bn3 = nn.BatchNorm3d(out_channels, eps=norm_eps)
        nn.init.zeros_(self.bn3.weight)
        self.downsample = None
        if stride == 2 or in_channels != out_channels:
            self.downsample = nn.Sequential(conv3d(in_channels, out_channels, (1, 1, 1), (1, stride, stride)))
            if in_channels != out_channels or shortcut_norm:
                self.downsample.append(nn.BatchNorm3d(out_channels, eps=norm_eps))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, T, H, W] to [N, out_channels, T, H / stride, W / stride]."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y = F.silu(self.se(y) if self.se else y)
        y = self.bn3(self.conv3(y))
        return F.relu(y + (self.downsample(x) if self.downsample else x))


class X3DBackbone(nn.Module):
    """Stem, four stages, conv5."""

    def __init__(self, depths: tuple[int, ...], shortcut_norm: bool, norm_eps: float) -> None:
        super().__init__()
        self.conv1_s = conv3d(3, 24, (1, 3, 3), (1, 2, 2))
        self.conv1_t = conv3d(24, 24, (5, 1, 1), groups=24)
        self.bn1 = nn.BatchNorm3d(24, eps=norm_eps)
        channels = 24
        for i, depth in enumerate(depths):
            width = 24 * 2**i
            blocks = []
            for j in range(depth):
                stride = 2 if j == 0 else 1
                blocks.append(BlockX3D(channels, width, stride, j % 2 == 0, shortcut_norm, norm_eps))
                channels = width
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self.conv5 = conv3d(192, 432, (1, 1, 1))
        self.bn5 = nn.BatchNorm3d(432, eps=norm_eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, 3, T, H, W] to [N, 432, T, H / 32, W / 32]."""
        x = F.relu(self.bn1(self.conv1_t(self.conv1_s(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return F.relu(self.bn5(self.conv5(x)))


class X3DHead(ClipHead):
    """Pool, 432 to 2048 without bias, ReLU, dropout, classifier."""

    def __init__(self, num_classes: int, dropout: float, places: str, window: int) -> None:
        super().__init__(2048, num_classes, dropout, places, window)
        self.fc1 = nn.Linear(432, 2048, bias=False)
        nn.init.normal_(self.fc1.weight, std=(2 / 2048) ** 0.5)

    def classify(self, x: torch.Tensor) -> torch.Tensor:
        """Maps pooled features [..., 432] to logits [..., K]."""
        return super().classify(F.relu(self.fc1(x)))


def build(
    variant: str,
    num_classes: int,
    num_frames: int,
    *,
    x3d_shortcut_norm: bool,
    norm_eps: float,
    dropout: float,
    partial_bn: bool,
    places: str,
    place_window: int,
) -> Recognizer3D:
    """An X3D."""
    backbone = X3DBackbone(DEPTHS[variant], x3d_shortcut_norm, norm_eps)
    return Recognizer3D(backbone, X3DHead(num_classes, dropout, places, place_window), partial_bn)
