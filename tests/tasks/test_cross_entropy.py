"""Loss against PyTorch, mixup against its formula."""

import numpy as np
import paddle
import pytest
import torch

from tasks.cross_entropy import Mix, cross_entropy, distributions

RNG = np.random.default_rng(0)
LOGITS, LABELS = RNG.normal(size=(6, 5)).astype("float32") * 3, np.array([0, 4, 2, 2, 1, 3])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_equals_pytorch(smoothing):
    ours = cross_entropy(paddle.to_tensor(LOGITS), distributions(paddle.to_tensor(LABELS), 5, smoothing))
    theirs = torch.nn.functional.cross_entropy(
        torch.tensor(LOGITS), torch.tensor(LABELS), label_smoothing=smoothing
    )  # fmt: skip
    assert float(ours) == pytest.approx(float(theirs), rel=1e-6)


def test_float64_stays_float64_to_the_last_digit():
    logits, labels = LOGITS.astype("float64"), paddle.to_tensor(LABELS)
    mix = Mix(0.3, np.array([1, 0, 3, 2, 5, 4]))
    ours = cross_entropy(paddle.to_tensor(logits), mix(distributions(labels, 5, 0.1, "float64")))
    theirs = sum(
        weight * torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(order), label_smoothing=0.1)
        for weight, order in ((0.3, LABELS), (0.7, LABELS[mix.order]))
    )
    assert ours.dtype == paddle.float64
    assert float(ours) == pytest.approx(float(theirs), rel=1e-14)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_logits_are_widened(dtype):
    logits, target = paddle.to_tensor(LOGITS).astype(dtype), distributions(paddle.to_tensor(LABELS), 5)
    loss = cross_entropy(logits, target)
    assert loss.dtype == paddle.float32
    assert float(loss) == float(cross_entropy(logits.astype("float32"), target))


def test_mixup_mixes_clips_and_targets_alike():
    mix = Mix.draw(0.2, 6, np.random.default_rng(3))
    assert 0 < mix.weight < 1
    assert sorted(mix.order) == list(range(6))
    mixed = mix(paddle.to_tensor(LOGITS)).numpy()
    np.testing.assert_allclose(mixed, mix.weight * LOGITS + (1 - mix.weight) * LOGITS[mix.order], rtol=1e-6)
    target = mix(distributions(paddle.to_tensor(LABELS), 5)).numpy()
    np.testing.assert_allclose(target.sum(axis=1), 1, rtol=1e-6)
    assert target[0, LABELS[0]] >= mix.weight - 1e-6


def test_mixup_is_a_function_of_its_generator():
    first, again, other = (Mix.draw(0.2, 6, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.weight == again.weight
    assert first.weight != other.weight
