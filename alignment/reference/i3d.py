"""I3D on a ResNet, in PyTorch.

Source: mmaction2's `configs/_base_/models/i3d_r50.py`; PySlowFast's `configs/Kinetics/I3D_8x8_R50.yaml`.
"""

from __future__ import annotations

from typing import Any

from alignment.reference.recognizer3d import Recognizer3D, with_clip_head
from alignment.reference.resnet3d import DEPTHS, ResNet3D


def build(
    variant: str,
    num_classes: int,
    num_frames: int,
    *,
    i3d_stem_stride: int,
    norm_eps: float,
    **head: Any,
) -> Recognizer3D:
    """An I3D: mmaction2's where the stem strides over frames, PySlowFast's where it does not."""
    depth, _, heavy = variant.partition("_")
    inflated, flat = (3, 1), (1, 1)
    stages = [[inflated]] * 4 if heavy else [[inflated], [inflated, flat], [inflated, flat], [flat, inflated]]
    backbone = ResNet3D(
        DEPTHS[depth],
        5,
        i3d_stem_stride or (1 if heavy else 2),
        stages,
        halves=True,
        width=16 if depth == "tiny" else 64,
        norm_eps=norm_eps,
        zero_init=False,
    )
    return with_clip_head(backbone, backbone.out_channels, num_classes, **head)
