"""Accuracy from scores and labels, in NumPy."""

from __future__ import annotations

import numpy as np


def top_k_accuracy(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Fraction of samples whose label is among the k best scores.

    Args:
        scores: float [N, K]; of equal scores the higher class index counts as better, as in mm.
        labels: int [N].
        k: From 1; more than K counts as K.
    """
    best = np.argsort(scores, axis=1, kind="stable")[:, -k:]
    return float((best == labels[:, None]).any(axis=1).mean())


def confusion_matrix(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts int64 [K, K]: row is the label, column the class with the best score."""
    classes = scores.shape[1]
    predicted = np.argsort(scores, axis=1, kind="stable")[:, -1]
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)  # [K, K]


def class_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Recall of each class, float [K]; NaN for a class without samples."""
    counts = confusion.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.diag(confusion) / np.where(counts == 0, np.nan, counts)


def mean_class_accuracy(confusion: np.ndarray) -> float:
    """Mean recall over the classes that have samples.

    # Deviation: mm and PaddleMVF also average over a class that is only predicted, as a zero, so that on a subset of
    the labels their figure sinks; on a set that holds every class the two agree.
    """
    return float(np.nanmean(class_accuracy(confusion)))


def summarize(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The three figures of a test: `top1_acc`, `top5_acc`, `mean_acc`, each from 0 to 1."""
    return {
        "top1_acc": top_k_accuracy(scores, labels, 1),
        "top5_acc": top_k_accuracy(scores, labels, 5),
        "mean_acc": mean_class_accuracy(confusion_matrix(scores, labels)),
    }
