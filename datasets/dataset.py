"""One sample from its index: decode, sample, transform. The same index, epoch and seed give the same bits."""

from __future__ import annotations

import abc
import functools
import math
from collections.abc import Iterator

import numpy as np

from configs.limits import Limits
from configs.recipe import Recipe
from datasets.annotation import Annotation, DataError, Entry, unlabeled
from datasets.decode import open_source
from datasets.sampling import check_sampling, train_indices, view_indices
from datasets.source import FrameSource, places_of
from datasets.targets import Labels, Targets, View
from datasets.transforms import EvalTransform, TrainTransform

MODES = ("train", "val", "test")


class Dataset(abc.ABC):
    """The samples of an annotation: "train" draws, "val" and "test" do not.

    Args:
        annotation: Names the samples.
        recipe: What becomes of them.
        mode: One of MODES.
        targets: Reads what the annotation states.
        limits: What a sample may cost; None for those of a person's own files.

    Attributes:
        what: Its samples, for messages.
        axes: Of `sample_shape`, likewise, but for height and width.

    Raises:
        DataError: The mode is none of these.
    """

    what, axes = "videos", "views x frames x RGB"

    def __init__(
        self, annotation: Annotation, recipe: Recipe, mode: str, targets: Targets, limits: Limits | None = None
    ) -> None:
        if mode not in MODES:
            raise DataError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
        self.annotation = annotation
        self.recipe = recipe
        self.mode = mode
        self.targets = targets
        self.limits = limits or Limits()

    def __len__(self) -> int:
        return len(self.annotation.entries)

    @property
    @abc.abstractmethod
    def sample_shape(self) -> tuple[int, ...]:
        """(V, ...) of every sample: of clips (V, T, 3, H, W), of images (V, 3, H, W)."""

    def load(self, index: int, epoch: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """One sample.

        Returns:
            Views, float32 of `sample_shape`, and the target. In training both depend on (seed, epoch, index).

        Raises:
            DataError: The sample or its target cannot be read.
        """
        out = np.empty(self.sample_shape, np.float32)
        return out, self.load_into(out, index, epoch)

    def load_into(self, out: np.ndarray, index: int, epoch: int = 0) -> np.ndarray:
        """As `load`, with the views written into `out`; returns the target."""
        view = self.seen(out, index, epoch)
        return self.targets.load(self.annotation.entries[index].target, view, self.recipe.pixels)

    def seen(self, out: np.ndarray, index: int, epoch: int = 0) -> View:
        """Writes the views of one sample into `out`, as `load_into`, and tells where their pixels come from."""
        entry = self.annotation.entries[index]
        if self.mode == "train":
            return self._load_random(out, entry, np.random.default_rng([self.recipe.training.seed, epoch, index]))
        return self._load_views(out, entry)

    def views(self, index: int) -> np.ndarray:
        """The views of one sample of validation or test alone, float32 of `sample_shape`; it needs no target."""
        out = np.empty(self.sample_shape, np.float32)
        self._load_views(out, self.annotation.entries[index])
        return out

    @abc.abstractmethod
    def _load_random(self, out: np.ndarray, entry: Entry, rng: np.random.Generator) -> View:
        """Writes the one view that chance decides in training."""

    @abc.abstractmethod
    def _load_views(self, out: np.ndarray, entry: Entry) -> View:
        """Writes the views of validation or test."""


class VideoDataset(Dataset):
    """Videos.

    - "train": one random view of crop_size.
    - "val": one temporal view, center crop of crop_size.
    - "test": test_clips temporal views times test_crops of test_size, crop-major: all clips of the first crop first.

    Without `targets` the annotation states class labels.

    Raises:
        RecipeError: The recipe's sampling cannot place its clips.
    """

    def __init__(
        self,
        annotation: Annotation,
        recipe: Recipe,
        mode: str,
        targets: Targets | None = None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(annotation, recipe, mode, targets or Labels(), limits)
        check_sampling(recipe)
        self._train = TrainTransform(recipe)
        self._eval = EvalTransform(recipe, mode)
        megabytes = 4 * math.prod(self.sample_shape) // 2**20
        if megabytes > self.limits.max_read_megabytes:
            shape = "x".join(map(str, self.sample_shape))
            raise DataError(
                f"a sample of the recipe, {shape}, takes {megabytes} MB, more than --max_read_megabytes "
                f"{self.limits.max_read_megabytes}: take fewer frames or views"
            )

    @property
    def num_frames(self) -> int:
        """Frames T of one view."""
        return self.recipe.clip.test_num_frames if self.mode == "test" else self.recipe.clip.num_frames

    @property
    def num_clips(self) -> int:
        """Temporal views of one sample."""
        return self.recipe.clip.test_clips if self.mode == "test" else 1

    @property
    def sample_shape(self) -> tuple[int, int, int, int, int]:
        """(V, T, 3, H, W) of every sample."""
        if self.mode == "train":
            return 1, self.num_frames, 3, self.recipe.pixels.crop_size, self.recipe.pixels.crop_size
        return self.num_clips * self._eval.num_crops, self.num_frames, 3, self._eval.size, self._eval.size

    def _load_random(self, out: np.ndarray, entry: Entry, rng: np.random.Generator) -> View:
        with open_source(entry.path, entry.num_frames, self.limits) as source:
            indices = train_indices(source.num_frames, self.recipe, rng, source.fps)
            draw = None
            for frame, target in _each_frame(source, indices, out):
                draw = draw or self._train.draw(frame.shape[1], frame.shape[2], rng)
                self._train.apply(frame, draw, target[0])
        assert draw is not None  # there is a frame
        size = (frame.shape[1], frame.shape[2])
        return View(indices[None], draw.flip, functools.partial(self._train.warp, draw=draw), size)

    def _load_views(self, out: np.ndarray, entry: Entry) -> View:
        with open_source(entry.path, entry.num_frames, self.limits) as source:
            indices = view_indices(source.num_frames, self.recipe, self.mode, source.fps)
            crops = out.reshape(self._eval.num_crops, indices.size, *out.shape[2:])  # [crops, clips*T, 3, H, W]
            for frame, target in _each_frame(source, indices, crops):
                self._eval.apply(frame, target)
        return View(indices, False, self._eval.warp, (frame.shape[1], frame.shape[2]))


def _each_frame(source: FrameSource, indices: np.ndarray, out: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames one by one, so that a video need not fit into memory, and where each belongs.

    Args:
        source: Has them.
        indices: Which, in their order; clips may overlap.
        out: [crops, indices, 3, H, W].

    Yields:
        A frame, uint8 [1, H, W, 3], and its part of `out`; what is written there goes wherever its index stands.
    """
    places = places_of(indices)
    for index, frame in source.frames(indices):
        first, *others = places[index]
        yield frame[None], out[:, first : first + 1]
        for place in others:
            out[:, place] = out[:, first]


def load_views(path: str, recipe: Recipe, mode: str = "test", limits: Limits | None = None) -> np.ndarray:
    """The views of one video file or folder of frames, float32 [V, T, 3, H, W], as `VideoDataset` makes them.

    Args:
        path: The video file, or the folder of frames.
        recipe: Says which frames, crops and normalization.
        mode: "test" for all views of the recipe, "val" for one center view.
        limits: What the video may cost; None takes those of a person's own files.

    Raises:
        DataError: The video cannot be decoded.
        RecipeError: The recipe's sampling cannot place its clips.
    """
    dataset = VideoDataset(unlabeled([path]), recipe, mode, limits=limits)
    return dataset.views(0)
