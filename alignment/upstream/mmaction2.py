"""TSN, TSM and the networks over clips of mmaction2 1.x.

Source: open-mmlab/mmaction2, `models/recognizers/recognizer2d.py`, `models/backbones/{resnet,resnet_tsm,mobilenet_v2,
mobilenet_v2_tsm}.py`, `models/heads/{tsn_head,tsm_head}.py`; for clips `models/recognizers/recognizer3d.py`,
`models/backbones/{resnet3d,resnet3d_slowonly,resnet3d_slowfast,resnet2plus1d,x3d,c3d}.py`, `models/heads/{i3d_head,
slowfast_head,x3d_head}.py`, and `configs/_base_/models` for their arguments.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from alignment.upstream.source import Names, Settings, Source, block_names, called_by, installed, quiet

DEPTHS = {"r18": 18, "r34": 34, "r50": 50, "r101": 101}
INIT_STD = {"tsn": 0.01, "tsm": 0.001}


def build(name: str, settings: Settings, path: str) -> nn.Module:
    """Its Recognizer2D."""
    supply_what_the_wheel_lacks()
    recognizers = installed("mmaction.models.recognizers")
    if name in CLIP_MODELS:
        return _build_clip_model(recognizers, settings)
    family, _, backbone = name.partition("_")
    channels = {"mobilenet_v2": 1280, "r18": 512, "r34": 512}.get(backbone, 2048)
    head = {
        "type": f"{family.upper()}Head",
        "num_classes": settings.num_classes,
        "in_channels": channels,
        "dropout_ratio": settings.network.dropout,
        "init_std": INIT_STD[family],
    }
    if family == "tsm":
        head |= {"num_segments": settings.num_frames, "temporal_pool": settings.network.temporal_pool}
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
        config |= {"num_segments": settings.num_frames, "shift_div": settings.network.shift_div, "pretrained2d": False}
        if backbone in DEPTHS:
            config |= {"shift_place": settings.network.shift_place, "temporal_pool": settings.network.temporal_pool}
    return config


def _build_clip_model(recognizers: Any, settings: Settings) -> nn.Module:
    """Its Recognizer3D."""
    network = settings.network
    backbone, head = CLIP_MODELS[network.model](network)
    common = {"num_classes": settings.num_classes, "dropout_ratio": network.dropout, "init_std": 0.01}
    with quiet():
        model = recognizers.Recognizer3D(
            backbone={"pretrained": None, **backbone},
            cls_head={"type": "I3DHead", **common, **head},
            data_preprocessor={"type": "mmaction.ActionDataPreprocessor"},
        )
        model.init_weights()

    # It drops out [N, C, 1, 1, 1] and flattens afterwards; ours has [N, C] there.
    model.cls_head.dropout.register_forward_pre_hook(lambda layer, inputs: (inputs[0].flatten(1),))

    def forward(model: Any, clips: Tensor) -> Tensor:
        views = clips.transpose(1, 2).unsqueeze(1)  # [N, 1, 3, T, H, W]
        return model.cls_head(model.extract_feat(views, stage="backbone")[0])

    return called_by(model, forward)


def _i3d(network: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    inflate = ((1, 1, 1), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 1, 0))
    backbone = {
        "type": "ResNet3d",
        "depth": 50,
        "pretrained2d": False,
        "conv1_kernel": (5, 7, 7),
        "conv1_stride_t": network.stem_stride,
        "pool1_stride_t": network.stem_stride,
        "inflate": 1 if network.variant.endswith("heavy") else inflate,
        "zero_init_residual": False,
    }
    return backbone, {"in_channels": 2048}


def _slowonly(network: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    backbone = {
        "type": "ResNet3dSlowOnly",
        "depth": DEPTHS[network.variant],
        "pretrained2d": False,
        "lateral": False,
        "conv1_kernel": (1, 7, 7),
        "inflate": (0, 0, 1, 1),
    }
    return backbone, {"in_channels": 2048}


def _slowfast(network: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    pathway = {"type": "resnet3d", "depth": DEPTHS[network.variant], "pretrained": None, "pretrained2d": False}
    slow = {
        "lateral": True,
        "lateral_norm": network.lateral_norm,
        "fusion_kernel": network.lateral_kernel,
        "conv1_kernel": (1, 7, 7),
        "inflate": (0, 0, 1, 1),
    }
    fast = {"lateral": False, "base_channels": 8, "conv1_kernel": (5, 7, 7)}
    backbone = {
        "type": "ResNet3dSlowFast",
        "resample_rate": network.alpha,
        "speed_ratio": network.alpha,
        "channel_ratio": 8,
        "slow_pathway": {**pathway, **slow},
        "fast_pathway": {**pathway, **fast},
    }
    return backbone, {"type": "SlowFastHead", "in_channels": 2304}


def _r2plus1d(network: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    backbone = {
        "type": "ResNet2Plus1d",
        "depth": DEPTHS[network.variant],
        "pretrained2d": False,
        "conv_cfg": {"type": installed("mmaction.models.common").Conv2plus1d},
        "norm_cfg": {"type": "BN3d", "eps": network.norm_eps},
        "conv1_kernel": (3, 7, 7),
        "temporal_strides": (1, 2, 2, 2),
        "zero_init_residual": False,
    }
    return backbone, {"in_channels": 512}


def _x3d(network: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    backbone = {"type": "X3D", "gamma_w": 1, "gamma_b": 2.25, "gamma_d": 2.2}
    return backbone, {"type": "X3DHead", "in_channels": 432, "fc1_bias": False}


def _c3d(network: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    backbone = {"type": "C3D", "dropout_ratio": network.dropout, "init_std": 0.005, "norm_cfg": None}
    return backbone, {"in_channels": 4096, "spatial_type": None}


# our name -> (options) -> its backbone, and what its head has that others have not
CLIP_MODELS: dict[str, Callable[[Any], tuple[dict[str, Any], dict[str, Any]]]] = {
    "i3d_r50": _i3d,
    "i3d_r50_heavy": _i3d,
    "slowonly_r50": _slowonly,
    "slowonly_r101": _slowonly,
    "slowfast_r50": _slowfast,
    "slowfast_r101": _slowfast,
    "r2plus1d_r34": _r2plus1d,
    "x3d_m": _x3d,
    "c3d": _c3d,
}


def options(name: str) -> dict[str, Any]:
    """What its code leaves no choice of, or has in its configurations."""
    if name.startswith("slowfast"):
        return {"slow_frames": "stride", "joined_order": "fast_slow", "lateral_norm": False}
    return {"norm_eps": 1e-3} if name.startswith("r2plus1d") else {}


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
    if name.startswith("x3d"):
        head = (r"^cls_head\.fc2\b", "cls_head.new_fc")
    return (
        head,
        (r"\.slow_path\.conv1_lateral\b", ".lateral.0"),
        (r"\.slow_path\.layer(\d)_lateral\b", r".lateral.\1"),
        (r"\.se_module\b", ".se"),
        (r"\.(conv\d[st_ab]*)$", r".\1 and all"),
        (r"\.(conv\d_s)\.conv\b", r".\1"),
        (r"\.(conv\d_t)\.conv\b", r".\1"),
        (r"\.conv1_t\.bn\b", ".bn1"),
        (r"\.(conv\d[ab])\.conv\b", r".\1"),
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


IMAGE_MODELS = tuple(f"{family}_{backbone}" for family in ("tsn", "tsm") for backbone in (*DEPTHS, "mobilenet_v2"))
SOURCE = Source((*IMAGE_MODELS, *CLIP_MODELS), build, names, options, same_initialization=IMAGE_MODELS)
