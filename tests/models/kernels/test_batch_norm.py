"""The operator for BatchNorm in training against Paddle's own, with and without the ReLU behind it."""

import gc

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

from models import kernels
from models.kernels.batch_norm import BatchNorm2D, BatchNorm3D, norm_add_relu, norm_relu, norm_relu6
from runtime import native

pytestmark = pytest.mark.skipif(not kernels.serve(paddle.ones([1])), reason=kernels.plan_line())
SHAPES = [(2, 3, 2, 1), (4, 5, 7, 9), (3, 8, 33, 16), (1, 2, 64, 5)]
# What a run may add: nothing, or one of the two activations, and its plain form.
AFTER = {
    "none": (lambda norm, x: norm(x), lambda y: y),
    "relu": (norm_relu, F.relu),
    "relu6": (norm_relu6, F.relu6),
}


def filled(norm, dtype, seed=0):
    """A layer with numbers that are not its defaults, and exact in float32."""
    rng = np.random.default_rng(seed)
    norm = norm.to(dtype=dtype)
    for tensor in (norm.weight, norm.bias, norm._mean, norm._variance):
        tensor.set_value(paddle.to_tensor(np.round(16 * rng.normal(size=tensor.shape)) / 16, dtype))
    return norm


def layer(kind, channels, dtype):
    return filled(kind(channels, momentum=0.875, epsilon=2.0**-17), dtype)


def values(run, norm, x):
    """Output, the gradients, the statistics."""
    x = paddle.to_tensor(x, stop_gradient=False)
    norm.clear_gradients()
    y = run(x)
    y.backward(paddle.to_tensor(np.random.default_rng(1).normal(size=y.shape), y.dtype))
    return [t.numpy() for t in (y, x.grad, norm.weight.grad, norm.bias.grad, norm._mean, norm._variance)]


def agree(found, expected, dtype):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        limit = {"float32": 4e-6, "float64": 1e-14}[dtype] * max(np.abs(other).max(), 1)
        np.testing.assert_allclose(one, other, rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_computes_what_paddle_computes(dtype, after, shape):
    x = (3 * np.random.default_rng(2).normal(size=shape) + 2).astype(dtype)
    ours, plain = AFTER[after]
    norm, other = layer(BatchNorm2D, shape[1], dtype), layer(nn.BatchNorm2D, shape[1], dtype)
    agree(values(lambda t: ours(norm, t), norm, x), values(lambda t: plain(other(t)), other, x), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_shortcut_is_added_and_gets_its_gradient(dtype, shape):
    x, shortcut = np.random.default_rng(2).normal(size=(2, *shape)).astype(dtype)
    norm, other = layer(BatchNorm2D, shape[1], dtype), layer(nn.BatchNorm2D, shape[1], dtype)
    sides = [paddle.to_tensor(shortcut, stop_gradient=False) for _ in range(2)]
    found = values(lambda t: norm_add_relu(norm, t, sides[0]), norm, x)
    expected = values(lambda t: F.relu(other(t) + sides[1]), other, x)
    agree([*found, sides[0].grad.numpy()], [*expected, sides[1].grad.numpy()], dtype)


def test_an_input_may_be_its_own_shortcut():
    norm, other = layer(BatchNorm2D, 3, "float64"), layer(nn.BatchNorm2D, 3, "float64")
    x = np.random.default_rng(2).normal(size=(2, 3, 4, 5))
    found = values(lambda t: norm_add_relu(norm, t, t), norm, x)
    agree(found, values(lambda t: F.relu(other(t) + t), other, x), "float64")


def test_who_watches_a_norm_before_a_shortcut_gets_the_layer_itself():
    x, shortcut = paddle.randn([2, 2, 2, 4, 4])
    norm, seen = layer(BatchNorm2D, 2, "float32"), []
    expected = norm_add_relu(norm, x, shortcut)
    hook = norm.register_forward_post_hook(lambda layer, given, out: seen.append(out))
    found = norm_add_relu(norm, x, shortcut)
    hook.remove()
    assert len(seen) == 1
    np.testing.assert_allclose(found.numpy(), F.relu(seen[0] + shortcut).numpy())
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-6)


def test_what_was_computed_is_let_go_without_a_gradient():
    """What comes out of an operator must not keep what made it, which would keep it."""
    norm, x = layer(BatchNorm2D, 2, "float32"), paddle.randn([2, 2, 4, 4])
    gc.collect()
    gc.disable()
    try:
        before = sum(type(one).__name__.startswith("_BatchNorm") for one in gc.get_objects())
        for _ in range(5):
            norm_add_relu(norm, x, x)
        assert sum(type(one).__name__.startswith("_BatchNorm") for one in gc.get_objects()) == before
    finally:
        gc.enable()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_videos_are_normalized_alike(dtype):
    x = np.random.default_rng(2).normal(size=(2, 3, 4, 5, 6)).astype(dtype)
    norm, other = layer(BatchNorm3D, 3, dtype), layer(nn.BatchNorm3D, 3, dtype)
    agree(values(norm, norm, x), values(other, other, x), dtype)


def test_a_large_mean_costs_fewer_digits_than_it_costs_paddle():
    x = (np.random.default_rng(2).normal(size=(4, 2, 16, 16)) + 1000).astype("float32")
    norms = layer(BatchNorm2D, 2, "float32"), layer(nn.BatchNorm2D, 2, "float32"), layer(nn.BatchNorm2D, 2, "float64")
    ours, paddles, exact = (values(norm, norm, x.astype(str(norm.weight.numpy().dtype))) for norm in norms)
    for one, other, true in zip(ours[:3], paddles[:3], exact[:3], strict=True):
        assert np.abs(one - true).max() < np.abs(other - true).max() / 2


def test_what_is_not_a_number_does_not_hide():
    x = paddle.randn([2, 2, 4, 4])
    x[0, 0, 0, 0] = float("nan")
    y = layer(BatchNorm2D, 2, "float32")(x).numpy()
    assert np.isnan(y[:, 0]).all()
    assert np.isfinite(y[:, 1]).all()


def test_who_evaluates_or_watches_gets_the_layers_themselves(monkeypatch):
    called = []
    monkeypatch.setattr(
        kernels, "call", lambda name, dtype, shape, x, w, b, side, e, m, ceiling, *_: called.append(ceiling)
    )
    x, norm = paddle.randn([2, 2, 4, 4]), layer(BatchNorm2D, 2, "float32")
    norm_relu6(norm, x)
    assert called == [6.0]
    hook = norm.register_forward_post_hook(lambda *_: None)
    norm_relu6(norm, x)
    assert called == [6.0, -1.0]
    hook.remove()
    norm.forward = lambda x: x
    assert np.array_equal(norm_relu6(norm, x).numpy(), F.relu6(x).numpy())
    del norm.forward
    norm.eval()
    expected = F.relu6(F.batch_norm(x, norm._mean, norm._variance.abs(), norm.weight, norm.bias, epsilon=2.0**-17))
    norm._variance.set_value(norm._variance.abs())
    assert np.array_equal(norm_relu6(norm, x).numpy(), expected.numpy())
    norm.train()
    norm._use_global_stats = True
    norm_relu6(norm, x)
    native.refuse("for a test")
    try:
        norm._use_global_stats = False
        norm_relu6(norm, x)
    finally:
        native.refuse("")
    assert called == [6.0, -1.0]


@pytest.mark.parametrize("frozen", ["input", "weight", "bias", "shortcut"])
def test_what_needs_no_gradient_gets_none(frozen):
    norm, (x, shortcut) = layer(BatchNorm2D, 2, "float32"), paddle.randn([2, 2, 2, 4, 4]).unbind(0)
    tensors = {"input": x, "weight": norm.weight, "bias": norm.bias, "shortcut": shortcut}
    for name, tensor in tensors.items():
        tensor.stop_gradient = name == frozen
    (norm_add_relu(norm, x, shortcut) ** 3).sum().backward()
    assert [name for name, tensor in tensors.items() if tensor.grad is None] == [frozen]
