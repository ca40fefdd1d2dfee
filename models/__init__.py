"""Video recognizers, composed of an image backbone, a temporal module and a head.

To add a part, write its file and one line in a dict below.
"""

from __future__ import annotations

from collections.abc import Callable

from paddle import nn

from configs.errors import UserError
from configs.recipe import Recipe
from models.heads import FrameHead, TSNHead, tsm_head
from models.mobilenet_v2 import MobileNetV2
from models.multi_view_fusion import insert_multi_view_fusion
from models.recognizer2d import Recognizer2D, freeze_batch_norm
from models.resnet import resnet18, resnet34, resnet50, resnet101, tiny
from models.temporal_shift import insert_temporal_shift

__all__ = [
    "BACKBONES",
    "MODELS",
    "TEMPORAL_MODULES",
    "Recognizer2D",
    "create_model",
    "freeze_batch_norm",
    "from_recipe",
]

# name -> function without arguments that returns the backbone
BACKBONES: dict[str, Callable[[], nn.Layer]] = {
    "r18": resnet18,
    "r34": resnet34,
    "r50": resnet50,
    "r101": resnet101,
    "mobilenet_v2": MobileNetV2,
    "tiny": tiny,
}

# name -> function that wraps layers of a backbone in place
TEMPORAL_MODULES: dict[str, Callable[..., None]] = {
    "shift": insert_temporal_shift,
    "fusion": insert_multi_view_fusion,
}

# name -> (backbone, temporal module or None, head)
MODELS: dict[str, tuple[str, str | None, Callable[..., nn.Layer]]] = {
    "tsn_r18": ("r18", None, TSNHead),
    "tsn_r34": ("r34", None, TSNHead),
    "tsn_r50": ("r50", None, TSNHead),
    "tsn_r101": ("r101", None, TSNHead),
    "tsn_mobilenet_v2": ("mobilenet_v2", None, TSNHead),
    "tsn_tiny": ("tiny", None, TSNHead),
    "tsm_r18": ("r18", "shift", tsm_head),
    "tsm_r34": ("r34", "shift", tsm_head),
    "tsm_r50": ("r50", "shift", tsm_head),
    "tsm_r101": ("r101", "shift", tsm_head),
    "tsm_mobilenet_v2": ("mobilenet_v2", "shift", tsm_head),
    "tsm_tiny": ("tiny", "shift", tsm_head),
    "mvf_r18": ("r18", "fusion", FrameHead),
    "mvf_r34": ("r34", "fusion", FrameHead),
    "mvf_r50": ("r50", "fusion", FrameHead),
    "mvf_r101": ("r101", "fusion", FrameHead),
    "mvf_mobilenet_v2": ("mobilenet_v2", "fusion", FrameHead),
    "mvf_tiny": ("tiny", "fusion", FrameHead),
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
    mvf_arrangement: str = "banded",
    partial_bn: bool = False,
) -> Recognizer2D:
    """Builds a recognizer with random weights.

    Args:
        name: A key of MODELS: <tsn|tsm|mvf>_<r18|r34|r50|r101|mobilenet_v2|tiny>.
        num_classes: Classes K.
        num_frames: Frames T of a view. The network takes any other number too, T is read from its input.
        dropout: Dropout before the classifier.
        shift_div, shift_place, shift_direction, temporal_pool: See `temporal_shift.insert_temporal_shift`.
        mvf_mode, mvf_alpha, mvf_share, mvf_use_hs, mvf_stages, mvf_arrangement: See
            `multi_view_fusion.insert_multi_view_fusion`. The arrangement changes the speed, not the numbers.
        partial_bn: Freeze every BatchNorm but the first.

    Raises:
        UserError: The name is unknown, or an option is out of its range.
    """
    if name not in MODELS:
        raise UserError(f"model must be one of {', '.join(MODELS)}, got {name!r}")
    if num_classes < 1:
        raise UserError(f"num_classes must be at least 1, got {num_classes}")
    if num_frames < 1:
        raise UserError(f"num_frames must be at least 1, got {num_frames}")
    if not 0 <= dropout < 1:
        raise UserError(f"dropout must be at least 0 and below 1, got {dropout}")
    backbone_name, module_name, head = MODELS[name]
    if temporal_pool and module_name != "shift":
        raise UserError(f"temporal_pool must be off for {name}: it belongs to the tsm models")
    options: dict[str, dict] = {
        "shift": {
            "shift_div": shift_div,
            "place": shift_place,
            "direction": shift_direction,
            "temporal_pool": temporal_pool,
        },
        "fusion": {
            "mode": mvf_mode,
            "alpha": mvf_alpha,
            "share": mvf_share,
            "use_hs": mvf_use_hs,
            "stages": mvf_stages,
            "arrangement": mvf_arrangement,
        },
    }
    backbone = BACKBONES[backbone_name]()
    if module_name:
        TEMPORAL_MODULES[module_name](backbone, num_frames, **options[module_name])
    cls_head = head(backbone.out_channels, num_classes, dropout)
    return Recognizer2D(backbone, cls_head, frame_divisor=2 if temporal_pool else 1, partial_bn=partial_bn)


def from_recipe(recipe: Recipe, num_classes: int | None = None) -> Recognizer2D:
    """Builds the recognizer of a recipe.

    Args:
        recipe: Read for its model fields and its number of frames.
        num_classes: Classes of the dataset, for a recipe that leaves them open with 0.

    Raises:
        UserError: Neither names the classes, or the recipe's options do not fit its model.
    """
    classes = num_classes or recipe.num_classes
    if not classes:
        raise UserError("num_classes is 0 in the recipe; set it there or pass the dataset's number to from_recipe")
    return create_model(
        recipe.model,
        num_classes=classes,
        num_frames=recipe.num_frames,
        dropout=recipe.dropout,
        shift_div=recipe.shift_div,
        shift_place=recipe.shift_place,
        shift_direction=recipe.shift_direction,
        temporal_pool=recipe.temporal_pool,
        mvf_mode=recipe.mvf_mode,
        mvf_alpha=recipe.mvf_alpha,
        mvf_share=recipe.mvf_share,
        mvf_use_hs=recipe.mvf_use_hs,
        mvf_stages=recipe.mvf_stages,
        partial_bn=recipe.partial_bn,
    )
