"""The interface of a task."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from configs import Recipe, RecipeError
from configs.limits import Limits
from datasets import Annotation, Dataset, Targets, VideoDataset, find_videos, unlabeled
from datasets.demo import MOTIONS, draw_video, encode_video, write_demo_dataset
from tasks.report_page import Beside

if TYPE_CHECKING:
    import paddle

Run = Callable[[np.ndarray], np.ndarray]


class Meter(ABC):
    """Collects what a network gives for a data set, batch by batch."""

    @abstractmethod
    def update(self, scores: np.ndarray, targets: np.ndarray) -> None:
        """Takes the scores of a batch, as `Task.scores` gives them, and its targets [N, ...]."""

    @abstractmethod
    def add(self, other: Any) -> None:
        """Takes in what another meter has seen, after what this one has; it may come from another process."""

    @abstractmethod
    def summary(self) -> dict[str, float]:
        """The metrics of all batches, by the names in `Task.metrics`."""

    def pictures(self, class_names: Sequence[str]) -> dict[str, bytes]:
        """What shows an evaluation besides figures: names and PNG files. There need be none."""
        return {}

    @abstractmethod
    def write(
        self, directory: Path, class_names: Sequence[str], facts: dict[str, Any], dataset: Dataset, beside: Beside
    ) -> list[str]:
        """Writes the report of a test.

        Args:
            directory: Made when absent.
            class_names: Names of the classes.
            facts: What else the report says of the test.
            dataset: What was tested on, in the order of the updates.
            beside: What its page shows beside.

        Returns:
            Names of the files.
        """


class Task(ABC):
    """What the output of a network means. It has no state."""

    metrics: tuple[str, ...]
    """What a test measures; each of them may decide which checkpoint is the best."""

    title = ""
    """Of the first of them in tables and pictures; empty if its own name does."""

    targets: Targets
    """Reads what the lists of a data set state."""

    example = "motion"
    """What the data set shows that `draw_dataset` draws."""

    names_videos = False
    """Whether the scores of a sample are the probabilities of its K classes, which windows of a video may have, too."""

    report_files: tuple[str, ...] = ()
    """Names of the files of a report, which are looked at before a test begins."""

    def check(self, recipe: Recipe) -> None:
        """Raises RecipeError for a recipe that asks for what the task does not have."""
        metric = recipe.training.best_metric
        if metric not in self.metrics:
            raise RecipeError(f"best_metric must be one of {', '.join(self.metrics)}, got {metric!r}")

    def dataset(self, annotation: Annotation, recipe: Recipe, mode: str, limits: Limits | None = None) -> Dataset:
        """The samples of an annotation, of videos where a task has no others; see `datasets.dataset.Dataset`."""
        return VideoDataset(annotation, recipe, mode, self.targets, limits)

    def find(self, names: Sequence[str]) -> list[str]:
        """The files and folders behind names that the task's data set reads, see `datasets.find_videos`."""
        return find_videos(names)

    def views(self, path: str, recipe: Recipe, mode: str = "test", limits: Limits | None = None) -> np.ndarray:
        """The views of one file or folder, float32 [V, ...], as `Dataset.views` gives them."""
        return self.dataset(unlabeled([path]), recipe, mode, limits).views(0)

    def draw_example(self, stem: Path, seed: int) -> str:
        """Draws a file that the task's data set reads, and returns its path; here a video of a moving object."""
        path = stem.with_suffix(".mp4")
        encode_video(path, draw_video(np.random.default_rng(seed), MOTIONS[seed % len(MOTIONS)][0], 33, 128))
        return str(path)

    def draw_dataset(self, root: Path, train: int, val: int) -> Path:
        """Writes the embedded data set, with about so many samples, unless it is there; returns its root."""
        return write_demo_dataset(
            root, train_per_class=math.ceil(train / len(MOTIONS)), val_per_class=math.ceil(val / len(MOTIONS))
        )

    def output_shape(self, recipe: Recipe, view_shape: Sequence[int]) -> tuple[int, ...]:
        """Shape, without N, of what the network gives for views of a shape: (K,)."""
        return (recipe.network.num_classes,)

    @abstractmethod
    def training_batch(
        self, clips: paddle.Tensor, targets: paddle.Tensor, recipe: Recipe, rng: np.random.Generator
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Clips and targets as the loss takes them, mixed or smoothed as the recipe says.

        Args:
            clips: float32 [N, T, 3, H, W], or what else one view of the task's data set is.
            targets: Of the batch, [N, ...].
            recipe: Of the run.
            rng: For what is random; of this batch alone.
        """

    @abstractmethod
    def training_target_shape(self, recipe: Recipe) -> tuple[int, ...]:
        """Shape, without N, of the targets that `training_batch` returns, which have the network's own dtype."""

    @abstractmethod
    def loss(self, output: paddle.Tensor, target: paddle.Tensor, recipe: Recipe) -> paddle.Tensor:
        """The mean loss of a network's output against targets of `training_batch`, a scalar."""

    @abstractmethod
    def correct(self, output: paddle.Tensor, targets: paddle.Tensor) -> float:
        """How many of the N targets of a batch the output meets; fractions where a target has parts."""

    @abstractmethod
    def scores(self, run: Run, clips: np.ndarray, recipe: Recipe, views_per_pass: int = 0) -> np.ndarray:
        """What a network says of videos, after the average over their views.

        Args:
            run: Maps views float32 [B, T, 3, H, W], or of images [B, 3, H, W], to the output float32 [B, ...].
            clips: Their views, float32 [N, V, ...].
            recipe: Says how views are averaged.
            views_per_pass: Views that one call of `run` takes; 0 takes as many as hold 64 frames.

        Raises:
            UserError: An output is not finite.
        """

    @abstractmethod
    def meter(self, recipe: Recipe) -> Meter:
        """A meter of a test."""

    @abstractmethod
    def prediction_lines(self, scores: np.ndarray, class_names: Sequence[str], top: int) -> list[str]:
        """What is printed of a video.

        Args:
            scores: Of one video, without N.
            class_names: Names of the classes.
            top: How many classes to name.
        """

    def value(self, result: Sequence[Any]) -> bool | float:
        """How good the result of a sample is, as `test.json` has it behind its name: right or wrong, or 0 to 1.

        Raises:
            TypeError, ValueError, IndexError: It is no result of this task, or the task has none of single samples.
        """
        raise TypeError(f"{type(self).__name__} keeps no results of single samples")

    def record(self, scores: np.ndarray) -> list[float]:
        """What a file of results keeps of the scores of one video or picture, a number for each class."""
        return [float(score) for score in scores]

    @abstractmethod
    def metric_lines(self, metrics: dict[str, float]) -> list[str]:
        """What is printed of an evaluation's metrics."""

    def result_lines(self, metrics: dict[str, float]) -> list[str]:
        """What is printed at the end of a test: `metric: value`, a line each."""
        return [f"{name}: {metrics[name]:.4f}" for name in self.metrics]
