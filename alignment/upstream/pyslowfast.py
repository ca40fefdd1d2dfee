"""Slow, I3D, SlowFast and X3D of PySlowFast.

Source: facebookresearch/SlowFast, `slowfast/models/video_model_builder.py`, `resnet_helper.py`, `head_helper.py`, and
`configs/Kinetics` for the options.
"""

from __future__ import annotations

import importlib
import logging
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alignment.upstream.mvfnet import StandIn
from alignment.upstream.source import Names, Settings, Source, as_linear, called_by, checked_out
from alignment.upstream.torchvision import torchvision

CONFIGS = {
    "i3d_r50": "I3D_8x8_R50",
    "i3d_r101": "I3D_8x8_R101",
    "slowonly_r50": "SLOW_8x8_R50",
    "slowfast_r50": "SLOWFAST_8x8_R50",
    "x3d_xs": "X3D_XS",
    "x3d_s": "X3D_S",
    "x3d_m": "X3D_M",
    "x3d_l": "X3D_L",
}
# What its models import and do not use: detection, what runs on many machines, other networks.
ABSENT = (
    "detectron2", "detectron2.layers", "slowfast.utils.logging", "slowfast.utils.distributed",
    "slowfast.models.contrastive", "slowfast.models.masked", "slowfast.models.ptv_model_builder",
)  # fmt: skip
BLOCK = {"branch1": "downsample.0", "branch1_bn": "downsample.1"} | {
    f"branch2.{letter}{part}": f"{ours}{k}"
    for k, letter in enumerate("abc", 1)
    for part, ours in (("", "conv"), ("_bn", "bn"))
}


def build(name: str, settings: Settings, path: str) -> nn.Module:
    """The network of its configuration."""
    torchvision()  # which its code imports
    network, is_slowfast = settings.network, name.startswith("slowfast")
    stand_ins = {module: StandIn(module) for module in ABSENT}
    vars(stand_ins["slowfast.utils.logging"])["get_logger"] = logging.getLogger
    with checked_out(path, ("slowfast", "detectron2"), stand_ins):
        config = importlib.import_module("slowfast.config.defaults").get_cfg()
        config.merge_from_file(str(Path(path) / "configs" / "Kinetics" / f"{CONFIGS[name]}.yaml"))
        config.MODEL.NUM_CLASSES, config.MODEL.DROPOUT_RATE = settings.num_classes, network.dropout
        config.DATA.NUM_FRAMES, config.DATA.TRAIN_CROP_SIZE = settings.num_frames, settings.size
        config.MULTIGRID.SHORT_CYCLE = True  # its head averages over all places, of frames of any size
        if is_slowfast:
            config.SLOWFAST.ALPHA, config.SLOWFAST.FUSION_KERNEL_SZ = network.alpha, network.lateral_kernel
        model = getattr(importlib.import_module("slowfast.models.video_model_builder"), config.MODEL.MODEL_NAME)(config)
    if name.startswith("x3d"):
        as_linear(model.head.lin_5)
    called_by(model.head, _x3d_head if name.startswith("x3d") else _without_axes_of_one)

    def forward(model: Any, clips: Tensor) -> Tensor:
        fast = clips.transpose(1, 2)  # [N, 3, T, H, W]
        frames = fast.shape[2]
        if not is_slowfast:
            return type(model).forward(model, [fast])
        slow = torch.linspace(0, frames - 1, frames // network.alpha).long()  # as its pack_pathway_output
        return type(model).forward(model, [fast.index_select(2, slow), fast])

    return called_by(model, forward)


def _without_axes_of_one(head: Any, features: list[Tensor]) -> Tensor:
    """What its head computes while training where one place is left; ours has [N, C] where it has [N, 1, 1, 1, C]."""
    pooled = [getattr(head, f"pathway{k}_avgpool")(x) for k, x in enumerate(features)]
    logits: Tensor = head.projection(head.dropout(torch.cat(pooled, 1).flatten(1)))
    return logits


def _x3d_head(head: Any, features: list[Tensor]) -> Tensor:
    """The same for X3D."""
    x = head.conv_5_relu(head.conv_5_bn(head.conv_5(features[0])))
    logits: Tensor = head.projection(head.dropout(head.lin_5_relu(head.lin_5(head.avg_pool(x))).flatten(1)))
    return logits


def names(name: str) -> Names:
    """Stages are numbered from the stem, and pathways are parts of a name."""
    parts = tuple((rf"\.{re.escape(theirs)}(?=\.|$)", f".{ours}") for theirs, ours in BLOCK.items())
    pathways = ("slow_path.", "fast_path.") if name.startswith("slowfast") else ("",)
    stages = tuple(
        (rf"^s{stage}\.pathway{k}_res(?=\d)", f"backbone.{pathway}layer{stage - 1}.")
        for k, pathway in enumerate(pathways)
        for stage in range(2, 6)
    )
    x3d = (
        (r"^s1\.pathway0_stem\.conv_xy\b", "backbone.conv1_s"),
        (r"^s1\.pathway0_stem\.conv\b", "backbone.conv1_t"),
        (r"^head\.conv_5\b", "backbone.conv5"),
        (r"^head\.conv_5_bn\b", "backbone.bn5"),
        (r"^head\.lin_5\.weight$", "cls_head.fc1.weight"),
        (r"\.branch2\.se\b", ".se"),
    )
    stems = tuple(
        (rf"^s1\.pathway{k}_stem\.{theirs}\b", f"backbone.{pathway}{ours}")
        for k, pathway in enumerate(pathways)
        for theirs, ours in (("conv", "conv1"), ("bn", "bn1"))
    )
    lateral = tuple(
        (rf"^s{stage}_fuse\.{theirs}\b", f"backbone.lateral.{stage - 1}.{ours}")
        for stage in range(1, 5)
        for theirs, ours in (("conv_f2s", "conv"), ("bn", "bn"))
    )
    return (
        (r"^head\.projection\b", "cls_head.new_fc"),
        (r"^head\.dropout\b", "cls_head.dropout"),
        *(x3d if name.startswith("x3d") else ()),
        *stems,
        *stages,
        *lateral,
        *parts,
    )


def options(name: str) -> dict[str, Any]:
    """What its code leaves no choice of."""
    if name.startswith("slowfast"):
        return {"slow_frames": "linspace", "joined_order": "slow_fast", "lateral_norm": True}
    return {"i3d_stem_stride": 1} if name.startswith("i3d") else {}


SOURCE = Source(
    tuple(CONFIGS),
    build,
    names,
    options,
    url="https://github.com/facebookresearch/SlowFast",
    marker="slowfast/models/video_model_builder.py",
)
