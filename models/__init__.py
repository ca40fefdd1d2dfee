"""Video recognizers, composed of an image backbone, a temporal module and a head.

To add a part, write its file and one line in a dict below.
"""

from __future__ import annotations

from collections.abc import Callable

from paddle import nn

from configs.recipe import Recipe
from models.heads import CONSENSUS
from models.mobilenet_v2 import MobileNetV2
from models.multi_view_fusion import insert_multi_view_fusion
from models.recognizer2d import Recognizer2D, batch_norms, freeze_batch_norm
from models.resnet import resnet18, resnet34, resnet50, resnet101, tiny
from models.temporal_shift import insert_temporal_shift
from runtime.errors import UserError

__all__ = [
    "BACKBONES",
    "MODELS",
    "TEMPORAL_MODULES",
    "Recognizer2D",
    "create_model",
    "freeze_batch_norm",
    "from_recipe",
]

# name -> function that returns the backbone
BACKBONES: dict[str, Callable[..., nn.Layer]] = {
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

# name -> (backbone, temporal module or None, what the head averages, deviation of its initial weights)
MODELS: dict[str, tuple[str, str | None, str, float]] = {
    "tsn_r18": ("r18", None, "features", 0.01),
    "tsn_r34": ("r34", None, "features", 0.01),
    "tsn_r50": ("r50", None, "features", 0.01),
    "tsn_r101": ("r101", None, "features", 0.01),
    "tsn_mobilenet_v2": ("mobilenet_v2", None, "features", 0.01),
    "tsn_tiny": ("tiny", None, "features", 0.01),
    "tsm_r18": ("r18", "shift", "scores", 0.001),
    "tsm_r34": ("r34", "shift", "scores", 0.001),
    "tsm_r50": ("r50", "shift", "scores", 0.001),
    "tsm_r101": ("r101", "shift", "scores", 0.001),
    "tsm_mobilenet_v2": ("mobilenet_v2", "shift", "scores", 0.001),
    "tsm_tiny": ("tiny", "shift", "scores", 0.001),
    "mvf_r18": ("r18", "fusion", "scores", 0.01),
    "mvf_r34": ("r34", "fusion", "scores", 0.01),
    "mvf_r50": ("r50", "fusion", "scores", 0.01),
    "mvf_r101": ("r101", "fusion", "scores", 0.01),
    "mvf_mobilenet_v2": ("mobilenet_v2", "fusion", "scores", 0.01),
    "mvf_tiny": ("tiny", "fusion", "scores", 0.01),
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
    norm_eps: float = 1e-5,
    same_padding: bool = False,
    consensus: str = "family",
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
        norm_eps: Epsilon of every BatchNorm.
        same_padding: See `mobilenet_v2.MobileNetV2`, the only backbone that has it.
        consensus: What is averaged over the frames: `features` before the classifier, with one dropout mask for all
            (mmaction2's TSN), `scores` behind it, with a mask for each (TSM, MVFNet, TSN in TSM's repository), or
            `family`: features for tsn, scores for tsm and mvf. Without dropout all are equal but for rounding.

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
    if not norm_eps > 0:
        raise UserError(f"norm_eps must be above 0, got {norm_eps}")
    if consensus not in ("family", *CONSENSUS):
        raise UserError(f"consensus must be one of family, {', '.join(CONSENSUS)}, got {consensus!r}")
    backbone_name, module_name, usual_consensus, init_std = MODELS[name]
    if temporal_pool and module_name != "shift":
        raise UserError(f"temporal_pool must be off for {name}: it belongs to the tsm models")
    if same_padding and backbone_name != "mobilenet_v2":
        raise UserError(f"same_padding must be off for {name}: it belongs to mobilenet_v2")
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
    backbone = BACKBONES[backbone_name](same_padding=True) if same_padding else BACKBONES[backbone_name]()
    if module_name:
        TEMPORAL_MODULES[module_name](backbone, num_frames, **options[module_name])
    head = CONSENSUS[usual_consensus if consensus == "family" else consensus]
    cls_head = head(backbone.out_channels, num_classes, dropout, init_std)
    model = Recognizer2D(backbone, cls_head, frame_divisor=2 if temporal_pool else 1, partial_bn=partial_bn)
    for norm in batch_norms(model):
        norm._epsilon = norm_eps
    return model


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
        norm_eps=recipe.norm_eps,
        same_padding=recipe.same_padding,
        consensus=recipe.consensus,
    )
