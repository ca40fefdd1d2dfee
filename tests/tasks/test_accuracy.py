"""Metrics on hand-counted cases."""

import numpy as np
import pytest

from tasks.accuracy import class_accuracy, confusion_matrix, mean_class_accuracy, summarize, top_k_accuracy

SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.2, 0.5, 0.3]])
LABELS = np.array([0, 2, 0, 1])


def test_hand_counted():
    assert top_k_accuracy(SCORES, LABELS, 1) == 0.75
    assert top_k_accuracy(SCORES, LABELS, 3) == top_k_accuracy(SCORES, LABELS, 5) == 1
    np.testing.assert_array_equal(confusion_matrix(SCORES, LABELS), [[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    assert summarize(SCORES, LABELS) == pytest.approx({"top1_acc": 0.75, "top5_acc": 1.0, "mean_acc": 5 / 6})


def test_of_equal_scores_the_higher_index_wins():
    scores = np.zeros((2, 4))
    assert top_k_accuracy(scores, np.array([3, 0]), 1) == 0.5
    assert top_k_accuracy(scores, np.array([2, 1]), 2) == 0.5


def test_a_class_without_samples_does_not_count():
    labels = np.array([0, 0, 0, 1])
    accuracy = class_accuracy(confusion_matrix(SCORES, labels))
    assert accuracy[0] == pytest.approx(1 / 3)
    assert np.isnan(accuracy[2])
    assert mean_class_accuracy(confusion_matrix(SCORES, labels)) == pytest.approx((1 / 3 + 1) / 2)
