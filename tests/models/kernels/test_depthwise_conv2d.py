"""The operator for depthwise convolution against Paddle's own, in value and in gradients."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

from models import kernels
from models.kernels.depthwise_conv2d import DepthwiseConv2D
from runtime import native

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(not kernels.serve(paddle.ones([1])), reason=kernels.plan_line())


def rounding(dtype):
    return {"float32": 2e-6, "float64": 2e-15}[dtype]


def values(layer, x, seed=1):
    """Output, gradient of the input and of the weight."""
    x = paddle.to_tensor(x, stop_gradient=False)
    layer.clear_gradients()
    y = layer(x)
    grad = paddle.to_tensor(np.random.default_rng(seed).normal(size=y.shape), y.dtype)
    y.backward(grad)
    return [y.numpy(), x.grad.numpy(), layer.weight.grad.numpy()]


def agree(found, expected, dtype):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=0, atol=rounding(dtype) * np.abs(other).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("same_padding", [False, True])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(1, 1), (2, 9), (5, 5), (7, 6), (14, 33), (40, 17)])
def test_it_computes_what_paddle_computes(dtype, same_padding, kernel, stride, size):
    paddle.seed(0)
    layer = DepthwiseConv2D(3, kernel, stride, same_padding).to(dtype=dtype)
    x = np.random.default_rng(0).normal(size=(2, 3, *size)).astype(dtype)
    found = values(layer, x)
    plain = nn.Conv2D(3, 3, kernel, stride, "SAME" if same_padding else kernel // 2, groups=3, bias_attr=False)
    plain.to(dtype=dtype).weight.set_value(layer.weight)
    agree(found, values(plain, x), dtype)


def test_without_the_operator_paddle_computes(monkeypatch):
    layer = DepthwiseConv2D(4, 3)
    x = paddle.randn([1, 4, 6, 6])
    called = []
    monkeypatch.setattr(kernels, "call", lambda name, *_: called.append(name))
    layer(x)
    assert called == ["depthwise_conv2d"]
    try:
        native.refuse("for a test")
        y = layer(x)
    finally:
        native.refuse("")
    assert called == ["depthwise_conv2d"]
    assert np.array_equal(y.numpy(), F.conv2d(x, layer.weight, padding=1, groups=4).numpy())


def test_a_graph_is_traced_with_paddles_operator():
    layer = DepthwiseConv2D(4, 3)
    x = paddle.randn([1, 4, 6, 6])
    traced = paddle.jit.to_static(layer, input_spec=[paddle.static.InputSpec([None, 4, 6, 6])], full_graph=True)
    expected = F.conv2d(x, layer.weight, padding=1, groups=4)
    np.testing.assert_allclose(traced(x).numpy(), expected.numpy(), atol=1e-6)


def test_an_input_that_is_no_dense_memory_is_read_right():
    layer = DepthwiseConv2D(4, 3)
    x = paddle.randn([1, 6, 6, 4])
    view = x.transpose([0, 3, 1, 2])
    expected = F.conv2d(view, layer.weight, padding=1, groups=4)
    np.testing.assert_allclose(layer(view).numpy(), expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("frozen", ["input", "weight"])
def test_what_needs_no_gradient_gets_none(frozen):
    layer = DepthwiseConv2D(4, 3)
    layer.weight.stop_gradient = frozen == "weight"
    x = paddle.randn([2, 4, 6, 6])
    x.stop_gradient = frozen == "input"
    layer(x).sum().backward()
    plain = nn.Conv2D(4, 4, 3, padding=1, groups=4, bias_attr=False)
    plain.weight.set_value(layer.weight)
    if frozen == "input":
        assert x.grad is None
        plain(x).sum().backward()
        np.testing.assert_allclose(layer.weight.grad.numpy(), plain.weight.grad.numpy(), rtol=1e-5)
    else:
        assert layer.weight.grad is None
        other = paddle.to_tensor(x.numpy(), stop_gradient=False)
        plain(other).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), other.grad.numpy(), rtol=1e-5, atol=1e-6)


BITS = """
import hashlib, numpy as np
from runtime import preparation
preparation.prepare("cpu", threads={threads})
import paddle
from models.kernels.batch_norm import BatchNorm2D, norm_relu6
from models.kernels.depthwise_conv2d import DepthwiseConv2D
paddle.seed(0)
x = paddle.to_tensor(np.random.default_rng(0).normal(size=(5, 7, 13, 11)).astype("float32"), stop_gradient=False)
conv, norm = DepthwiseConv2D(7, 3, 2), BatchNorm2D(7)
y = norm_relu6(norm, conv(x))
(y * y).sum().backward()
parts = (y, x.grad, conv.weight.grad, norm.weight.grad, norm.bias.grad, norm._variance)
print(hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest())
"""


def test_the_number_of_threads_does_not_change_a_bit():
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    found = {
        subprocess.run(
            [sys.executable, "-c", BITS.format(threads=threads)], cwd=ROOT, env=env, capture_output=True, check=True
        ).stdout
        for threads in (1, 2, 3)
    }
    assert len(found) == 1
