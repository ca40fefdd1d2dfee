"""Slow, I3D and SlowFast of PyTorchVideo.

Its X3D is not among the models, as one layer of its head is a convolution where ours has a matrix; what its code makes
of weights that we write is compared in `tests/weights/test_clip_layouts.py`.

Source: facebookresearch/pytorchvideo, `models/resnet.py`, `models/slowfast.py`, and `models/hub` for the arguments.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from alignment.upstream.source import Names, Settings, Source, called_by, installed
from alignment.upstream.torchvision import torchvision

MODELS = ("i3d_r50", "slowonly_r50", "slowfast_r50", "slowfast_r101")
BLOCK = {"branch1_conv": "downsample.0", "branch1_norm": "downsample.1"} | {
    f"branch2.{part}_{letter}": f"{ours}{k}"
    for k, letter in enumerate("abc", 1)
    for part, ours in (("conv", "conv"), ("norm", "bn"))
}


def build(name: str, settings: Settings, path: str) -> nn.Module:
    """The network of its hub, with the head's pooling for clips of this length and size."""
    torchvision()  # which its code imports
    models, network = installed("pytorchvideo.models"), settings.network
    frames, side = settings.num_frames, -(-settings.size // 32)
    options: dict[str, Any] = {"model_num_class": settings.num_classes, "dropout_rate": network.dropout}
    if name.startswith("slowfast"):
        options |= {
            "slowfast_fusion_conv_stride": (network.alpha, 1, 1),
            "head_pool_kernel_sizes": ((frames // network.alpha, side, side), (frames, side, side)),
        }
    else:
        options["head_pool_kernel_size"] = (frames // (2 if name.startswith("i3d") else 1), side, side)
    if name == "slowonly_r50":  # its hub's function fixes the size of the head's pooling
        model = models.create_resnet(stem_conv_kernel_size=(1, 7, 7), **options)
    else:
        model = getattr(installed("pytorchvideo.models.hub"), name)(pretrained=False, **options)

    def forward(model: Any, clips: Tensor) -> Tensor:
        fast = clips.transpose(1, 2)  # [N, 3, T, H, W]
        if not name.startswith("slowfast"):
            return type(model).forward(model, fast)
        slow = torch.linspace(0, fast.shape[2] - 1, fast.shape[2] // network.alpha).long()  # as its PackPathway
        return type(model).forward(model, [fast.index_select(2, slow), fast])

    called_by(model.blocks[-1], _without_axes_of_one)
    return called_by(model, forward)


def _without_axes_of_one(head: Any, features: Any) -> Tensor:
    """What its head computes where one place is left; it keeps [N, 1, 1, 1, C] there, where ours has [N, C]."""
    pooled = head.pool(features) if head.pool else features  # SlowFast has another block that pools
    logits: Tensor = head.proj(head.dropout(pooled.flatten(1)))
    return logits


def names(name: str) -> Names:
    """A ResNet's stages are numbered with the stem before them, and in I3D with a pooling between."""
    last = 5 if name.startswith("slowonly") else 6
    head = ((rf"^blocks\.{last}\.proj\b", "cls_head.new_fc"), (rf"^blocks\.{last}\.dropout\b", "cls_head.dropout"))
    parts = tuple((rf"\.{re.escape(theirs)}\b", f".{ours}") for theirs, ours in BLOCK.items())
    if name.startswith("slowfast"):
        pathways = tuple(
            rule
            for k, pathway in enumerate(("slow_path", "fast_path"))
            for rule in (
                (rf"^blocks\.0\.multipathway_blocks\.{k}\.conv\b", f"backbone.{pathway}.conv1"),
                (rf"^blocks\.0\.multipathway_blocks\.{k}\.norm\b", f"backbone.{pathway}.bn1"),
                (rf"^blocks\.(\d)\.multipathway_blocks\.{k}\.res_blocks\b", rf"backbone.{pathway}.layer\1"),
            )
        )
        lateral = (
            (r"^blocks\.(\d)\.multipathway_fusion\.conv_fast_to_slow\b", r"backbone.lateral.\1.conv"),
            (r"^blocks\.(\d)\.multipathway_fusion\.norm\b", r"backbone.lateral.\1.bn"),
        )
        return (*head, *pathways, *lateral, *parts)
    stages = [(stage if last == 5 or stage == 1 else stage + 1, stage) for stage in range(1, 5)]
    return (
        *head,
        (r"^blocks\.0\.conv\b", "backbone.conv1"),
        (r"^blocks\.0\.norm\b", "backbone.bn1"),
        *((rf"^blocks\.{theirs}\.res_blocks\b", f"backbone.layer{ours}") for theirs, ours in stages),
        *parts,
    )


def options(name: str) -> dict[str, Any]:
    """What its code leaves no choice of."""
    if name.startswith("slowfast"):
        kernel = 7 if name == "slowfast_r50" else 5
        return {"slow_frames": "linspace", "joined_order": "slow_fast", "lateral_kernel": kernel, "lateral_norm": True}
    return {"i3d_stem_stride": 1} if name.startswith("i3d") else {}


SOURCE = Source(MODELS, build, names, options)
