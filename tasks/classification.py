"""One of K classes for each video: labels, cross entropy, accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from configs import Recipe
from datasets import Dataset, Labels
from tasks.accuracy import confusion_matrix, summarize
from tasks.classification_report import REPORT, drawn_confusion, write_report
from tasks.outcome import Outcome
from tasks.past_test import names_of
from tasks.report_page import Beside
from tasks.task import Meter, Run, Task
from tasks.view_scores import prediction_lines, score_views

if TYPE_CHECKING:
    import paddle


class ClassificationMeter(Meter):
    """Keeps the scores float32 [N, K] and labels int64 [N] of all batches, in their order."""

    def __init__(self) -> None:
        self._scores: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def update(self, scores: np.ndarray, targets: np.ndarray) -> None:
        """Takes probabilities [N, K] and labels [N]."""
        self._scores.append(scores)
        self._labels.append(targets)

    def add(self, other: ClassificationMeter) -> None:
        """Appends the scores and labels of another one."""
        self._scores += other._scores
        self._labels += other._labels

    @property
    def scores(self) -> np.ndarray:
        """float32 [num, K]."""
        return np.concatenate(self._scores)

    @property
    def labels(self) -> np.ndarray:
        """int64 [num]."""
        return np.concatenate(self._labels)

    def summary(self) -> dict[str, float]:
        """See `accuracy.summarize`."""
        return summarize(self.scores, self.labels)

    def pictures(self, class_names: Sequence[str]) -> dict[str, bytes]:
        """The confusion matrix."""
        return {"confusion_matrix": drawn_confusion(confusion_matrix(self.scores, self.labels), class_names)}

    def write(
        self, directory: Path, class_names: Sequence[str], facts: dict[str, Any], dataset: Dataset, beside: Beside
    ) -> list[str]:
        """See `classification_report.write_report`."""
        outcome = Outcome(self.scores, self.labels, names_of(dataset.annotation), class_names)
        return write_report(directory, outcome, facts, beside, dataset)


class Classification(Task):
    """One label for each video; a network gives logits [N, K]."""

    metrics = ("top1_acc", "top5_acc", "mean_acc")
    title = "top-1"
    names_videos = True
    targets = Labels()
    report_files = REPORT

    # Paddle is imported where training needs it, so that inference from an artifact runs without.

    def training_batch(
        self, clips: paddle.Tensor, targets: paddle.Tensor, recipe: Recipe, rng: np.random.Generator
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Labels as smoothed distributions [N, K]; both mixed with those of other samples if the recipe has mixup."""
        from tasks.cross_entropy import Mix, distributions

        distribution = distributions(targets, recipe.network.num_classes, recipe.training.label_smoothing)
        if recipe.training.mixup_alpha:
            mix = Mix.draw(recipe.training.mixup_alpha, len(targets), rng)
            return mix(clips), mix(distribution)
        return clips, distribution

    def training_target_shape(self, recipe: Recipe) -> tuple[int, ...]:
        """(K,)."""
        return (recipe.network.num_classes,)

    def loss(self, output: paddle.Tensor, target: paddle.Tensor, recipe: Recipe) -> paddle.Tensor:
        """Mean cross entropy of logits [N, K] against distributions [N, K]."""
        from tasks.cross_entropy import cross_entropy

        return cross_entropy(output, target)

    def correct(self, output: paddle.Tensor, targets: paddle.Tensor) -> float:
        """Number of samples whose largest logit is the label's."""
        return float((output.argmax(axis=1) == targets).sum())

    def scores(self, run: Run, clips: np.ndarray, recipe: Recipe, views_per_pass: int = 0) -> np.ndarray:
        """Probabilities float32 [N, K], see `view_scores.score_views`."""
        return score_views(run, clips, views_per_pass, recipe.clip.average_views)

    def meter(self, recipe: Recipe) -> ClassificationMeter:
        """A meter that keeps all scores."""
        return ClassificationMeter()

    def prediction_lines(self, scores: np.ndarray, class_names: Sequence[str], top: int) -> list[str]:
        """PaddleMVF's line of the best class, then the `top` best."""
        return prediction_lines(scores, class_names, top)

    def value(self, result: Sequence[Any]) -> bool:
        """Whether the label was predicted."""
        return int(result[0]) == int(result[1])

    def metric_lines(self, metrics: dict[str, float]) -> list[str]:
        """PaddleMVF's lines of an evaluation."""
        return [
            "", "Evaluating top_k_accuracy ...", "", f"top1_acc\t{metrics['top1_acc']:.4f}",
            f"top5_acc\t{metrics['top5_acc']:.4f}", "", "Evaluating mean_class_accuracy ...", "",
            f"mean_acc\t{metrics['mean_acc']:.4f}",
        ]  # fmt: skip

    def result_lines(self, metrics: dict[str, float]) -> list[str]:
        """The three accuracies as mmaction2 names them."""
        names = {"top1_acc": "top1_acc", "top5_acc": "top5_acc", "mean_class_accuracy": "mean_acc"}
        return [f"{shown}: {metrics[name]:.4f}" for shown, name in names.items()]
