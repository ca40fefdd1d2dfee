"""Image backbones by name, and what the tensors of a weight file tell of them."""

from __future__ import annotations

import re
from collections.abc import Callable

from paddle import nn

from configs.networks import ImageNetwork
from models.implementation import Arrays
from models.mobilenet_v2 import MobileNetV2
from models.resnet import resnet18, resnet34, resnet50, resnet101, tiny

# name -> function that returns the backbone
BACKBONES: dict[str, Callable[..., nn.Layer]] = {
    "r18": resnet18,
    "r34": resnet34,
    "r50": resnet50,
    "r101": resnet101,
    "mobilenet_v2": MobileNetV2,
    "tiny": tiny,
}
# Depths of the stages -> name of the ResNet; with three convolutions in a block, and with two.
_BOTTLENECKS = {(3, 4, 6, 3): "r50", (3, 4, 23, 3): "r101"}
_BASIC_BLOCKS = {(2, 2, 2, 2): "r18", (3, 4, 6, 3): "r34"}
_BLOCK = r"backbone\.layer([1-4])(?:\.net)?\.(\d+)\."
_TINY_WIDTH = 16
# The blocks of MobileNetV2 that stand for the four stages of a ResNet, see `mobilenet_v2.MobileNetV2`.
_MOBILENET_STAGES = (range(2, 4), range(4, 7), range(7, 14), range(14, 18))


def build_backbone(network: ImageNetwork) -> nn.Layer:
    """The backbone of a model, with random weights."""
    options = {"same_padding": True} if network.same_padding else {}
    return BACKBONES[network.variant](norm_eps=network.norm_eps, **options)


def backbone_of(arrays: Arrays) -> str:
    """Name of the backbone whose tensors these are, such as `r50`; empty if it is none of BACKBONES."""
    stem = arrays.get("backbone.features.0.0.weight")
    if stem is not None:
        is_all = all(name.startswith(("backbone.features.", "cls_head.")) for name in arrays)  # and no encoder of more
        return "mobilenet_v2" if stem.ndim == 4 and is_all else ""
    stem = arrays.get("backbone.conv1.weight")
    if stem is None or stem.ndim != 4:
        return ""  # it may convolve over frames
    blocks = {match.groups() for name in arrays if (match := re.match(_BLOCK, name))}
    depths = tuple(sum(stage == str(number) for stage, _ in blocks) for number in range(1, 5))
    if any(re.search(r"layer1\.0\.(net\.)?conv3\.", name) for name in arrays):
        return _BOTTLENECKS.get(depths, "")
    if len(stem) == _TINY_WIDTH:
        return "tiny" if depths == (2, 2, 2, 2) else ""
    return _BASIC_BLOCKS.get(depths, "")


def shows_fusion(arrays: Arrays) -> bool:
    """Whether names of tensors are those of multi-view fusion."""
    return any(".shift_conv." in name for name in arrays)


def shows_shift(arrays: Arrays) -> bool:
    """Whether names of tensors show layers that a temporal shift wraps."""
    return any(".net." in name for name in arrays) and not shows_fusion(arrays)


def stage_of(name: str) -> int:
    """Number, from 0, of the stage that a tensor belongs to."""
    kind, number = re.findall(r"(layer|features\.)(\d+)", name)[0]
    if kind == "layer":
        return int(number) - 1
    return next(stage for stage, blocks in enumerate(_MOBILENET_STAGES) if int(number) in blocks)
