"""The operator for depthwise convolution against Paddle's own, in value and in gradients."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

from models import kernels
from models.kernels.depthwise_conv import DepthwiseConv2D, DepthwiseConv3D
from runtime import native
from tests.models.kernels.convolutions import agree, grads_agree, values

pytestmark = pytest.mark.skipif(not kernels.serve(paddle.ones([1])), reason=kernels.plan_line())


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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", [(3, 3, 3), (5, 1, 1), (1, 3, 3), (3, 5, 1)])
@pytest.mark.parametrize("stride", [(1, 1), (1, 2), (1, 3), (2, 2), (3, 2), (2, 1)])
@pytest.mark.parametrize("size", [(1, 1, 1), (4, 5, 5), (2, 7, 6), (5, 14, 33), (13, 10, 10)])
def test_over_clips_it_computes_what_paddle_computes(dtype, kernel, stride, size):
    paddle.seed(0)
    layer = DepthwiseConv3D(3, kernel, stride).to(dtype=dtype)
    x = np.random.default_rng(0).normal(size=(2, 3, *size)).astype(dtype)
    found = values(layer, x)
    padding = [side // 2 for side in kernel]
    plain = nn.Conv3D(3, 3, kernel, [*stride, stride[1]], padding, groups=3, bias_attr=False)
    plain.to(dtype=dtype).weight.set_value(layer.weight)
    agree(found, values(plain, x), dtype)


def test_without_the_operator_paddle_computes(monkeypatch):
    layer = DepthwiseConv2D(4, 3)
    x = paddle.randn([1, 4, 6, 6])
    called = []
    monkeypatch.setattr(kernels, "call", lambda name, *_: called.append(name))
    layer(x)
    assert called == ["depthwise_conv"]
    try:
        native.refuse("for a test")
        y = layer(x)
    finally:
        native.refuse("")
    assert called == ["depthwise_conv"]
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
    grads_agree(DepthwiseConv2D(4, 3), nn.Conv2D(4, 4, 3, padding=1, groups=4, bias_attr=False), frozen)
