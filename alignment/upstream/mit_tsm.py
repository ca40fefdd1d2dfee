"""TSN and TSM of the TSM authors.

Source: mit-han-lab/temporal-shift-module, `ops/models.py`, `ops/temporal_shift.py`, `archs/mobilenet_v2.py`.
"""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from alignment.upstream.source import FLAT_MOBILENET, Names, Settings, Source, checked_out
from alignment.upstream.torchvision import torchvision

NETWORKS = {"r18": "resnet18", "r34": "resnet34", "r50": "resnet50", "r101": "resnet101", "mobilenet_v2": "mobilenetv2"}


def build(name: str, settings: Settings, path: str) -> nn.Module:
    """Its TSN, which is TSM once it shifts."""
    torchvision()  # which its code imports
    family, _, backbone = name.partition("_")
    with checked_out(path, ("ops", "archs"), {}):
        tsn = importlib.import_module("ops.models").TSN
        tsn.print_spec = False  # read when MobileNetV2 gets its shifts, and never set
        model = tsn(
            settings.num_classes,
            settings.num_frames,
            "RGB",
            base_model=NETWORKS[backbone],
            dropout=settings.network.dropout,
            partial_bn=False,
            print_spec=False,
            pretrain="",
            is_shift=family == "tsm",
            shift_div=settings.network.shift_div,
            shift_place=settings.network.shift_place,
            temporal_pool=settings.network.temporal_pool,
        )
        if settings.network.temporal_pool:  # as its test_models.py does, after the shift
            importlib.import_module("ops.temporal_shift").make_temporal_pool(model.base_model, settings.num_frames)
    return model


def names(name: str) -> Names:
    """Its classifier's place in the backbone is taken by the dropout. Blocks of its MobileNetV2 are flat."""
    return (
        (r"^base_model\.(fc|classifier)$", "cls_head.dropout"),
        (r"^base_model\.(conv1|bn1|layer\d|features)\b", r"backbone.\1"),
        (r"^new_fc\b", "cls_head.new_fc"),
        *(FLAT_MOBILENET if name.endswith("mobilenet_v2") else ()),
    )


def options(name: str) -> dict[str, Any]:
    """Its TSN, too, averages the logits of the frames."""
    return {"consensus": "scores"} if name.startswith("tsn") else {}


MODELS = tuple(f"{family}_{backbone}" for family in ("tsn", "tsm") for backbone in NETWORKS)
SOURCE = Source(
    MODELS,
    build,
    names,
    options,
    same_initialization=tuple(name for name in MODELS if name.startswith("tsm")),
    url="https://github.com/mit-han-lab/temporal-shift-module",
    marker="ops/temporal_shift.py",
)
