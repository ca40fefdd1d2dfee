"""Weights go from one framework to the other by name, all of them or none."""

import numpy as np
import paddle
import pytest
import torch

import models
from alignment.certification.twins import create_twin
from alignment.sides.state import read_weights, write_weights

SETTINGS = {"num_classes": 5, "num_frames": 4}


def pair(name="mvf_tiny", **options):
    return models.create_model(name, **SETTINGS, **options), create_twin(name, **SETTINGS, **options)


def test_both_directions():
    ours, theirs = pair()
    arrays = read_weights(ours)
    write_weights(theirs, arrays)
    keys = [key for key in theirs.state_dict() if "num_batches" not in key]
    assert len(arrays) == len(ours.state_dict()) == len(keys)
    assert np.array_equal(ours.cls_head.new_fc.weight.numpy(), theirs.cls_head.new_fc.weight.detach().numpy().T)
    other, _ = pair()
    write_weights(other, read_weights(theirs))
    for key, array in read_weights(ours).items():
        assert np.array_equal(array, read_weights(other)[key]), key


def test_statistics_are_renamed():
    ours, theirs = pair()
    theirs.backbone.bn1.running_var.fill_(3.0)
    write_weights(ours, read_weights(theirs))
    assert (ours.backbone.bn1._variance.numpy() == 3).all()


@pytest.mark.parametrize(
    ("paddle_options", "torch_options", "message"),
    [
        ({"mvf_share": True}, {}, "h_conv.weight has no source"),
        ({}, {"mvf_use_hs": False}, "bn._mean has no target"),
        ({"mvf_alpha": 0.25}, {}, r"conv1.bn._mean is \[8\], the target's \[4\]"),
    ],
)
def test_a_tensor_without_a_twin_is_named_and_nothing_is_written(paddle_options, torch_options, message):
    ours = models.create_model("mvf_tiny", **SETTINGS, **paddle_options)
    theirs = create_twin("mvf_tiny", **SETTINGS, **torch_options)
    before = read_weights(theirs)
    with pytest.raises(ValueError, match=message):
        write_weights(theirs, read_weights(ours))
    assert all(np.array_equal(before[key], array) for key, array in read_weights(theirs).items())


def test_a_square_linear_is_transposed_too():
    ours, theirs = paddle.nn.Linear(4, 4), torch.nn.Linear(4, 4)
    write_weights(ours, read_weights(theirs))
    x = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    assert np.allclose(ours(paddle.to_tensor(x)).numpy(), theirs(torch.tensor(x)).detach().numpy(), atol=1e-6)


def test_precision_is_not_lost_in_silence():
    ours, theirs = pair("tsn_tiny")
    write_weights(theirs.double(), read_weights(ours))  # float32 fits into float64
    with pytest.raises(ValueError, match="is float64, the target's float32"):
        write_weights(ours, read_weights(theirs))
