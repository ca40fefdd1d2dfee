"""The recipe of a run: one frozen dataclass, validated when it is made, written and read as JSON.

The defaults are PaddleMVF's published UCF101 recipe (MVFNet's K400 checkpoint fine-tuned for 50 epochs).
`cli.py` derives one flag from each field, so a field's `help` is also the flag's.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from runtime.errors import UserError

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


class RecipeError(UserError):
    """A recipe holds a value that no run could use; the message names the field, the value and the way out."""


def _field(default: Any, help: str, choices: tuple[str, ...] | None = None) -> Any:
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True)
class Recipe:
    """Every number that decides what a run computes. Where a run reads and writes is not part of it."""

    # Model
    model: str = _field("mvf_r50", "model name: <tsn|tsm|mvf>_<r18|r34|r50|r101|mobilenet_v2|tiny>")
    num_classes: int = _field(0, "classes of the head; 0 takes the number from the dataset")
    dropout: float = _field(0.5, "dropout before the classifier")
    shift_div: int = _field(8, "TSM: one part in shift_div of the channels moves each way")
    shift_place: str = _field(
        "blockres", "TSM: shift inside the residual branch or before the block", ("blockres", "block")
    )
    shift_direction: str = _field(
        "mit",
        "TSM: first fold takes the next frame (mit), the previous (paddle), or past only (online)",
        ("mit", "paddle", "online"),
    )
    temporal_pool: bool = _field(False, "TSM: halve the frames before the second stage")
    mvf_mode: str = _field("THW", "MVF: the views that are fused", ("THW", "TH", "T"))
    mvf_alpha: float = _field(0.125, "MVF: part of the channels that is fused")
    mvf_share: bool = _field(False, "MVF: one kernel for all views")
    mvf_use_hs: bool = _field(True, "MVF: BatchNorm and hard-swish after the sum of views")
    mvf_stages: tuple[int, ...] = _field((0, 0, 1, 1), "MVF: 1 for each of the four stages that gets it")
    partial_bn: bool = _field(False, "freeze every BatchNorm but the first")
    norm_eps: float = _field(1e-5, "epsilon of every BatchNorm; TensorFlow's MobileNetV2 has 1e-3")
    same_padding: bool = _field(False, "MobileNetV2: pad strided convolutions as TensorFlow does")
    consensus: str = _field(
        "family",
        "averaged over frames: features before the classifier, scores behind it, or as the model's family does",
        ("family", "features", "scores"),
    )

    # Frames of one view: num_segments * clip_len
    split: int = _field(1, "split of the dataset's annotation files", None)
    num_segments: int = _field(1, "clips that one view is made of, one from each segment of the video")
    clip_len: int = _field(16, "consecutive frames of a clip")
    frame_interval: int = _field(4, "step between the frames of a clip")
    sampling: str = _field(
        "mmaction0", "rule that places the clips", ("mmaction0", "mmaction1", "mit", "paddlevideo", "dense", "uniform")
    )
    out_of_bound: str = _field("loop", "frames past the end: start again or repeat the last", ("loop", "repeat_last"))
    test_segments: int = _field(0, "num_segments while testing; 0 keeps the training value")
    test_clips: int = _field(10, "temporal views while testing")
    average_views: str = _field(
        "probabilities", "averaged over views: each one's softmax, or scores before it", ("probabilities", "scores")
    )

    # Pixels
    short_side: int = _field(256, "short side after the first resize, pixels")
    fused_resize: bool = _field(False, "crop from the source and resize once: faster, not bit-equal")
    train_crop: str = _field("random_resized", "crop while training", ("random_resized", "multi_scale", "center"))
    crop_size: int = _field(224, "side of the training and validation crop, pixels")
    crop_scales: tuple[float, ...] = _field((1.0, 0.875, 0.75, 0.66), "multi_scale: sides relative to the short side")
    crop_max_gap: int = _field(1, "multi_scale: largest distance between the scales of width and height")
    crop_points: int = _field(13, "multi_scale: 5 or 13 places of the crop")
    flip: float = _field(0.5, "probability of a horizontal flip")
    flip_pairs: tuple[tuple[int, int], ...] = _field((), "labels that a flip exchanges, as 0-1,6-7")
    color_jitter: float = _field(0.0, "brightness, contrast, saturation range; hue gets a fifth of it")
    test_crops: str = _field("three", "spatial views while testing", ("center", "three", "ten"))
    test_size: int = _field(256, "side of the test crop, pixels")
    mean: tuple[float, ...] = _field(IMAGENET_MEAN, "mean of R, G, B in 0..255")
    std: tuple[float, ...] = _field(IMAGENET_STD, "standard deviation of R, G, B in 0..255")

    # Optimization
    max_epochs: int = _field(50, "epochs")
    batch_size: int = _field(16, "clips in a batch")
    accumulate: int = _field(1, "batches whose gradients are summed into one step")
    lr: float = _field(0.00125, "learning rate at base_batch_size")
    base_batch_size: int = _field(16, "batch that lr belongs to")
    scale_lr: bool = _field(True, "scale lr by batch_size * accumulate / base_batch_size")
    momentum: float = _field(0.9, "SGD momentum")
    nesterov: bool = _field(True, "Nesterov momentum")
    weight_decay: float = _field(5e-4, "L2 decay")
    decay_norm_bias: bool = _field(True, "decay norms and biases too")
    lr_groups: str = _field(
        "uniform", "one rate, or TSM's: last layer 5x, its bias 10x, other biases 2x", ("uniform", "tsm")
    )
    clip_norm: float = _field(40.0, "largest global gradient norm; 0 switches clipping off")
    schedule: str = _field("cosine", "learning rate over epochs", ("cosine", "step"))
    milestones: tuple[int, ...] = _field((), "step: epochs at which lr is multiplied by gamma")
    gamma: float = _field(0.1, "step: factor at a milestone")
    warmup_epochs: float = _field(5.0, "epochs of linear warm-up")
    warmup_ratio: float = _field(0.0, "part of the rate that warm-up starts from")
    label_smoothing: float = _field(0.1, "label smoothing")
    mixup_alpha: float = _field(0.0, "Beta parameter of mixup; 0 switches it off")
    precise_bn_epochs: int = _field(5, "recompute BatchNorm statistics every so many epochs; 0 never")
    precise_bn_batches: int = _field(200, "batches for that, at most")
    amp: str = _field("none", "automatic mixed precision", ("none", "float16", "bfloat16"))
    best_metric: str = _field("mean_acc", "metric that decides which checkpoint is best", ("top1_acc", "mean_acc"))
    max_bad_samples: float = _field(0.01, "part of the training samples that may fail to decode before the run stops")
    seed: int = _field(1234, "seed of everything random")

    def __post_init__(self) -> None:
        for name, value in ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self)):
            if isinstance(value, list):
                object.__setattr__(self, name, _tuples(value))
        self._check_types_and_choices()
        self._check_ranges()

    def _check_types_and_choices(self) -> None:
        for f in dataclasses.fields(self):
            value, kind = getattr(self, f.name), type(f.default)
            if kind is float and type(value) is int:
                object.__setattr__(self, f.name, float(value))
            elif type(value) is not kind:
                raise RecipeError(f"{f.name} must be {kind.__name__}, got {value!r}")
            choices = f.metadata["choices"]
            if choices and value not in choices:
                raise RecipeError(f"{f.name} must be one of {', '.join(choices)}, got {value!r}")
            if kind is float and not math.isfinite(value):
                raise RecipeError(f"{f.name} must be a finite number, got {value}")
            if kind is tuple and f.name != "flip_pairs":
                object.__setattr__(self, f.name, _checked_numbers(f.name, value, cast("tuple[Any, ...]", f.default)))

    def _check_ranges(self) -> None:
        at_least_one = (
            "shift_div", "num_segments", "clip_len", "frame_interval", "test_clips", "short_side", "crop_size",
            "test_size", "max_epochs", "batch_size", "accumulate", "base_batch_size", "precise_bn_batches",
        )  # fmt: skip
        for name in at_least_one:
            self._require(name, getattr(self, name) >= 1, "at least 1")
        not_negative = (
            "num_classes", "test_segments", "crop_max_gap", "color_jitter", "weight_decay", "clip_norm",
            "warmup_epochs", "mixup_alpha", "precise_bn_epochs", "seed",
        )  # fmt: skip
        for name in not_negative:
            self._require(name, getattr(self, name) >= 0, "0 or more")
        for name in ("dropout", "momentum", "label_smoothing"):
            self._require(name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        for name in ("mvf_alpha", "flip", "warmup_ratio", "gamma", "max_bad_samples"):
            self._require(name, 0 <= getattr(self, name) <= 1, "between 0 and 1")
        self._require("split", self.split in (1, 2, 3), "1, 2 or 3")
        for name in ("lr", "norm_eps"):
            self._require(name, getattr(self, name) > 0, "above 0")
        self._require("crop_points", self.crop_points in (5, 13), "5 or 13")
        stages_are_bits = len(self.mvf_stages) == 4 and set(self.mvf_stages) <= {0, 1}
        self._require("mvf_stages", stages_are_bits, "four of 0 or 1")
        for name in ("mean", "std"):
            self._require(name, len(getattr(self, name)) == 3, "three numbers: R, G, B")
        self._require("std", min(self.std) > 0, "above 0")
        self._require("crop_size", self.crop_size <= self.short_side, f"short_side ({self.short_side}) at most")
        self._require("test_size", self.test_size <= self.short_side, f"short_side ({self.short_side}) at most")
        self._require("milestones", list(self.milestones) == sorted(set(self.milestones)), "rising epochs")
        self._require("crop_scales", all(0 < s <= 1 for s in self.crop_scales or (0,)), "shares above 0, 1 at most")
        self._require("flip_pairs", _are_pairs(self.flip_pairs), "pairs of labels, each label once")
        if self.num_classes:
            in_range = all(label < self.num_classes for pair in self.flip_pairs for label in pair)
            self._require("flip_pairs", in_range, f"below num_classes ({self.num_classes})")
        halves = self.num_frames % 2 == 0 == self.test_num_frames % 2
        self._require("temporal_pool", halves or not self.temporal_pool, "off for an odd number of frames")
        self._require("nesterov", not self.nesterov or self.momentum > 0, "off when momentum is 0")
        if self.schedule == "cosine":
            self._require(
                "warmup_epochs", self.warmup_epochs < self.max_epochs, f"below max_epochs ({self.max_epochs})"
            )

    def _require(self, name: str, holds: bool, rule: str) -> None:
        if not holds:
            raise RecipeError(f"{name} must be {rule}, got {getattr(self, name)}")

    @property
    def num_frames(self) -> int:
        """Frames T that one view holds and a temporal module sees."""
        return self.num_segments * self.clip_len

    @property
    def test_num_segments(self) -> int:
        """Segments of one view while testing."""
        return self.test_segments or self.num_segments

    @property
    def test_num_frames(self) -> int:
        """Frames T that one view holds while testing."""
        return self.test_num_segments * self.clip_len

    @property
    def scaled_lr(self) -> float:
        """The learning rate of this run's own batch (Goyal et al., 2017, linear scaling)."""
        if not self.scale_lr:
            return self.lr
        return self.lr * self.batch_size * self.accumulate / self.base_batch_size

    def with_(self, **changes: Any) -> Recipe:
        """A copy with some fields changed.

        Raises:
            RecipeError: A name is not a field, or a value is out of its range.
        """
        _check_names(changes, "the call")
        return dataclasses.replace(self, **changes)

    def to_json(self) -> str:
        """The recipe as indented JSON, fields in the order of the class."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, path: str | Path) -> Recipe:
        """Reads a `recipe.json`; every field that is absent keeps its default.

        Raises:
            RecipeError: The file is not JSON, names an unknown field, or holds a value out of its range.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise RecipeError(f"cannot read the recipe {path}: {error}") from error
        if not isinstance(values, dict):
            raise RecipeError(f"the recipe {path} must be a JSON object, got {type(values).__name__}")
        _check_names(values, str(path))
        return cls(**values)


FIELDS: dict[str, dataclasses.Field] = {f.name: f for f in dataclasses.fields(Recipe)}


def _check_names(values: dict[str, Any], place: str) -> None:
    unknown = sorted(set(values) - set(FIELDS))
    if unknown:
        raise RecipeError(f"{place} names {', '.join(unknown)}, which no recipe has; known: {', '.join(FIELDS)}")


def _checked_numbers(name: str, values: tuple[Any, ...], default: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values in the type that the default's have; raises RecipeError for anything but finite numbers."""
    kind = type(default[0]) if default else int
    for value in values:
        if type(value) not in (int, kind) or not math.isfinite(value):
            raise RecipeError(f"{name} must hold finite numbers ({kind.__name__}), got {value!r}")
    return tuple(kind(value) for value in values)


def _are_pairs(pairs: tuple[Any, ...]) -> bool:
    labels = [label for pair in pairs for label in (pair if isinstance(pair, tuple) and len(pair) == 2 else (None,))]
    return all(type(label) is int and label >= 0 for label in labels) and len(set(labels)) == len(labels)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
