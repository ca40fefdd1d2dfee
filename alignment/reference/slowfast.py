"""SlowFast, in PyTorch.

Source: Feichtenhofer et al., "SlowFast Networks", ICCV 2019, figure 1, table 1 and section 3.3 (time-strided
convolution); PySlowFast's `models/video_model_builder.py`, mmaction2's `models/backbones/resnet3d_slowfast.py`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from alignment.reference.recognizer3d import ClipHead, Recognizer3D, with_clip_head
from alignment.reference.resnet3d import DEPTHS, ResNet3D, conv3d


class Lateral(nn.Module):
    """kx1x1 with a temporal stride and twice the channels; behind it a norm and ReLU, or nothing."""

    def __init__(self, in_channels: int, kernel: int, alpha: int, norm_eps: float | None) -> None:
        super().__init__()
        self.conv = conv3d(in_channels, 2 * in_channels, (kernel, 1, 1), (alpha, 1, 1))
        self.bn = None if norm_eps is None else nn.BatchNorm3d(2 * in_channels, eps=norm_eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, T, H, W] to [N, 2 * C, T / alpha, H, W]."""
        x = self.conv(x)
        return F.relu(self.bn(x)) if self.bn else x


class SlowFastBackbone(nn.Module):
    """Slow and fast pathway."""

    def __init__(
        self,
        variant: str,
        alpha: int,
        lateral_kernel: int,
        lateral_norm: bool,
        slow_frames: str,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.alpha, self.slow_frames = alpha, slow_frames
        depth, _, few = variant.partition("_")
        depths = DEPTHS[depth]
        reaching = DEPTHS["r50"] if few else depths
        slow, fast = (
            [
                [(kernel, 1)] * many + [(1, 1)] * (depths[i] - many)
                for i, (kernel, many) in enumerate(zip(kernels, reaching, strict=True))
            ]
            for kernels in ((1, 1, 3, 3), (3, 3, 3, 3))
        )
        width = 2 if variant == "tiny" else 8  # of the fast pathway
        channels = [width, 4 * width, 8 * width, 16 * width]  # behind its stem and its first three stages
        joined = [2 * c for c in channels]
        self.slow_path = ResNet3D(depths, 1, 1, slow, halves=False, width=8 * width, joined=joined, norm_eps=norm_eps)
        self.fast_path = ResNet3D(depths, 5, 1, fast, halves=False, width=width, norm_eps=norm_eps)
        eps = norm_eps if lateral_norm else None
        self.lateral = nn.ModuleList([Lateral(c, lateral_kernel, alpha, eps) for c in channels])
        self.out_channels = self.slow_path.out_channels + self.fast_path.out_channels

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps [N, 3, T, H, W] to features [N, 2048, T / alpha, h, w] and [N, 256, T, h, w]."""
        frames = x.shape[2]
        if self.slow_frames == "linspace":
            chosen = torch.linspace(0, frames - 1, frames // self.alpha).long()
        else:
            chosen = torch.arange(0, frames, self.alpha)
        slow, fast = self.slow_path.stem(x[:, :, chosen]), self.fast_path.stem(x)
        for i in range(4):
            slow = torch.cat([slow, self.lateral[i](fast)], dim=1)
            slow = getattr(self.slow_path, f"layer{i + 1}")(slow)
            fast = getattr(self.fast_path, f"layer{i + 1}")(fast)
        return slow, fast


class FastFirstHead(ClipHead):
    """The fast pathway's channels stand first."""

    def forward(self, features: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Maps slow and fast features to logits [N, K]."""
        slow, fast = features
        return super().forward((fast, slow))


def build(
    variant: str,
    num_classes: int,
    num_frames: int,
    *,
    slowfast_alpha: int,
    lateral_kernel: int,
    lateral_norm: bool,
    slow_frames: str,
    joined_order: str,
    norm_eps: float,
    **head: Any,
) -> Recognizer3D:
    """A SlowFast network."""
    backbone = SlowFastBackbone(variant, slowfast_alpha or 4, lateral_kernel, lateral_norm, slow_frames, norm_eps)
    kind = {"slow_fast": ClipHead, "fast_slow": FastFirstHead}[joined_order]
    return with_clip_head(backbone, backbone.out_channels, num_classes, kind, **head)
