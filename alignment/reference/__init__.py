"""PyTorch twins of the recognizers in `models/`: file for file the same classes, attributes and arguments.

They are written for reading, from the papers and the authors' repositories, in the plainest operations that PyTorch
has. Nothing here imports anything of ActionAlign, so that a mistake cannot be shared by import.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from alignment.reference.heads import FrameHead, TSNHead
from alignment.reference.mobilenet_v2 import MobileNetV2
from alignment.reference.multi_view_fusion import insert_multi_view_fusion
from alignment.reference.recognizer2d import Recognizer2D, batch_norms, freeze_batch_norm
from alignment.reference.resnet import resnet18, resnet34, resnet50, resnet101, tiny
from alignment.reference.temporal_shift import insert_temporal_shift

__all__ = ["BACKBONES", "FAMILIES", "Recognizer2D", "create_model", "freeze_batch_norm"]

# name -> function that returns the backbone
BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "r18": resnet18,
    "r34": resnet34,
    "r50": resnet50,
    "r101": resnet101,
    "mobilenet_v2": MobileNetV2,
    "tiny": tiny,
}

# family -> function that wraps modules of a backbone in place or None, head, and the spread of its first weights
FAMILIES: dict[str, tuple[Callable[..., None] | None, type[TSNHead], float]] = {
    "tsn": (None, TSNHead, 0.01),
    "tsm": (insert_temporal_shift, FrameHead, 0.001),
    "mvf": (insert_multi_view_fusion, FrameHead, 0.01),
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
    norm_eps: float = 1e-5,
    same_padding: bool = False,
    consensus: str = "family",
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
        norm_eps: Epsilon of every BatchNorm.
        same_padding: See `mobilenet_v2.MobileNetV2`; the ResNets do not have it.
        consensus: `features` averages frames before the classifier, `scores` behind it, `family` as published.

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
    insert, head, init_std = FAMILIES[family]
    if consensus != "family":
        head = {"features": TSNHead, "scores": FrameHead}[consensus]
    backbone = BACKBONES[backbone_name](same_padding=True) if same_padding else BACKBONES[backbone_name]()
    if insert:
        insert(backbone, num_frames, **options[family])
    cls_head = head(backbone.out_channels, num_classes, dropout, init_std)
    model = Recognizer2D(backbone, cls_head, frame_divisor=2 if temporal_pool else 1, partial_bn=partial_bn)
    for norm in batch_norms(model):
        norm.eps = norm_eps
    return model
