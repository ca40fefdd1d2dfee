"""Loss against PyTorch, mixup against its formula."""

import numpy as np
import paddle
import pytest
import torch

from configs import get_preset
from engine.objective import Mix, TrainingStep, as_graph, cross_entropy, targets
from models import from_recipe

RNG = np.random.default_rng(0)
LOGITS, LABELS = RNG.normal(size=(6, 5)).astype("float32") * 3, np.array([0, 4, 2, 2, 1, 3])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_equals_pytorch(smoothing):
    ours = cross_entropy(paddle.to_tensor(LOGITS), targets(paddle.to_tensor(LABELS), 5, smoothing))
    theirs = torch.nn.functional.cross_entropy(
        torch.tensor(LOGITS), torch.tensor(LABELS), label_smoothing=smoothing
    )  # fmt: skip
    assert float(ours) == pytest.approx(float(theirs), rel=1e-6)


def test_float64_stays_float64_to_the_last_digit():
    logits, labels = LOGITS.astype("float64"), paddle.to_tensor(LABELS)
    mix = Mix(0.3, np.array([1, 0, 3, 2, 5, 4]))
    ours = cross_entropy(paddle.to_tensor(logits), mix(targets(labels, 5, 0.1, "float64")))
    theirs = sum(
        weight * torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(order), label_smoothing=0.1)
        for weight, order in ((0.3, LABELS), (0.7, LABELS[mix.order]))
    )
    assert ours.dtype == paddle.float64
    assert float(ours) == pytest.approx(float(theirs), rel=1e-14)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_logits_are_widened(dtype):
    logits, target = paddle.to_tensor(LOGITS).astype(dtype), targets(paddle.to_tensor(LABELS), 5)
    loss = cross_entropy(logits, target)
    assert loss.dtype == paddle.float32
    assert float(loss) == float(cross_entropy(logits.astype("float32"), target))


def test_mixup_mixes_clips_and_targets_alike():
    mix = Mix.draw(0.2, 6, np.random.default_rng(3))
    assert 0 < mix.weight < 1
    assert sorted(mix.order) == list(range(6))
    mixed = mix(paddle.to_tensor(LOGITS)).numpy()
    np.testing.assert_allclose(mixed, mix.weight * LOGITS + (1 - mix.weight) * LOGITS[mix.order], rtol=1e-6)
    target = mix(targets(paddle.to_tensor(LABELS), 5)).numpy()
    np.testing.assert_allclose(target.sum(axis=1), 1, rtol=1e-6)
    assert target[0, LABELS[0]] >= mix.weight - 1e-6


def test_mixup_is_a_function_of_its_generator():
    first, again, other = (Mix.draw(0.2, 6, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.weight == again.weight
    assert first.weight != other.weight


@pytest.fixture
def float64():
    paddle.set_default_dtype("float64")
    yield
    paddle.set_default_dtype("float32")


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "options",
    [
        {"model": "tsn_tiny"},
        {"model": "tsm_tiny"},
        {"model": "tsm_tiny", "shift_direction": "paddle", "shift_div": 10},
        {"model": "tsm_tiny", "shift_direction": "online", "partial_bn": True},
        {"model": "tsm_tiny", "shift_place": "block", "temporal_pool": True},
        {"model": "mvf_tiny"},
        {"model": "mvf_tiny", "mvf_mode": "TH", "mvf_share": True, "mvf_use_hs": False, "mvf_stages": (1, 1, 1, 1)},
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
def test_a_graph_has_the_loss_gradients_and_statistics_of_dygraph(options):
    """Shift and fusion are arranged otherwise in a graph; the second batch is smaller."""
    recipe = get_preset("demo_tsm").with_(short_side=32, crop_size=32, test_size=32, num_classes=5, **options)
    results = []
    for to_static in (False, True):
        paddle.seed(7)
        model = from_recipe(recipe)
        model.train()
        step = as_graph(TrainingStep(model), recipe) if to_static else TrainingStep(model)
        values = [_differentiate(step, recipe, size) for size in (3, 2)]
        tensors = {name: p.grad.numpy() for name, p in model.named_parameters() if not p.stop_gradient}
        results.append((values, {**tensors, **{name: buffer.numpy() for name, buffer in model.named_buffers()}}))
    (values, tensors), (graph_values, graph_tensors) = results
    assert graph_values == pytest.approx(values, rel=1e-12)
    assert tensors.keys() == graph_tensors.keys()
    for name, tensor in tensors.items():
        gap, size = np.abs(graph_tensors[name] - tensor).max(), np.abs(tensor).max()
        assert gap <= 1e-10 * size, name
        assert size > 0 or name.endswith("_mean"), name


def _differentiate(step, recipe, size):
    rng = np.random.default_rng(size)
    clips = paddle.to_tensor(rng.normal(size=(size, recipe.clip.num_frames, 3, 32, 32)))
    target = targets(paddle.to_tensor(rng.integers(0, 5, size)), 5, 0.1, "float64")
    paddle.seed(size)
    loss, _ = step(clips, target)
    loss.backward()
    return float(loss)
