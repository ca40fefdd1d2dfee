"""The recipe of a run: four groups of options, checked when they are made, written and read as JSON.

The defaults are PaddleMVF's published UCF101 recipe (MVFNet's K400 checkpoint fine-tuned for 50 epochs).
`cli.py` derives one flag from each option. Names of flags and of JSON keys are flat: no two groups share one.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.networks import FAMILIES, MVF, Network, families_with, family_of
from configs.options import Options, RecipeError, fields_of, option
from runtime.records import read_record

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
VERSION = 2  # of recipe.json; version 1 had no number, no groups, and the options of all families


@dataclass(frozen=True)
class Clip(Options):
    """The frames of a clip, the input of a network: T = num_segments * frames_per_segment."""

    split: int = option(1, "split of the dataset's annotation files: 1, 2 or 3")
    num_segments: int = option(
        1, "segments of the video, each of which gives clip_len frames", at_least=1, at_most=4096
    )
    frames_per_segment: int = option(16, "frames of one segment", flag="clip_len", at_least=1, at_most=4096)
    frame_interval: int = option(4, "step between the frames of a segment", at_least=1, at_most=100_000)
    sampling: str = option(
        "mmaction0",
        "rule that places the frames",
        choices=("mmaction0", "mmaction1", "mit", "paddlevideo", "dense", "uniform", "pyslowfast", "efficient3d"),
    )
    fps: float = option(
        0.0, "pyslowfast: frames a second that frame_interval is meant for; 0 counts frames as they come", at_least=0
    )
    out_of_bound: str = option(
        "loop", "frames past the end: start again or repeat the last", choices=("loop", "repeat_last")
    )
    test_segments: int = option(0, "num_segments while testing; 0 keeps the training value", at_least=0, at_most=4096)
    test_clips: int = option(10, "temporal views while testing", at_least=1, at_most=1000)
    average_views: str = option(
        "probabilities",
        "averaged over views: each one's softmax, or scores before it",
        choices=("probabilities", "scores"),
    )

    def check(self) -> None:
        """Raises RecipeError for a split that no data set has."""
        self.require("split", self.split in (1, 2, 3), "1, 2 or 3")

    @property
    def num_frames(self) -> int:
        """Frames T that one view holds and a temporal module sees."""
        return self.num_segments * self.frames_per_segment

    @property
    def test_num_segments(self) -> int:
        """Segments of one view while testing."""
        return self.test_segments or self.num_segments

    @property
    def test_num_frames(self) -> int:
        """Frames T that one view holds while testing."""
        return self.test_num_segments * self.frames_per_segment


@dataclass(frozen=True)
class Pixels(Options):
    """What happens to the pixels of a frame."""

    short_side: int = option(256, "short side after the first resize, pixels", at_least=1, at_most=8192)
    resize_shape: tuple[int, ...] = option(
        (), "height and width of the first resize, whatever the frames' own ratio; without it short_side decides"
    )
    fused_resize: bool = option(False, "crop from the source and resize once: faster, not bit-equal")
    train_crop: str = option(
        "random_resized", "crop while training", choices=("random_resized", "multi_scale", "center")
    )
    crop_area: tuple[float, ...] = option((0.08, 1.0), "random_resized: least and largest share of the frame's area")
    crop_size: int = option(224, "side of the training and validation crop, pixels", at_least=1)
    crop_scales: tuple[float, ...] = option((1.0, 0.875, 0.75, 0.66), "multi_scale: sides relative to the short side")
    crop_max_gap: int = option(1, "multi_scale: largest distance between the scales of width and height", at_least=0)
    crop_points: int = option(13, "multi_scale: 5 or 13 places of the crop")
    flip: float = option(0.5, "probability of a horizontal flip", at_least=0, at_most=1)
    flip_pairs: tuple[tuple[int, int], ...] = option((), "labels that a flip exchanges, as 0-1,6-7")
    rotate: float = option(0.0, "pictures: largest turn while training, degrees", at_least=0, at_most=180)
    padding: str = option(
        "replicate",
        "pictures: what fills the square around them, the pixels of their border or black",
        choices=("replicate", "zero"),
    )
    color_jitter: float = option(0.0, "brightness, contrast, saturation range; hue gets a fifth of it", at_least=0)
    test_crops: str = option("three", "spatial views while testing", choices=("center", "three", "ten"))
    test_size: int = option(256, "side of the test crop, pixels", at_least=1)
    mean: tuple[float, ...] = option(IMAGENET_MEAN, "mean of R, G, B in 0..255", of_weights=True)
    std: tuple[float, ...] = option(IMAGENET_STD, "standard deviation of R, G, B in 0..255", of_weights=True)

    def check(self) -> None:
        """Raises RecipeError for crops larger than the image, and for tuples of another form."""
        self.require("crop_points", self.crop_points in (5, 13), "5 or 13")
        for name in ("mean", "std"):
            self.require(name, len(getattr(self, name)) == 3, "three numbers: R, G, B")
        self.require("std", min(self.std) > 0, "above 0")
        fits = not self.resize_shape or (len(self.resize_shape) == 2 and 1 <= min(self.resize_shape) <= 8192)
        self.require("resize_shape", fits, "height and width, as 128,171")
        limit = min(self.resize_shape or (self.short_side,))
        words = f"resize_shape {self.resize_shape}" if self.resize_shape else f"short_side ({self.short_side})"
        for name in ("crop_size", "test_size"):
            self.require(name, getattr(self, name) <= limit, f"{words} at most")
        fractions = all(0 < scale <= 1 for scale in self.crop_scales or (0,))
        in_order = len(self.crop_area) == 2 and 0 < self.crop_area[0] <= self.crop_area[1] <= 1
        self.require("crop_area", in_order, "two fractions above 0, the smaller one first, as 0.08,1")
        self.require("crop_scales", fractions, "fractions above 0, 1 at most")
        self.require("flip_pairs", _are_pairs(self.flip_pairs), "pairs of labels, each label once")


@dataclass(frozen=True)
class Training(Options):
    """The optimization of a network."""

    max_epochs: int = option(50, "epochs", at_least=1)
    batch_size: int = option(16, "clips in a batch", at_least=1)
    accumulate: int = option(1, "batches whose gradients are summed into one step", at_least=1)
    lr: float = option(0.00125, "learning rate at base_batch_size", above=0)
    base_batch_size: int = option(16, "batch that lr belongs to", at_least=1)
    scale_lr: bool = option(True, "scale lr by batch_size * accumulate / base_batch_size")
    momentum: float = option(0.9, "SGD momentum", at_least=0, below=1)
    nesterov: bool = option(True, "Nesterov momentum")
    weight_decay: float = option(5e-4, "L2 decay", at_least=0)
    decay_norm_bias: bool = option(True, "decay norms and biases too")
    lr_groups: str = option(
        "uniform", "one rate, or TSM's: last layer 5x, its bias 10x, other biases 2x", choices=("uniform", "tsm")
    )
    frozen: str = option(
        "none",
        "what keeps its weights and computes as in testing: nothing, or all but the classifier",
        choices=("none", "backbone"),
    )
    clip_norm: float = option(40.0, "largest global gradient norm; 0 switches clipping off", at_least=0)
    schedule: str = option("cosine", "learning rate over epochs", choices=("cosine", "step"))
    milestones: tuple[int, ...] = option((), "step: epochs at which lr is multiplied by gamma")
    gamma: float = option(0.1, "step: factor at a milestone", at_least=0, at_most=1)
    warmup_epochs: float = option(5.0, "epochs of linear warm-up", at_least=0)
    warmup_ratio: float = option(0.0, "fraction of the rate that warm-up starts from", at_least=0, at_most=1)
    label_smoothing: float = option(0.1, "label smoothing", at_least=0, below=1)
    dice_weight: float = option(0.0, "segmentation: weight of the Dice loss beside cross entropy", at_least=0)
    boundary_weight: float = option(0.0, "segmentation: weight of the boundary loss beside cross entropy", at_least=0)
    mixup_alpha: float = option(0.0, "Beta parameter of mixup; 0 switches it off", at_least=0)
    precise_bn_epochs: int = option(5, "recompute BatchNorm statistics every so many epochs; 0 never", at_least=0)
    precise_bn_batches: int = option(200, "batches for that, at most", at_least=1)
    sync_bn: bool = option(False, "several processes: statistics of BatchNorm over the samples of all of them")
    amp: str = option("none", "automatic mixed precision", choices=("none", "float16", "bfloat16"))
    ema_decay: float = option(
        0.0, "moving average of the weights, which is evaluated and kept as the best: what stays of it at each step, "
        "such as 0.999; 0: none", at_least=0, below=1,
    )  # fmt: skip
    best_metric: str = option("mean_acc", "metric that decides which checkpoint is best")
    patience: int = option(0, "epochs without a better one after which the run ends; 0: it never does", at_least=0)
    max_bad_samples: float = option(
        0.01, "fraction of the training samples that may fail to decode before the run stops", at_least=0, at_most=1
    )
    seed: int = option(1234, "seed of everything random", at_least=0)

    def check(self) -> None:
        """Raises RecipeError for a schedule that does not fit itself."""
        self.require("milestones", list(self.milestones) == sorted(set(self.milestones)), "rising epochs")
        self.require("nesterov", not self.nesterov or self.momentum > 0, "off when momentum is 0")
        fits = self.schedule != "cosine" or self.warmup_epochs < self.max_epochs
        self.require("warmup_epochs", fits, f"below max_epochs ({self.max_epochs})")

    @property
    def scaled_lr(self) -> float:
        """The learning rate of this run's own batch (Goyal et al., 2017, linear scaling)."""
        if not self.scale_lr:
            return self.lr
        return self.lr * self.batch_size * self.accumulate / self.base_batch_size


@dataclass(frozen=True)
class Recipe:
    """Every number that decides what a run computes. Where a run reads and writes is not part of it."""

    network: Network = field(default_factory=MVF)
    clip: Clip = field(default_factory=Clip)
    pixels: Pixels = field(default_factory=Pixels)
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        classes = self.network.num_classes
        if classes and any(label >= classes for pair in self.pixels.flip_pairs for label in pair):
            raise RecipeError(f"flip_pairs must be below num_classes ({classes}), got {self.pixels.flip_pairs}")
        for num_frames in (self.clip.num_frames, self.clip.test_num_frames):
            self.network.check_frames(num_frames)
        for name in ("crop_size", "test_size"):
            self.network.check_size(name, getattr(self.pixels, name))

    @classmethod
    def of(cls, **options: Any) -> Recipe:
        """The default recipe with some options changed, see `with_`."""
        return cls().with_(**options)

    def with_(self, **changes: Any) -> Recipe:
        """A copy with some options changed, by the names of their flags.

        Another `model` of another family brings that family's options; those that both have keep their values.

        Raises:
            RecipeError: A name is no option, or one of another family; or a value is out of its range.
        """
        model = changes.get("model", self.network.model)
        _check_known(changes, "the call")
        _check_family(changes, model)
        groups = {name: _changed(getattr(self, name), changes) for name in _GROUPS if name != "network"}
        return Recipe(network=_changed_network(self.network, model, changes), **groups)

    def options(self) -> dict[str, Any]:
        """Flag name -> value of all groups."""
        return {name: value for group in self._groups().values() for name, value in group.items()}

    def to_json(self) -> str:
        """The recipe as indented JSON: its version, then the groups, fields in the order of the classes."""
        return json.dumps({"version": VERSION, **self._groups()}, indent=2) + "\n"

    @classmethod
    def from_json(cls, path: str | Path) -> Recipe:
        """Reads a `recipe.json` of any version; every option that is absent keeps its default.

        Raises:
            RecipeError: The file is not JSON, names an unknown option, or holds a value out of its range.
        """
        values = read_record(path, dict[str, Any], RecipeError)
        version = values.pop("version", 1)
        if version not in (1, VERSION):
            raise RecipeError(f"{path} has version {version!r}, this program reads 1 to {VERSION}: update it")
        if version == VERSION:
            values = _flattened(values, str(path))
        _check_known(values, str(path))
        family = family_of(values.get("model", cls().network.model))
        if version == 1:
            values = {name: value for name, value in values.items() if family.may_have(name)}
        return cls.of(**values)

    def _groups(self) -> dict[str, dict[str, Any]]:
        groups = {name: getattr(self, name) for name in _GROUPS}
        return {
            name: {flag: getattr(group, f.name) for flag, f in fields_of(type(group)).items()}
            for name, group in groups.items()
        }


_GROUPS = ("network", "clip", "pixels", "training")


def network_options() -> dict[str, dataclasses.Field[Any]]:
    """Flag name -> field, of every network and then of each family."""
    families = {flag: f for family in FAMILIES.values() for flag, f in fields_of(family.options).items()}
    return {**fields_of(Network), **families}


def known_options() -> dict[str, dataclasses.Field[Any]]:
    """Flag name -> field, of all groups and of all families of networks."""
    return {**network_options(), **fields_of(Clip), **fields_of(Pixels), **fields_of(Training)}


def _changed_network(network: Network, model: str, changes: Mapping[str, Any]) -> Network:
    """The options of the family that has the model: those that change, and those that both families have."""
    options = family_of(model).options
    kept = fields_of(type(network))
    values = {f.name: getattr(network, f.name) for flag, f in fields_of(options).items() if flag in kept}
    return options(**values | _own(options, changes))


def _changed(group: Any, changes: Mapping[str, Any]) -> Any:
    own = _own(type(group), changes)
    return dataclasses.replace(group, **own) if own else group


def _own(group: type[Options], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Field -> value of the changes that concern a group."""
    return {f.name: changes[flag] for flag, f in fields_of(group).items() if flag in changes}


def _check_known(names: Collection[str], place: str) -> None:
    known = known_options()
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise RecipeError(f"{place} names {', '.join(unknown)}, which no recipe has; known: {', '.join(known)}")


def _check_family(names: Collection[str], model: str) -> None:
    """Raises RecipeError for an option that only other families have."""
    for name in names:
        if not family_of(model).may_have(name):
            owners = " and ".join(family.name for family in families_with(name))
            raise RecipeError(f"--{name} belongs to {owners} models, and the model is {model}: add --model")


def _flattened(values: dict[str, Any], place: str) -> dict[str, Any]:
    """The options of a recipe of version 2, flag name -> value."""
    flat: dict[str, Any] = {}
    for name, group in values.items():
        if name not in _GROUPS or not isinstance(group, dict):
            raise RecipeError(f"{place} names {name}, which no recipe has; known: {', '.join(_GROUPS)}")
        flat |= group
    return flat


def _are_pairs(pairs: tuple[Any, ...]) -> bool:
    labels = [label for pair in pairs for label in (pair if isinstance(pair, tuple) and len(pair) == 2 else (None,))]
    return all(type(label) is int and label >= 0 for label in labels) and len(set(labels)) == len(labels)
