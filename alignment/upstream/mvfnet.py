"""ResNet-MVF of the MVFNet authors.

Their MobileNetV2 is not among the models, as it fuses in other blocks than ours, nor are their ResNet-18 and 34, which
their code cannot build.

Source: whwu95/MVFNet, `codes/models/modules/MVF.py`, `codes/models/backbones/resnet.py`,
`codes/models/heads/tsn_clshead.py`, `codes/models/recognizers/recognizer2d.py`.
"""

from __future__ import annotations

import importlib
import types
from typing import Any

from torch import Tensor, nn

from alignment.upstream.source import Settings, Source, called_by, checked_out
from alignment.upstream.torchvision import torchvision

DEPTHS = {"mvf_r50": 50, "mvf_r101": 101}


class StandIn(types.ModuleType):
    """A module that no Python of today installs; whatever is imported from it and not set is an empty class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def stand_ins() -> dict[str, types.ModuleType]:
    """The modules of mmcv 0.x that its models import, with what they call, and its trainer, which wants all of mmcv."""
    modules = {name: StandIn(name) for name in ("mmcv", "mmcv.cnn", "mmcv.runner", "codes.core")}
    vars(modules["mmcv"])["is_str"] = lambda value: isinstance(value, str)
    vars(modules["mmcv.cnn"]).update(constant_init=_constant_init, kaiming_init=_kaiming_init)
    vars(modules["codes.core"])["auto_fp16"] = lambda apply_to: lambda function: function
    return dict(modules)


def _constant_init(module: nn.Module, value: float) -> None:
    nn.init.constant_(module.weight, value)
    nn.init.zeros_(module.bias)


def _kaiming_init(module: nn.Module) -> None:
    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def build(name: str, settings: Settings, path: str) -> nn.Module:
    """Its Recognizer2D."""
    torchvision()  # which its code imports
    backbone = {
        "type": "ResNet", "pretrained": None, "depth": DEPTHS[name], "out_indices": (3,), "norm_eval": False,
        "partial_norm": False, "norm_cfg": {"type": "BN", "requires_grad": True},
    }  # fmt: skip
    head = {
        "type": "TSNClsHead", "spatial_size": -1, "dropout_ratio": settings.network.dropout, "init_std": 0.01,
        "in_channels": 2048, "num_classes": settings.num_classes,
    }  # fmt: skip
    network = settings.network
    fusion = {
        "type": "MVF", "n_segment": settings.num_frames, "alpha": network.mvf_alpha, "mode": network.mvf_mode,
        "mvf_freq": network.mvf_stages, "share": network.mvf_share, "use_hs": network.mvf_use_hs,
    }  # fmt: skip
    with checked_out(path, ("codes", "mmcv"), stand_ins()):
        recognizers = importlib.import_module("codes.models.recognizers")
        model = recognizers.Recognizer2D(backbone=backbone, cls_head=head, module_cfg=fusion)
    # It drops out [N*T, C, 1, 1, 1] and flattens afterwards; ours has [N*T, C] there.
    model.cls_head.dropout.register_forward_pre_hook(lambda layer, inputs: (inputs[0].flatten(1),))
    return called_by(model, _logits)


def _logits(model: Any, clips: Tensor) -> Tensor:
    """As its `forward_train` and `forward_test` do, without a loss and without a mean over views."""
    return model.cls_head(model.extract_feat(clips.flatten(0, 1)), clips.shape[1])


SOURCE = Source(
    tuple(DEPTHS),
    build,
    same_initialization=tuple(DEPTHS),
    url="https://github.com/whwu95/MVFNet",
    marker="codes/models/modules/MVF.py",
)
