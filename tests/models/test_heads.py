"""Heads: what is averaged before the classifier and what behind it."""

import numpy as np
import paddle
import pytest

from models import create_model
from models.heads import FrameHead, TSNHead


@pytest.mark.parametrize("head_class", [TSNHead, FrameHead])
def test_head_classifies_the_mean_of_each_video(head_class):
    head = head_class(5, 3, dropout=0.5)
    head.eval()
    features = np.random.default_rng(0).standard_normal((2 * 4, 5, 2, 3), dtype=np.float32)
    mean = features.reshape(2, 4, 5, 6).mean(axis=(1, 3))
    expected = mean @ head.new_fc.weight.numpy() + head.new_fc.bias.numpy()
    np.testing.assert_allclose(head(paddle.to_tensor(features), 4), expected, atol=1e-6)


@pytest.mark.parametrize(("head_class", "rows"), [(TSNHead, 2), (FrameHead, 8)])
def test_dropout_acts_on_a_video_in_tsn_and_on_each_frame_in_tsm(head_class, rows):
    head = head_class(5, 3, dropout=0.5)
    seen = []
    head.dropout.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    head(paddle.ones([8, 5, 2, 2]), 4)
    assert seen == [[rows, 5]]


def test_dropout_zeroes_the_part_it_is_told_while_training_only():
    paddle.seed(0)
    head = TSNHead(1000, 2, dropout=0.3)
    dropped = head.dropout(paddle.ones([10, 1000])).numpy()
    assert (dropped == 0).mean() == pytest.approx(0.3, abs=0.03)
    head.eval()
    assert (head.dropout(paddle.ones([10, 1000])).numpy() == 1).all()


@pytest.mark.parametrize("head_class", [TSNHead, FrameHead])
@pytest.mark.parametrize("size", [(1, 1), (7, 7), (8, 5)])
def test_fully_convolutional_logits_are_the_same_and_leave_no_parameters(head_class, size):
    head = head_class(6, 4, dropout=0.5).to(dtype="float64")
    head.new_fc.bias.set_value(paddle.randn([4], dtype="float64"))
    head.eval()
    features = paddle.randn([6, 6, *size], dtype="float64")
    np.testing.assert_allclose(head.fcn_logits(features, 3), head(features, 3), rtol=0, atol=1e-12)
    assert set(head.state_dict()) == {"new_fc.weight", "new_fc.bias"}


@pytest.mark.parametrize(
    ("family", "usual", "std"), [("tsn", TSNHead, 0.01), ("tsm", FrameHead, 0.001), ("mvf", FrameHead, 0.01)]
)
@pytest.mark.parametrize("consensus", ["family", "features", "scores"])
def test_consensus_chooses_the_head_and_the_family_its_start(family, usual, std, consensus):
    paddle.seed(0)
    head = create_model(f"{family}_tiny", num_classes=400, num_frames=4, consensus=consensus).cls_head
    assert type(head) is {"family": usual, "features": TSNHead, "scores": FrameHead}[consensus]
    assert head.new_fc.weight.numpy().std() == pytest.approx(std, rel=0.02)
    assert (head.new_fc.bias.numpy() == 0).all()
