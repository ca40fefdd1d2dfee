"""What the tensors of a file tell of the network that they belong to, read off our names and the shapes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from weights.files import Arrays
from weights.pickles import CheckpointError

# Depths of the stages -> name of the ResNet; with three convolutions in a block, and with two.
_BOTTLENECKS = {(3, 4, 6, 3): "r50", (3, 4, 23, 3): "r101"}
_BASIC_BLOCKS = {(2, 2, 2, 2): "r18", (3, 4, 6, 3): "r34"}
_TINY_WIDTH = 16
# The blocks of MobileNetV2 that stand for the four stages of a ResNet, see `models.mobilenet_v2`.
_MOBILENET_STAGES = (range(2, 4), range(4, 7), range(7, 14), range(14, 18))


def backbone_of(arrays: Arrays) -> str:
    """Our name of the image network, such as `r50`; empty if it is none of ours."""
    if any(name.startswith("backbone.features.") for name in arrays):
        return "mobilenet_v2"
    blocks = {match.groups() for name in arrays if (match := re.search(r"layer([1-4])(?:\.net)?\.(\d+)\.", name))}
    depths = tuple(sum(stage == str(number) for stage, _ in blocks) for number in range(1, 5))
    if any(re.search(r"layer1\.0\.(net\.)?conv3\.", name) for name in arrays):
        return _BOTTLENECKS.get(depths, "")
    stem = arrays.get("backbone.conv1.weight")
    if stem is not None and len(stem) == _TINY_WIDTH:
        return "tiny" if depths == (2, 2, 2, 2) else ""
    return _BASIC_BLOCKS.get(depths, "")


def family_of(arrays: Arrays) -> str:
    """`mvf`, `tsm` or `tsn`, by the temporal modules that the names show."""
    if any(".shift_conv." in name for name in arrays):
        return "mvf"
    return "tsm" if any(".net." in name for name in arrays) else "tsn"


def network_fields(arrays: Arrays) -> dict[str, Any]:
    """Recipe fields that decide which tensors a network has, as these are.

    Raises:
        CheckpointError: The channels of multi-view fusion fit no one part of the input's.
    """
    family = family_of(arrays)
    if family == "tsm":
        blocks = any(re.search(r"(layer\d(\.net)?|features)\.\d+\.net\.", name) for name in arrays)
        return {
            "shift_place": "block" if blocks else "blockres",
            "temporal_pool": any(name.startswith("backbone.layer2.net.") for name in arrays),
        }
    return _fusion_fields(arrays) if family == "mvf" else {}


def has_one_kernel(arrays: Arrays) -> bool:
    """Whether multi-view fusion has no kernel for the height: either only time is fused, or one serves all views."""
    return family_of(arrays) == "mvf" and not any(".h_conv." in name for name in arrays)


def _fusion_fields(arrays: Arrays) -> dict[str, Any]:
    kernels = [name for name in arrays if name.endswith(".shift_conv.weight")]
    fields: dict[str, Any] = {
        "mvf_alpha": _fused_part(arrays, kernels),
        "mvf_stages": tuple(int(any(_stage_of(name) == stage for name in kernels)) for stage in range(4)),
        "mvf_use_hs": any(name.replace("shift_conv", "bn") in arrays for name in kernels),
    }
    if not has_one_kernel(arrays):
        wide = any(".w_conv." in name for name in arrays)
        fields |= {"mvf_mode": "THW" if wide else "TH", "mvf_share": False}
    return fields


def _fused_part(arrays: Arrays, kernels: list[str]) -> float:
    """The part of the channels, of which each layer fuses the whole number below it."""
    wrapped = [arrays.get(name.replace("shift_conv", "net"), np.empty((0, 0))).shape[1] for name in kernels]
    fused = [len(arrays[name]) for name in kernels]
    least = max(n / max(channels, 1) for n, channels in zip(fused, wrapped, strict=True))
    for part in (least, float(np.nextafter(least, 1))):
        if all(int(channels * part) == n for n, channels in zip(fused, wrapped, strict=True)):
            return part
    raise CheckpointError(f"no part of the channels is fused in all layers: {fused} of {wrapped}")


def _stage_of(name: str) -> int:
    kind, number = re.findall(r"(layer|features\.)(\d+)", name)[0]
    if kind == "layer":
        return int(number) - 1
    return next(stage for stage, blocks in enumerate(_MOBILENET_STAGES) if int(number) in blocks)
