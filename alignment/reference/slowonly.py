"""SlowOnly, in PyTorch.

Source: Feichtenhofer et al., "SlowFast Networks", ICCV 2019; mmaction2's `configs/_base_/models/slowonly_r50.py`.
"""

from __future__ import annotations

from typing import Any

from alignment.reference.recognizer3d import Recognizer3D, with_clip_head
from alignment.reference.resnet3d import DEPTHS, ResNet3D

STAGES = [[(1, 1)], [(1, 1)], [(3, 1)], [(3, 1)]]


def build(
    variant: str,
    num_classes: int,
    num_frames: int,
    *,
    norm_eps: float,
    **head: Any,
) -> Recognizer3D:
    """A SlowOnly network."""
    backbone = ResNet3D(
        DEPTHS[variant], 1, 1, STAGES, halves=False, width=16 if variant == "tiny" else 64, norm_eps=norm_eps
    )
    return with_clip_head(backbone, backbone.out_channels, num_classes, **head)
