"""Image networks of torchvision, whose logits are averaged over the frames, and its networks over clips.

Source: pytorch/vision, `models/resnet.py`, `models/mobilenetv2.py`, `models/video/resnet.py`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from alignment.upstream.source import Names, Settings, Source, averaged_over_frames, called_by, installed, of_clips

NETWORKS = {
    "tsn_r18": "resnet18",
    "tsn_r34": "resnet34",
    "tsn_r50": "resnet50",
    "tsn_r101": "resnet101",
    "tsn_mobilenet_v2": "mobilenet_v2",
}
CLIP_NETWORKS = {"r3d_r18": "r3d_18", "mc3_r18": "mc3_18", "r2plus1d_r18": "r2plus1d_18"}
# Operators of torchvision's binary part, which does not load beside a PyTorch of another build (that for CPUs and that
# for CUDA). Its Python part only wants to find them declared.
OPERATORS = ("nms", "qnms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d")
_declared: list[torch.library.Library] = []  # what a library declares lives as long as it does


def torchvision() -> Any:
    """The package torchvision.

    Raises:
        IncomparableError: It is not installed.
    """
    try:
        return installed("torchvision")
    except RuntimeError:  # an operator does not exist; where they do, another declaration would end the process
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in (*OPERATORS, *(f"_{operator}_backward" for operator in OPERATORS)):
            if not hasattr(torch.ops.torchvision, name):
                library.define(f"{name}(Tensor x) -> Tensor")
        _declared.append(library)
        return installed("torchvision")


def build(name: str, settings: Settings, path: str) -> nn.Module:
    """Its image network, or its network over clips."""
    if name in CLIP_NETWORKS:
        video = torchvision().models.video
        return called_by(getattr(video, CLIP_NETWORKS[name])(weights=None, num_classes=settings.num_classes), of_clips)
    dropout = {"dropout": settings.network.dropout} if name.endswith("mobilenet_v2") else {}
    model = getattr(torchvision().models, NETWORKS[name])(weights=None, num_classes=settings.num_classes, **dropout)
    return called_by(model, averaged_over_frames)


def names(name: str) -> Names:
    """Our backbones over images have its names; of those over clips a convolution and its norm are a Sequential."""
    if name in CLIP_NETWORKS:
        sequential = ((r"^stem$", "stem and all"), (r"\.(conv\d)$", r".\1 and all"))
        return (*sequential, *(_FACTORED if name == "r2plus1d_r18" else _PLAIN), *_CLIPS)
    return (
        (r"^(conv1|bn1|layer\d|features)\b", r"backbone.\1"),
        (r"^classifier\.0\b", "cls_head.dropout"),
        (r"^(fc|classifier\.1)\b", "cls_head.new_fc"),
    )


_PLAIN = ((r"^stem\.0\b", "backbone.conv1"), (r"^stem\.1\b", "backbone.bn1"))
_FACTORED = (
    (r"^stem\.0\b", "backbone.conv1.conv_s"),
    (r"^stem\.1\b", "backbone.conv1.bn_s"),
    (r"^stem\.3\b", "backbone.conv1.conv_t"),
    (r"^stem\.4\b", "backbone.bn1"),
    (r"\.(conv\d)\.0\.0\b", r".\1.conv_s"),
    (r"\.(conv\d)\.0\.1\b", r".\1.bn_s"),
    (r"\.(conv\d)\.0\.3\b", r".\1.conv_t"),
)
_CLIPS = (
    (r"\.conv(\d)\.1\b", r".bn\1"),
    (r"\.(conv\d)\.0\b", r".\1"),
    (r"^(layer\d)\b", r"backbone.\1"),
    (r"^fc\b", "cls_head.new_fc"),
)


def options(name: str) -> dict[str, Any]:
    """Its ResNets have no dropout."""
    if name in CLIP_NETWORKS:
        return {"dropout": 0.0}
    return {"consensus": "scores", **({} if name.endswith("mobilenet_v2") else {"dropout": 0.0})}


SOURCE = Source((*NETWORKS, *CLIP_NETWORKS), build, names, options)
