"""Accuracies in PyTorch, by counting for each sample the classes that rank above its label.

Source: mmaction2's `top_k_accuracy` (rising argsort, so that of equal scores the higher class index is the better one);
mean class accuracy is the mean recall of the classes that have samples.
"""

from __future__ import annotations

import torch


def top_k_accuracy(scores: torch.Tensor, labels: torch.Tensor, k: int) -> float:
    """Fraction of samples for which fewer than k classes rank above the label; scores [N, K], labels [N]."""
    scores, labels = torch.as_tensor(scores), torch.as_tensor(labels)
    hits = 0
    for row, label in zip(scores, labels.tolist(), strict=True):
        higher = int((row > row[label]).sum())
        equal_with_higher_index = int((row[label + 1 :] == row[label]).sum())
        hits += higher + equal_with_higher_index < k
    return hits / len(labels)


def confusion_matrix(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Counts int64 [K, K] of (label, predicted class) for scores [N, K] and labels [N]."""
    scores, labels = torch.as_tensor(scores), torch.as_tensor(labels)
    counts = torch.zeros(scores.shape[1], scores.shape[1], dtype=torch.int64)
    for row, label in zip(scores, labels.tolist(), strict=True):
        predicted = int(torch.nonzero(row == row.max())[-1])
        counts[label, predicted] += 1
    return counts


def class_accuracy(confusion: torch.Tensor) -> torch.Tensor:
    """Recall of each class, float64 [K]; a class without samples has 0 / 0, which is NaN."""
    confusion = torch.as_tensor(confusion).double()
    return confusion.diagonal() / confusion.sum(dim=1)


def mean_class_accuracy(confusion: torch.Tensor) -> float:
    """Mean recall of the classes that have samples."""
    recalls = class_accuracy(confusion)
    return float(recalls[~recalls.isnan()].mean())


def summarize(scores: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """`top1_acc`, `top5_acc` and `mean_acc` of scores [N, K] and labels [N], tensors or NumPy arrays; each 0 to 1."""
    return {
        "top1_acc": top_k_accuracy(scores, labels, 1),
        "top5_acc": top_k_accuracy(scores, labels, 5),
        "mean_acc": mean_class_accuracy(confusion_matrix(scores, labels)),
    }
