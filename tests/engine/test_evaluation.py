"""Scores of views: chunks, averages, and what is not a number."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

from configs import get_preset
from datasets import ClipLoader, VideoDataset, load_annotation
from engine.evaluation import evaluate, run_of
from models import create_model
from runtime.errors import UserError
from tasks.classification import Classification
from tasks.view_scores import score_views


class Means(nn.Layer):
    """Logits [N, 3]: the mean of each color plane."""

    def forward(self, clips):
        return clips.mean(axis=[1, 3, 4])


def view_scores(model, clips, views_per_pass=0, average="probabilities"):
    return score_views(run_of(model), clips, views_per_pass, average)


CLIPS = np.random.default_rng(0).normal(size=(2, 6, 4, 3, 5, 5)).astype("float32")


def test_scores_are_softmax_of_each_view_then_the_mean():
    logits = CLIPS.mean(axis=(2, 4, 5))  # [N, V, 3]
    expected = (np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)).mean(axis=1)
    np.testing.assert_allclose(view_scores(Means(), CLIPS), expected, rtol=1e-5)


def test_scores_may_be_averaged_before_the_softmax():
    logits = CLIPS.mean(axis=(2, 4, 5)).mean(axis=1)  # [N, 3]
    expected = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    scores = view_scores(Means(), CLIPS, average="scores")
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert np.abs(scores - view_scores(Means(), CLIPS)).max() > 1e-4


def test_averaged_scores_are_those_of_the_averaged_features_of_all_views():
    paddle.seed(0)
    model = create_model("tsn_tiny", num_classes=5, num_frames=2)
    model.eval()
    model.cls_head.new_fc.weight.set_value(paddle.randn([128, 5]))
    clips = np.random.default_rng(1).normal(size=(1, 3, 2, 3, 32, 32)).astype("float32")
    features, _ = model.extract(paddle.to_tensor(clips[0]))
    expected = F.softmax(model.cls_head(features, 6), axis=1)  # mmaction2's TSN: the frames of all views are one video
    np.testing.assert_allclose(view_scores(model, clips, average="scores"), expected, rtol=1e-4, atol=1e-20)
    assert np.abs(view_scores(model, clips) - expected.numpy()).max() > 1e-4


@pytest.mark.parametrize("average", ["probabilities", "scores"])
def test_a_data_set_is_scored_as_its_recipe_says(average, motion_videos):
    recipe = get_preset("demo_tsn").with_(test_clips=3, average_views=average)
    dataset = VideoDataset(load_annotation(str(motion_videos), "val"), recipe, "test")
    with ClipLoader(dataset, 4, num_workers=0) as loader:
        scores = evaluate(Means(), loader, Classification()).scores
    expected = view_scores(Means(), dataset.load(0)[0][None], average=average)
    np.testing.assert_allclose(scores[:1], expected, rtol=1e-5)
    other = {"probabilities": "scores", "scores": "probabilities"}[average]
    assert np.abs(scores[:1] - view_scores(Means(), dataset.load(0)[0][None], average=other)).max() > 1e-7


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
