"""Image backbones by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from alignment.reference.mobilenet_v2 import MobileNetV2
from alignment.reference.resnet import resnet18, resnet34, resnet50, resnet101, tiny

# name -> function that returns the backbone
BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "r18": resnet18,
    "r34": resnet34,
    "r50": resnet50,
    "r101": resnet101,
    "mobilenet_v2": MobileNetV2,
    "tiny": tiny,
}


def build_backbone(variant: str, norm_eps: float, same_padding: bool = False) -> nn.Module:
    """The backbone of a model, with random weights; `same_padding` is MobileNetV2's alone."""
    options = {"same_padding": True} if same_padding else {}
    return BACKBONES[variant](norm_eps=norm_eps, **options)
