"""Image backbones by name."""

from __future__ import annotations

from torch import nn

from alignment.reference.mobilenet_v2 import MobileNetV2
from alignment.reference.resnet import BasicBlock, Bottleneck, ResNet

# name -> block, depths of the stages, width
RESNETS: dict[str, tuple[type[nn.Module], tuple[int, int, int, int], int]] = {
    "r18": (BasicBlock, (2, 2, 2, 2), 64),
    "r34": (BasicBlock, (3, 4, 6, 3), 64),
    "r50": (Bottleneck, (3, 4, 6, 3), 64),
    "r101": (Bottleneck, (3, 4, 23, 3), 64),
    "tiny": (BasicBlock, (2, 2, 2, 2), 16),
}


def build_backbone(variant: str, norm_eps: float, same_padding: bool = False) -> nn.Module:
    """The backbone of a model, with random weights; `same_padding` is MobileNetV2's alone."""
    return MobileNetV2(same_padding, norm_eps) if variant == "mobilenet_v2" else ResNet(*RESNETS[variant], norm_eps)
