"""R3D, in PyTorch.

Source: Tran et al., "A Closer Look at Spatiotemporal Convolutions", CVPR 2018; torchvision's `r3d_18`;
3D-ResNets-PyTorch's `models/resnet.py`.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from alignment.reference.recognizer3d import Recognizer3D, with_clip_head
from alignment.reference.resnet3d import conv3d
from alignment.reference.video_resnet import DEPTHS, VideoResNet, simple


def build(
    variant: str,
    num_classes: int,
    num_frames: int,
    *,
    norm_eps: float,
    r3d_pooled_stem: bool,
    **head: Any,
) -> Recognizer3D:
    """An R3D."""
    stem = conv3d(3, 64, (7 if r3d_pooled_stem else 3, 7, 7), (1, 2, 2))
    pool = nn.MaxPool3d(3, 2, 1) if r3d_pooled_stem else None
    deep = variant == "r50"
    strides = [(1, 1), (2, 2), (2, 2), (2, 2)]
    backbone = VideoResNet(
        stem, DEPTHS[variant], [simple(3)] * 4, strides, pool=pool, norm_eps=norm_eps, bottlenecks=deep
    )
    return with_clip_head(backbone, 2048 if deep else 512, num_classes, **head)
