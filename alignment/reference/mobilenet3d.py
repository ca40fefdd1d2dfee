"""MobileNetV2 over clips, in PyTorch.

Source: Sandler et al., CVPR 2018, table 2; Köpüklü et al., ICCV Workshops 2019, table 3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from alignment.reference.recognizer3d import Recognizer3D, with_clip_head
from alignment.reference.resnet3d import conv3d

WIDTHS = {"x0_2": 0.2, "x0_45": 0.45, "x0_7": 0.7, "x1_0": 1.0}


def _bn_relu6_after(conv: nn.Conv3d, norm_eps: float) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm3d(conv.out_channels, eps=norm_eps), nn.ReLU6())


class InvertedResidual3D(nn.Module):
    """Expansion, depthwise 3x3x3, linear projection."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int, norm_eps: float) -> None:
        super().__init__()
        hidden, strides = expansion * in_channels, (stride, stride, stride)
        layers = [_bn_relu6_after(conv3d(hidden, hidden, (3, 3, 3), strides, groups=hidden), norm_eps)]
        if expansion > 1:
            layers.insert(0, _bn_relu6_after(conv3d(in_channels, hidden, (1, 1, 1)), norm_eps))
        project = conv3d(hidden, out_channels, (1, 1, 1))
        self.conv = nn.Sequential(*layers, project, nn.BatchNorm3d(out_channels, eps=norm_eps))
        self.shape_is_kept = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, T, H, W] to [N, out_channels, T / stride, H / stride, W / stride]."""
        y = self.conv(x)
        return y + x if self.shape_is_kept else y


class MobileNet3DBackbone(nn.Module):
    """The convolutional part."""

    def __init__(self, width: float, norm_eps: float) -> None:
        super().__init__()
        stem, *widths = (int(full * width) for full in (32, 16, 24, 32, 64, 96, 160, 320))
        layers: list[nn.Module] = [_bn_relu6_after(conv3d(3, stem, (3, 3, 3), (1, 2, 2)), norm_eps)]
        channels = stem
        for i, (out_channels, depth) in enumerate(zip(widths, (1, 2, 3, 4, 3, 3, 1), strict=True)):
            expansion, stride = (1 if i == 0 else 6), (2 if i in (1, 2, 3, 5) else 1)
            layers.append(InvertedResidual3D(channels, out_channels, stride, expansion, norm_eps))
            for _ in range(depth - 1):
                layers.append(InvertedResidual3D(out_channels, out_channels, 1, expansion, norm_eps))
            channels = out_channels
        self.features = nn.Sequential(*layers, _bn_relu6_after(conv3d(channels, 1280, (1, 1, 1)), norm_eps))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, 3, T, H, W] to [N, 1280, T / 16, H / 32, W / 32]."""
        return self.features(x)


def build(
    variant: str,
    num_classes: int,
    num_frames: int,
    *,
    norm_eps: float,
    **head: Any,
) -> Recognizer3D:
    """A MobileNetV2."""
    backbone = MobileNet3DBackbone(WIDTHS[variant], norm_eps)
    return with_clip_head(backbone, 1280, num_classes, **head)
