"""What a classifier gave for the samples of a test, and what follows from it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.accuracy import class_accuracy, confusion_matrix
from tasks.statistics import Bin, Interval, calibration, calibration_error, mean_interval, wilson


@dataclass(frozen=True)
class Outcome:
    """What a classifier gave.

    Attributes:
        scores: Probabilities float [N, K].
        labels: int [N].
        names: Of the samples.
        classes: K names.
    """

    scores: np.ndarray
    labels: np.ndarray
    names: Sequence[str]
    classes: Sequence[str]

    @functools.cached_property
    def order(self) -> np.ndarray:
        """Classes of each sample, the best first, int [N, K]; of equal scores the higher index, as in `accuracy`."""
        order: np.ndarray = np.argsort(self.scores, axis=1, kind="stable")[:, ::-1]
        return order

    @property
    def predicted(self) -> np.ndarray:
        """int [N]."""
        best: np.ndarray = self.order[:, 0]
        return best

    @property
    def probabilities(self) -> np.ndarray:
        """Of what was predicted, float [N]."""
        found: np.ndarray = self.scores[np.arange(len(self.labels)), self.predicted]
        return found

    @functools.cached_property
    def ranks(self) -> np.ndarray:
        """Rank of each label, from 1, int [N]."""
        found: np.ndarray = (self.order == self.labels[:, None]).argmax(axis=1) + 1
        return found

    @property
    def is_right(self) -> np.ndarray:
        """bool [N]."""
        right: np.ndarray = self.ranks == 1
        return right

    @functools.cached_property
    def confusion(self) -> np.ndarray:
        """See `accuracy.confusion_matrix`."""
        return confusion_matrix(self.scores, self.labels)

    @property
    def class_accuracy(self) -> np.ndarray:
        """See `accuracy.class_accuracy`."""
        return class_accuracy(self.confusion)

    def class_interval(self, label: int) -> Interval:
        """Of the accuracy of a class."""
        return wilson(int(self.confusion[label, label]), int(self.confusion[label].sum()))

    def intervals(self) -> dict[str, Interval]:
        """Of each metric of a test."""
        count = len(self.labels)
        return {
            "top1_acc": wilson(int(self.is_right.sum()), count),
            "top5_acc": wilson(int((self.ranks <= 5).sum()), count),
            "mean_acc": mean_interval(np.diag(self.confusion), self.confusion.sum(axis=1)),
        }

    @functools.cached_property
    def bins(self) -> list[Bin]:
        """See `statistics.calibration`."""
        return calibration(self.probabilities, self.is_right)

    @property
    def calibration_error(self) -> float:
        """See `statistics.calibration_error`."""
        return calibration_error(self.bins)

    def confused(self, most: int) -> list[tuple[int, int, int]]:
        """Label, prediction and number of the confusions that happen most often."""
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        places = np.argsort(-wrong, axis=None, kind="stable")[:most]
        pairs = [divmod(int(place), len(wrong)) for place in places]
        return [(label, other, int(wrong[label, other])) for label, other in pairs if wrong[label, other]]

    def mistakes(self, most: int) -> list[int]:
        """The samples that are wrong with the highest probability, the worst first."""
        wrong = np.flatnonzero(~self.is_right)
        return [int(index) for index in wrong[np.argsort(-self.probabilities[wrong], kind="stable")][:most]]

    def results(self) -> list[list[str | int | float]]:
        """For each sample its name, label, prediction, the probability of that, and the rank of the label."""
        columns = zip(self.names, self.labels, self.predicted, self.probabilities, self.ranks, strict=True)
        return [[name, int(y), int(found), round(float(p), 6), int(rank)] for name, y, found, p, rank in columns]
