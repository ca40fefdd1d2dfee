"""SlowOnly, in PyTorch.

Source: Feichtenhofer et al., "SlowFast Networks", ICCV 2019; mmaction2's `configs/_base_/models/slowonly_r50.py`.
"""

from __future__ import annotations

from alignment.reference.recognizer3d import ClipHead, Recognizer3D
from alignment.reference.resnet3d import DEPTHS, ResNet3D

STAGES = [[(1, 1)], [(1, 1)], [(3, 1)], [(3, 1)]]


def build(
    variant: str,
    num_classes: int,
    num_frames: int,
    *,
    norm_eps: float,
    dropout: float,
    partial_bn: bool,
    places: str,
    place_window: int,
) -> Recognizer3D:
    """A SlowOnly network."""
    backbone = ResNet3D(
        DEPTHS[variant], 1, 1, STAGES, halves=False, width=16 if variant == "tiny" else 64, norm_eps=norm_eps
    )
    head = ClipHead(backbone.out_channels, num_classes, dropout, places, place_window)
    return Recognizer3D(backbone, head, partial_bn)
