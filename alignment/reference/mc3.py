"""MC3, in PyTorch.

Source: Tran et al., "A Closer Look at Spatiotemporal Convolutions", CVPR 2018; torchvision's `mc3_18`.
"""

from __future__ import annotations

from typing import Any

from alignment.reference.recognizer3d import Recognizer3D, with_clip_head
from alignment.reference.resnet3d import conv3d
from alignment.reference.video_resnet import DEPTHS, VideoResNet, simple


def build(
    variant: str,
    num_classes: int,
    num_frames: int,
    *,
    norm_eps: float,
    **head: Any,
) -> Recognizer3D:
    """An MC3."""
    stem = conv3d(3, 64, (3, 7, 7), (1, 2, 2))
    strides = [(1, 1), (1, 2), (1, 2), (1, 2)]
    backbone = VideoResNet(stem, DEPTHS[variant], [simple(3)] + [simple(1)] * 3, strides, pool=None, norm_eps=norm_eps)
    return with_clip_head(backbone, 512, num_classes, **head)
