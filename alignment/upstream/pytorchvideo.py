"""Slow, I3D, SlowFast and X3D of PyTorchVideo.

Source: facebookresearch/pytorchvideo, `models/resnet.py`, `models/slowfast.py`, `models/x3d.py`, and `models/hub` for
the arguments.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from alignment.upstream.source import Names, Settings, Source, as_linear, called_by, installed
from alignment.upstream.torchvision import torchvision

MODELS = ("i3d_r50", "slowonly_r50", "slowfast_r50", "slowfast_r101", "x3d_xs", "x3d_s", "x3d_m", "x3d_l")
BLOCK = {"branch1_conv": "downsample.0", "branch1_norm": "downsample.1"} | {
    f"branch2.{part}_{letter}": f"{ours}{k}"
    for k, letter in enumerate("abc", 1)
    for part, ours in (("conv", "conv"), ("norm", "bn"))
}


def build(name: str, settings: Settings, path: str) -> nn.Module:
    """The network of its hub, with the head's pooling for clips of this length and size."""
    torchvision()  # which its code imports
    network = settings.network
    frames, side = settings.num_frames, -(-settings.size // 32)
    options: dict[str, Any] = {"model_num_class": settings.num_classes, "dropout_rate": network.dropout}
    if name.startswith("x3d"):
        model = installed("pytorchvideo.models.x3d").create_x3d(
            input_clip_length=frames,
            input_crop_size=settings.size,
            depth_factor=5.0 if name == "x3d_l" else 2.2,
            head_activation=None,  # the hub's take a softmax at each place
            **options,
        )
        as_linear(model.blocks[-1].pool.post_conv)
    elif name.startswith("slowfast"):
        options |= {
            "slowfast_fusion_conv_stride": (network.alpha, 1, 1),
            "head_pool_kernel_sizes": ((frames // network.alpha, side, side), (frames, side, side)),
        }
        model = _of_hub(name, options)
    else:
        options["head_pool_kernel_size"] = (frames // (2 if name.startswith("i3d") else 1), side, side)
        if name.startswith("i3d"):
            model = _of_hub(name, options)
        else:  # its hub's function fixes the size of the head's pooling
            model = installed("pytorchvideo.models.resnet").create_resnet(stem_conv_kernel_size=(1, 7, 7), **options)

    def forward(model: Any, clips: Tensor) -> Tensor:
        fast = clips.transpose(1, 2)  # [N, 3, T, H, W]
        if not name.startswith("slowfast"):
            return type(model).forward(model, fast)
        slow = torch.linspace(0, fast.shape[2] - 1, fast.shape[2] // network.alpha).long()  # as its PackPathway
        return type(model).forward(model, [fast.index_select(2, slow), fast])

    called_by(model.blocks[-1], _without_axes_of_one)
    return called_by(model, forward)


def _of_hub(name: str, options: dict[str, Any]) -> Any:
    return getattr(installed("pytorchvideo.models.hub"), name)(pretrained=False, **options)


def _without_axes_of_one(head: Any, features: Any) -> Tensor:
    """What its head computes where one place is left; it keeps [N, 1, 1, 1, C] there, where ours has [N, C]."""
    pooled = head.pool(features) if head.pool else features  # SlowFast has another block that pools
    logits: Tensor = head.proj(head.dropout(pooled.flatten(1)))
    return logits


def names(name: str) -> Names:
    """A ResNet's stages are numbered with the stem before them, and in I3D with a pooling between."""
    last = 5 if name.startswith("slowonly") else 6
    if name.startswith("x3d"):
        return _x3d_names()
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


def _x3d_names() -> Names:
    """The names of its stem are exchanged; its block's second norm is a Sequential of it and of what follows."""
    squeeze = ((0, 1), (2, 2))
    return (
        (r"^blocks\.0\.conv\.conv_t\b", "backbone.conv1_s"),
        (r"^blocks\.0\.conv\.conv_xy\b", "backbone.conv1_t"),
        (r"^blocks\.0\.norm\b", "backbone.bn1"),
        (r"^blocks\.5\.pool\.pre_conv\b", "backbone.conv5"),
        (r"^blocks\.5\.pool\.pre_norm\b", "backbone.bn5"),
        (r"^blocks\.5\.pool\.post_conv\.weight\b", "cls_head.fc1.weight"),
        (r"^blocks\.5\.proj\b", "cls_head.new_fc"),
        (r"^blocks\.5\.dropout\b", "cls_head.dropout"),
        (r"^blocks\.(\d)\.res_blocks\b", r"backbone.layer\1"),
        (r"\.branch2\.norm_b$", ".norm_b and all"),
        (r"\.branch2\.norm_b\.0\b", ".bn2"),
        *((rf"\.branch2\.norm_b\.1\.block\.{k}\b", f".se.fc{ours}") for k, ours in squeeze),
        *((rf"\.{re.escape(theirs)}\b", f".{ours}") for theirs, ours in BLOCK.items()),
    )


def options(name: str) -> dict[str, Any]:
    """What its code leaves no choice of."""
    if name.startswith("x3d"):
        return {"x3d_shortcut_norm": False}
    if name.startswith("slowfast"):
        kernel = 7 if name == "slowfast_r50" else 5
        return {"slow_frames": "linspace", "joined_order": "slow_fast", "lateral_kernel": kernel, "lateral_norm": True}
    return {"i3d_stem_stride": 1} if name.startswith("i3d") else {}


SOURCE = Source(MODELS, build, names, options)
