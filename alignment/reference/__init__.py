"""PyTorch twins of the recognizers in `models/`: file for file the same classes, attributes and arguments.

They are written for reading, from the papers and the authors' repositories, in the plainest operations that PyTorch
has. Nothing here imports anything of ActionAlign, so that a mistake cannot be shared by import.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from alignment.reference.heads import FrameHead, TSNHead, tsm_head
from alignment.reference.mobilenet_v2 import MobileNetV2
from alignment.reference.multi_view_fusion import insert_multi_view_fusion
from alignment.reference.recognizer2d import Recognizer2D, freeze_batch_norm
from alignment.reference.resnet import resnet18, resnet34, resnet50, resnet101, tiny
from alignment.reference.temporal_shift import insert_temporal_shift

__all__ = ["BACKBONES", "FAMILIES", "Recognizer2D", "create_model", "freeze_batch_norm"]

# name -> function without arguments that returns the backbone
BACKBONES: dict[str, Callable[[], nn.Module]] = {
    "r18": resnet18,
    "r34": resnet34,
    "r50": resnet50,
    "r101": resnet101,
    "mobilenet_v2": MobileNetV2,
    "tiny": tiny,
}

# family -> function that wraps modules of a backbone in place or None, and head
FAMILIES: dict[str, tuple[Callable[..., None] | None, Callable[..., nn.Module]]] = {
    "tsn": (None, TSNHead),
    "tsm": (insert_temporal_shift, tsm_head),
    "mvf": (insert_multi_view_fusion, FrameHead),
}


def create_model(
    name: str,
    *,
    num_classes: int,
    num_frames: int,
    dropout: float = 0.5,
    shift_div: int = 8,
    shift_place: str = "blockres",
    shift_direction: str = "mit",
    temporal_pool: bool = False,
    mvf_mode: str = "THW",
    mvf_alpha: float = 0.125,
    mvf_share: bool = False,
    mvf_use_hs: bool = True,
    mvf_stages: tuple[int, ...] = (0, 0, 1, 1),
    partial_bn: bool = False,
) -> Recognizer2D:
    """Builds a recognizer with random weights.

    Args:
        name: <tsn|tsm|mvf>_<r18|r34|r50|r101|mobilenet_v2|tiny>.
        num_classes: Classes K.
        num_frames: Frames T of a view.
        dropout: Dropout before the classifier.
        shift_div, shift_place, shift_direction, temporal_pool: See `temporal_shift.insert_temporal_shift`.
        mvf_mode, mvf_alpha, mvf_share, mvf_use_hs, mvf_stages: See `multi_view_fusion.insert_multi_view_fusion`.
        partial_bn: Freeze every BatchNorm but the first.

    Raises:
        ValueError: The name is unknown, or an option is out of its range.
    """
    family, _, backbone_name = name.partition("_")
    if family not in FAMILIES or backbone_name not in BACKBONES:
        raise ValueError(f"model must be <{'|'.join(FAMILIES)}>_<{'|'.join(BACKBONES)}>, got {name!r}")
    options: dict[str, dict] = {
        "tsm": {
            "shift_div": shift_div,
            "place": shift_place,
            "direction": shift_direction,
            "temporal_pool": temporal_pool,
        },
        "mvf": {
            "mode": mvf_mode,
            "alpha": mvf_alpha,
            "share": mvf_share,
            "use_hs": mvf_use_hs,
            "stages": mvf_stages,
        },
    }
    insert, head = FAMILIES[family]
    backbone = BACKBONES[backbone_name]()
    if insert:
        insert(backbone, num_frames, **options[family])
    cls_head = head(backbone.out_channels, num_classes, dropout)
    return Recognizer2D(backbone, cls_head, frame_divisor=2 if temporal_pool else 1, partial_bn=partial_bn)
