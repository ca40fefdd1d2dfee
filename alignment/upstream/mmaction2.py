"""TSN and TSM of mmaction2 1.x.

Source: open-mmlab/mmaction2, `models/recognizers/recognizer2d.py`, `models/backbones/{resnet,resnet_tsm,mobilenet_v2,
mobilenet_v2_tsm}.py`, `models/heads/{tsn_head,tsm_head}.py`.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

from torch import nn

from alignment.upstream.source import Names, Settings, Source, block_names, called_by, installed, quiet

DEPTHS = {"r18": 18, "r34": 34, "r50": 50, "r101": 101}
INIT_STD = {"tsn": 0.01, "tsm": 0.001}


def build(name: str, settings: Settings, path: str) -> nn.Module:
    """Its Recognizer2D."""
    supply_what_the_wheel_lacks()
    recognizers = installed("mmaction.models.recognizers")
    family, _, backbone = name.partition("_")
    channels = {"mobilenet_v2": 1280, "r18": 512, "r34": 512}.get(backbone, 2048)
    head = {
        "type": f"{family.upper()}Head",
        "num_classes": settings.num_classes,
        "in_channels": channels,
        "dropout_ratio": settings.dropout,
        "init_std": INIT_STD[family],
    }
    if family == "tsm":
        head |= {"num_segments": settings.num_frames, "temporal_pool": settings.temporal_pool}
    with quiet():
        model = recognizers.Recognizer2D(
            backbone=_backbone(family, backbone, settings),
            cls_head=head,
            data_preprocessor={"type": "mmaction.ActionDataPreprocessor"},  # its default, found without a default scope
        )
        model.init_weights()
    if family == "tsn":
        # It drops out [N, C, 1, 1] and flattens afterwards; ours has [N, C] there.
        model.cls_head.dropout.register_forward_pre_hook(lambda layer, inputs: (inputs[0].flatten(1),))
    return called_by(model, lambda model, clips: model.extract_feat(clips, stage="head")[0])


def _backbone(family: str, backbone: str, settings: Settings) -> dict[str, Any]:
    config: dict[str, Any] = {"type": "ResNet" if backbone in DEPTHS else "MobileNetV2", "pretrained": None}
    if backbone in DEPTHS:
        config["depth"] = DEPTHS[backbone]
    if family == "tsm":
        config["type"] += "TSM"
        config |= {"num_segments": settings.num_frames, "shift_div": settings.shift_div, "pretrained2d": False}
        if backbone in DEPTHS:
            config |= {"shift_place": settings.shift_place, "temporal_pool": settings.temporal_pool}
    return config


def supply_what_the_wheel_lacks() -> None:
    """The wheel of 1.2.0 leaves out the folder of a localizer that `mmaction.models` imports."""
    spec = importlib.util.find_spec("mmaction")
    folders = spec.submodule_search_locations if spec and spec.submodule_search_locations else ()
    name = "mmaction.models.localizers.drn"
    if not any((Path(folder) / "models" / "localizers" / "drn").is_dir() for folder in folders):
        sys.modules.setdefault(name, types.ModuleType(name))
        sys.modules.setdefault(f"{name}.drn", types.ModuleType(f"{name}.drn")).__dict__["DRN"] = object


def names(name: str) -> Names:
    """A ConvModule holds a convolution, its norm and its activation, which are apart in ours."""
    head = (r"^cls_head\.fc_cls\b", "cls_head.new_fc")
    if name.endswith("mobilenet_v2"):
        return (head, *_mobilenet_names())
    return (
        head,
        (r"\.(conv\d)$", r".\1 and all"),
        (r"\.conv(\d)\.bn\b", r".bn\1"),
        (r"\.(conv\d)\.conv\b", r".\1"),
        (r"\.downsample\.conv\b", ".downsample.0"),
        (r"\.downsample\.bn\b", ".downsample.1"),
    )


def _mobilenet_names() -> Names:
    """Blocks are numbered through in ours; the last ConvModule of a block is a convolution and a norm there."""
    return (
        (r"(layer1\.0\.conv\.1|layer[2-7]\.\d\.conv\.2|layer\d\.\d\.conv)$", r"\1 and all"),
        (r"^backbone\.conv1\b", "backbone.features.0"),
        (r"^backbone\.conv2\b", "backbone.features.18"),
        *block_names(r"^backbone\.layer", 1),
        (r"(features\.1\.conv)\.1\.conv\b", r"\1.1"),
        (r"(features\.1\.conv)\.1\.bn\b", r"\1.2"),
        (r"(features\.\d+\.conv)\.2\.conv\b", r"\1.2"),
        (r"(features\.\d+\.conv)\.2\.bn\b", r"\1.3"),
        (r"(conv\.0)\.net\.conv\b", r"\1.0.net"),
        (r"(conv\.0)\.net\.(bn|activate)\b", r"\1.\2"),
        (r"(features\.0|features\.18|conv\.[01])\.conv\b", r"\1.0"),
        (r"\.bn\b", ".1"),
        (r"\.activate\b", ".2"),
    )


MODELS = tuple(f"{family}_{backbone}" for family in ("tsn", "tsm") for backbone in (*DEPTHS, "mobilenet_v2"))
SOURCE = Source(MODELS, build, names, same_initialization=MODELS)
