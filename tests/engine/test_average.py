"""A moving average is the one that is computed by hand; the network has it only while it is applied."""

import numpy as np
import paddle
import pytest
from paddle import nn

from engine import checkpoint
from engine.average import Average
from weights import CheckpointError


def network():
    paddle.seed(0)
    return nn.Sequential(nn.Conv2D(3, 4, 1), nn.BatchNorm2D(4))


def test_the_average_is_that_of_all_steps():
    model = network()
    average = Average(model, 0.75)
    expected = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    for step in range(3):
        for tensor in model.state_dict().values():
            tensor.set_value(tensor + step + 1)
        average.update()
        for name, tensor in model.state_dict().items():
            expected[name] = 0.75 * expected[name] + 0.25 * tensor.numpy()
    own = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    for name, array in average.arrays().items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-6)
    with average.applied():
        for name, tensor in model.state_dict().items():
            np.testing.assert_array_equal(tensor.numpy(), average.arrays()[name])
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), own[name])
    assert set(expected) == {"0.weight", "0.bias", "1.weight", "1.bias", "1._mean", "1._variance"}


def test_a_checkpoint_without_one_is_refused(tmp_path):
    model = network()
    optimizer = paddle.optimizer.Momentum(0.1, parameters=model.parameters())
    checkpoint.save_last(tmp_path, model, optimizer, {"epoch": 1})
    with pytest.raises(CheckpointError, match="has no average of the model"):
        checkpoint.load_last(tmp_path, model, optimizer, Average(model, 0.9))
