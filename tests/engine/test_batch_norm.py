"""Precise BatchNorm against statistics computed by hand."""

import numpy as np
import paddle
import pytest
from paddle import nn

from datasets.loader import Batch
from engine.batch_norm import recompute_statistics


class FrameNorm(nn.Layer):
    """Normalizes folded frames, so that the statistics can be computed from the clips themselves."""

    def __init__(self):
        super().__init__()
        self.first, self.frozen = nn.BatchNorm2D(3), nn.BatchNorm2D(3)

    def forward(self, clips):
        frames = clips.reshape([-1, *clips.shape[2:]])  # [N*T, 3, H, W]
        return self.frozen(self.first(frames))

    def train(self):
        super().train()
        self.frozen.eval()


def batches(count):
    rng = np.random.default_rng(0)
    for index in range(count):
        clips = rng.normal(index, 1 + index, size=(2, 1, 4, 3, 5, 5)).astype("float32")
        yield Batch(clips=clips, targets=np.zeros(2, int), indices=np.arange(2), failures=())


def test_statistics_are_means_over_batches():
    model = FrameNorm()
    model.train()
    weights = model.first.weight.numpy()
    assert recompute_statistics(model, batches(4)) == 4
    frames = [batch.clips.reshape(-1, 3, 5, 5) for batch in batches(4)]
    mean = np.mean([f.mean(axis=(0, 2, 3)) for f in frames], axis=0)
    variance = np.mean([f.var(axis=(0, 2, 3)) for f in frames], axis=0)
    np.testing.assert_allclose(model.first._mean.numpy(), mean, rtol=1e-4)
    np.testing.assert_allclose(model.first._variance.numpy(), variance, rtol=1e-4)
    np.testing.assert_array_equal(model.frozen._mean.numpy(), np.zeros(3))
    np.testing.assert_array_equal(model.first.weight.numpy(), weights)
    assert model.first._momentum == 0.9


def test_the_momentum_comes_back_after_an_error():
    model = FrameNorm()

    def broken():
        yield from batches(1)
        raise RuntimeError("reader")

    with pytest.raises(RuntimeError, match="reader"):
        recompute_statistics(model, broken())
    assert model.first._momentum == 0.9


def test_no_batch_changes_nothing():
    model = FrameNorm()
    assert recompute_statistics(model, []) == 0
    np.testing.assert_array_equal(model.first._mean.numpy(), np.zeros(3))
    assert paddle.isfinite(model.first._variance).all()
