"""R(2+1)D, in PyTorch.

Source: Tran et al., "A Closer Look at Spatiotemporal Convolutions", CVPR 2018, section 3.5; torchvision's
`r2plus1d_18`, mmaction2's `configs/_base_/models/r2plus1d_r34.py`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from alignment.reference.recognizer3d import Recognizer3D, with_clip_head
from alignment.reference.resnet3d import conv3d
from alignment.reference.video_resnet import DEPTHS, VideoResNet


class Conv2Plus1D(nn.Module):
    """1xkxk, BN with epsilon 1e-5, ReLU, tx1x1."""

    def __init__(
        self, before: int, middle: int, after: int, kernel: tuple[int, int], stride_t: int = 1, stride_s: int = 1
    ) -> None:
        super().__init__()
        frames, side = kernel
        self.conv_s = conv3d(before, middle, (1, side, side), (1, stride_s, stride_s))
        self.bn_s = nn.BatchNorm3d(middle, eps=1e-5)
        self.conv_t = conv3d(middle, after, (frames, 1, 1), (stride_t, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, T, H, W] to [N, after, T', H', W']."""
        return self.conv_t(F.relu(self.bn_s(self.conv_s(x))))


def of_torchvision(before: int, width: int, stride_t: int, stride_s: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    """One middle width in a block."""
    middle = (before * width * 27) // (before * 9 + 3 * width)
    return (
        Conv2Plus1D(before, middle, width, (3, 3), stride_t, stride_s),
        Conv2Plus1D(width, middle, width, (3, 3)),
        conv3d(before, width, (1, 1, 1), (stride_t, stride_s, stride_s)),
    )


def of_mmaction2(before: int, width: int, stride_t: int, stride_s: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    """A middle width for each convolution, the shortcut's among them."""

    def middle(channels: int, pixels: int) -> int:
        return int(3 * channels * width * pixels / (channels * pixels + 3 * width))

    return (
        Conv2Plus1D(before, middle(before, 9), width, (3, 3), stride_t, stride_s),
        Conv2Plus1D(width, middle(width, 9), width, (3, 3)),
        Conv2Plus1D(before, middle(before, 1), width, (1, 1), stride_t, stride_s),
    )


def build(
    variant: str,
    num_classes: int,
    num_frames: int,
    *,
    norm_eps: float,
    **head: Any,
) -> Recognizer3D:
    """An R(2+1)D: torchvision's with 18 layers, mmaction2's with 34."""
    mmaction2 = variant == "r34"
    stem = Conv2Plus1D(3, 83 if mmaction2 else 45, 64, (3, 7), 1, 2)
    strides = [(1, 1), (2, 2), (2, 2), (2, 2)]
    makes = [of_mmaction2 if mmaction2 else of_torchvision] * 4
    pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)) if mmaction2 else None
    backbone = VideoResNet(stem, DEPTHS[variant], makes, strides, pool=pool, norm_eps=norm_eps)
    return with_clip_head(backbone, 512, num_classes, **head)
