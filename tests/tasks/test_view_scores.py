"""From logits of views to probabilities of videos."""

import numpy as np
import pytest

from runtime.errors import UserError
from tasks.view_scores import prediction_lines, score_views, softmax


def logits_of(clips):
    """Stands for a model: logits [B, 3] from the first pixels of the first frame."""
    return clips[:, 0, 0, 0, :3]


def test_probabilities_are_those_of_each_video():
    clips = np.random.default_rng(0).standard_normal((2, 3, 4, 3, 2, 5)).astype(np.float32)
    logits = clips[:, :, 0, 0, 0, :3]  # [N, V, K]
    powers = np.exp(logits.astype(float))
    each = powers / powers.sum(axis=2, keepdims=True)
    assert np.allclose(score_views(logits_of, clips), each.mean(axis=1), atol=1e-6)
    mean = np.exp(logits.astype(float).mean(axis=1))
    wanted = mean / mean.sum(axis=1, keepdims=True)
    assert np.allclose(score_views(logits_of, clips, average="scores"), wanted, atol=1e-6)


@pytest.mark.parametrize(("views_per_pass", "sizes"), [(0, [16, 14]), (7, [7, 7, 7, 7, 2]), (99, [30])])
def test_views_go_through_in_parts_of_64_frames(views_per_pass, sizes):
    seen = []

    def run(part):
        seen.append(len(part))
        return logits_of(part)

    score_views(run, np.zeros((3, 10, 4, 3, 2, 5), np.float32), views_per_pass)
    assert seen == sizes


def test_large_scores_do_not_overflow():
    assert softmax(np.array([[1e4, 1e4, -1e4]], np.float32)).tolist() == [[0.5, 0.5, 0.0]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(value):
    clips = np.zeros((1, 1, 4, 3, 2, 5), np.float32)
    clips[0, 0, 0, 0, 0, 1] = value
    with pytest.raises(UserError, match="not finite"):
        score_views(logits_of, clips)


def test_lines_rank_the_classes():
    lines = prediction_lines(np.array([0.25, 0.7, 0.05]), ["a", "b", "c"], 2)
    assert lines == ["Top1 class:b prob:0.700000", "  1. b 0.700000", "  2. a 0.250000"]
