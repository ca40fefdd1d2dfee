"""Scores of views: chunks, averages, and what is not a number."""

import csv

import numpy as np
import paddle
import pytest
from paddle import nn

from configs import UserError
from engine.evaluation import view_scores, write_report


class Means(nn.Layer):
    """Logits [N, 3]: the mean of each colour plane."""

    def forward(self, clips):
        return clips.mean(axis=[1, 3, 4])


CLIPS = np.random.default_rng(0).normal(size=(2, 6, 4, 3, 5, 5)).astype("float32")


def test_scores_are_softmax_of_each_view_then_the_mean():
    logits = CLIPS.mean(axis=(2, 4, 5))  # [N, V, 3]
    expected = (np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)).mean(axis=1)
    np.testing.assert_allclose(view_scores(Means(), CLIPS), expected, rtol=1e-5)


@pytest.mark.parametrize("views_per_pass", [1, 4, 12, 100])
def test_chunks_do_not_change_the_scores(views_per_pass):
    np.testing.assert_allclose(view_scores(Means(), CLIPS, views_per_pass), view_scores(Means(), CLIPS), rtol=1e-6)


def test_no_pass_holds_more_views_than_asked_for():
    seen = []

    class Spy(Means):
        def forward(self, clips):
            seen.append(clips.shape[0])
            return super().forward(clips)

    view_scores(Spy(), CLIPS, 5)
    assert seen == [5, 5, 2]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_an_error(value):
    clips = CLIPS.copy()
    clips[1, 2] = value
    with pytest.raises(UserError, match="scores that are not finite"):
        view_scores(Means(), clips)
    assert paddle.isfinite(paddle.to_tensor(view_scores(Means(), CLIPS))).all()


def test_the_report_takes_any_class_name(tmp_path):
    scores = np.eye(3)[[0, 1, 2, 1]]
    names = ["a$_{x$", "行走", "b, c"]
    write_report(tmp_path / "report", scores, np.array([0, 1, 2, 0]), names, {"top1_acc": 0.75})
    rows = list(csv.DictReader((tmp_path / "report" / "per_class.csv").open(encoding="utf-8")))
    assert [row["class"] for row in rows] == names
    assert [row["accuracy"] for row in rows] == ["0.5000", "1.0000", "1.0000"]
    assert rows[0]["most_confused_with"] == "行走"
    assert (tmp_path / "report" / "confusion_matrix.png").stat().st_size > 1000
