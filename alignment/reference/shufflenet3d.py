"""ShuffleNetV2 over clips, in PyTorch.

Source: Ma et al., ECCV 2018, figure 3; Köpüklü et al., ICCV Workshops 2019, table 4.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from alignment.reference.recognizer3d import Recognizer3D, with_clip_head
from alignment.reference.resnet3d import conv3d

STAGES = {
    "x0_25": (32, 64, 128), "x0_5": (48, 96, 192), "x1_0": (116, 232, 464), "x1_5": (176, 352, 704),
    "x2_0": (224, 488, 976),
}  # fmt: skip


class Branch(nn.Module):
    """Convolutions with norms: `conv1`, `bn1`, ...; a ReLU behind those that are not depthwise."""

    def __init__(self, *convolutions: nn.Conv3d, norm_eps: float) -> None:
        super().__init__()
        self.count = len(convolutions)
        for i, conv in enumerate(convolutions):
            self.add_module(f"conv{i + 1}", conv)
            self.add_module(f"bn{i + 1}", nn.BatchNorm3d(conv.out_channels, eps=norm_eps))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, T, H, W] to [N, C', T', H', W']."""
        for i in range(1, self.count + 1):
            conv = self.get_submodule(f"conv{i}")
            x = self.get_submodule(f"bn{i}")(conv(x))
            x = F.relu(x) if conv.groups == 1 else x
        return x


class Unit(nn.Module):
    """One of the halves, or a shortcut, beside three convolutions; then the shuffle."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm_eps: float) -> None:
        super().__init__()
        half, strides = out_channels // 2, (stride,) * 3
        seen = half if stride == 1 else in_channels
        self.branch1 = None
        if stride == 2:
            depthwise = conv3d(seen, seen, (3, 3, 3), strides, groups=seen)
            self.branch1 = Branch(depthwise, conv3d(seen, half, (1, 1, 1)), norm_eps=norm_eps)
        self.branch2 = Branch(
            conv3d(seen, half, (1, 1, 1)),
            conv3d(half, half, (3, 3, 3), strides, groups=half),
            conv3d(half, half, (1, 1, 1)),
            norm_eps=norm_eps,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, T, H, W] to [N, out_channels, T / stride, H / stride, W / stride]."""
        kept, x = x.chunk(2, dim=1) if self.branch1 is None else (self.branch1(x), x)
        return torch.stack([kept, self.branch2(x)], dim=2).flatten(1, 2)


class ShuffleNet3DBackbone(nn.Module):
    """Stem, pooling, stages of 4, 8 and 4 units, conv5."""

    def __init__(self, widths: tuple[int, ...], out_channels: int, norm_eps: float) -> None:
        super().__init__()
        self.conv1 = conv3d(3, 24, (3, 3, 3), (1, 2, 2))
        self.bn1 = nn.BatchNorm3d(24, eps=norm_eps)
        channels = (24, *widths)
        for i, depth in enumerate((4, 8, 4)):
            first = Unit(channels[i], channels[i + 1], 2, norm_eps)
            others = [Unit(channels[i + 1], channels[i + 1], 1, norm_eps) for _ in range(1, depth)]
            self.add_module(f"stage{i + 2}", nn.Sequential(first, *others))
        self.conv5 = conv3d(channels[-1], out_channels, (1, 1, 1))
        self.bn5 = nn.BatchNorm3d(out_channels, eps=norm_eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, 3, T, H, W] to [N, out_channels, T / 16, H / 32, W / 32]."""
        x = F.max_pool3d(F.relu(self.bn1(self.conv1(x))), kernel_size=3, stride=2, padding=1)
        x = self.stage4(self.stage3(self.stage2(x)))
        return F.relu(self.bn5(self.conv5(x)))


class Joining(Recognizer3D):
    """A recognizer whose backbone joins branches, and adds none."""

    residual_ends = ()


def build(
    variant: str,
    num_classes: int,
    num_frames: int,
    *,
    norm_eps: float,
    **head: Any,
) -> Recognizer3D:
    """A ShuffleNetV2."""
    out_channels = 2048 if variant == "x2_0" else 1024
    backbone = ShuffleNet3DBackbone(STAGES[variant], out_channels, norm_eps)
    return with_clip_head(backbone, out_channels, num_classes, recognizer=Joining, **head)
