"""Image networks of torchvision, whose logits are averaged over the frames.

Source: pytorch/vision, `models/resnet.py`, `models/mobilenetv2.py`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from alignment.upstream.source import Names, Settings, Source, averaged_over_frames, called_by, installed

NETWORKS = {
    "tsn_r18": "resnet18",
    "tsn_r34": "resnet34",
    "tsn_r50": "resnet50",
    "tsn_r101": "resnet101",
    "tsn_mobilenet_v2": "mobilenet_v2",
}
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
    """Its image network."""
    dropout = {"dropout": settings.network.dropout} if name.endswith("mobilenet_v2") else {}
    model = getattr(torchvision().models, NETWORKS[name])(weights=None, num_classes=settings.num_classes, **dropout)
    return called_by(model, averaged_over_frames)


def names(name: str) -> Names:
    """Our backbones have its names."""
    return (
        (r"^(conv1|bn1|layer\d|features)\b", r"backbone.\1"),
        (r"^classifier\.0\b", "cls_head.dropout"),
        (r"^(fc|classifier\.1)\b", "cls_head.new_fc"),
    )


def options(name: str) -> dict[str, Any]:
    """Its ResNets have no dropout."""
    return {"consensus": "scores", **({} if name.endswith("mobilenet_v2") else {"dropout": 0.0})}


SOURCE = Source(tuple(NETWORKS), build, names, options)
