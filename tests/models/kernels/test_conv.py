"""The operators for dense convolutions against Paddle's own, in value and in gradients."""

import numpy as np
import paddle
import pytest
from paddle import nn

from models import kernels
from models.kernels import conv
from models.kernels.conv import Conv2D, Conv3D
from runtime import native
from tests.models.kernels.convolutions import agree, grads_agree, values

pytestmark = pytest.mark.skipif(
    not kernels.serve(paddle.ones([1])) or kernels.MKL is None, reason=f"{kernels.plan_line()}; MKL: {kernels.MKL}"
)


def pair(dtype, *arguments, **options):
    """A layer of ours and one of Paddle's with its weights."""
    paddle.seed(0)
    layer, plain = (kind(*arguments, bias_attr=False, **options).to(dtype=dtype) for kind in (Conv2D, nn.Conv2D))
    plain.weight.set_value(layer.weight)
    return layer, plain


@pytest.fixture
def called(monkeypatch):
    """Names of the operators that are called from now on."""
    names = []
    plain = kernels.call

    def counting(name, *arguments):
        names.append(name)
        plain(name, *arguments)

    monkeypatch.setattr(kernels, "call", counting)
    return names


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [(1, 1), (3, 8), (33, 17), (64, 64)], ids=str)
@pytest.mark.parametrize("size", [(1, 1), (1, 8), (2, 9), (7, 7), (14, 33), (56, 17)], ids=str)
@pytest.mark.parametrize("images", [1, 5])
def test_3x3_computes_what_paddle_computes(called, dtype, channels, size, images):
    layer, plain = pair(dtype, *channels, 3, padding=1)
    x = np.random.default_rng(0).normal(size=(images, channels[0], *size)).astype(dtype)
    agree(values(layer, x), values(plain, x), dtype)
    assert called == ["conv_winograd", "conv_winograd_grad"]


@pytest.mark.parametrize("kernel", [1, 2, 3, (3, 5), 7], ids=str)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_others_compute_what_paddle_computes(called, kernel, stride, padding):
    name = "conv_winograd" if (kernel, stride, padding) == (3, 1, 1) else "conv_im2col"
    for dtype in ("float32", "float64"):
        layer, plain = pair(dtype, 5, 6, kernel, stride, padding)
        for shape in ((1, 5, 7, 9), (2, 5, 40, 33), (90, 5, 8, 7)):
            x = np.random.default_rng(0).normal(size=shape).astype(dtype)
            agree(values(layer, x), values(plain, x), dtype)
    assert called == [name, f"{name}_grad"] * 6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [(1, 1, 1), (3, 7, 9), (8, 14, 5), (5, 40, 33)], ids=str)
@pytest.mark.parametrize(
    ("kernel", "stride", "name"),
    [
        ((1, 1, 1), 1, "conv_im2col"),
        ((1, 1, 1), 2, "conv_im2col"),
        ((3, 1, 1), 1, "conv_im2col"),
        ((7, 1, 1), 1, "conv_im2col"),
        ((1, 3, 3), 1, "conv_winograd"),
        ((1, 3, 3), 2, "conv_im2col"),
        ((1, 7, 7), 2, "conv_im2col"),
        ((3, 3, 3), 1, "conv_winograd"),
        ((5, 3, 3), 1, "conv_winograd"),
        ((3, 3, 3), 2, "conv_im2col"),
        ((3, 3, 3), (2, 2, 2), "conv_im2col"),
        ((7, 1, 1), (4, 1, 1), "conv_im2col"),
        ((3, 1, 1), (2, 1, 1), "conv_im2col"),
        ((5, 7, 7), 2, "conv_im2col"),
        ((5, 7, 7), (2, 2, 2), "conv_im2col"),
    ],
    ids=str,
)
@pytest.mark.parametrize("padding", ["half", "SAME"])
def test_over_clips_they_compute_what_paddle_computes(called, dtype, size, kernel, stride, name, padding):
    strides = [1, stride, stride] if isinstance(stride, int) else list(stride)
    halves = [side // 2 for side in kernel]
    options = {"stride": strides, "padding": halves if padding == "half" else padding, "bias_attr": False}
    paddle.seed(0)
    layer, plain = (kind(5, 6, kernel, **options).to(dtype=dtype) for kind in (Conv3D, nn.Conv3D))
    plain.weight.set_value(layer.weight)
    for clips in (1, 3):
        x = np.random.default_rng(0).normal(size=(clips, 5, *size)).astype(dtype)
        agree(values(layer, x), values(plain, x), dtype)
    assert called == [name, f"{name}_grad"] * 2


@pytest.mark.parametrize("padding", [0, 1, (2, 0, 3), (0, 1, 1)], ids=str)
@pytest.mark.parametrize("kernel", [(3, 3, 3), (2, 3, 3), (4, 1, 1), (1, 2, 5)], ids=str)
def test_paddings_of_clips_compute_what_paddle_computes(called, kernel, padding):
    paddle.seed(0)
    layer, plain = (kind(5, 6, kernel, padding=padding) for kind in (Conv3D, nn.Conv3D))
    paddle.nn.initializer.Normal()(layer.bias)
    plain.set_state_dict(layer.state_dict())
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 9, 7)).astype("float32")
    agree(values(layer, x), values(plain, x), "float32")
    assert len(called) == 4


@pytest.mark.parametrize(
    "options",
    [{"groups": 3}, {"dilation": 2}, {"stride": (1, 1, 2)}, {"padding": [1, 0, 1, 1, 0, 0]},
     {"padding": "VALID"}, {"padding_mode": "replicate"}, {"data_format": "NDHWC"}],
    ids=str,
)  # fmt: skip
def test_other_convolutions_over_clips_are_paddles(called, options):
    paddle.seed(0)
    kinds = {"kernel_size": 3, "padding": 1, "bias_attr": False, **options}
    layer, plain = (kind(6, 6, **kinds) for kind in (Conv3D, nn.Conv3D))
    plain.weight.set_value(layer.weight)
    x = paddle.randn([1, 6, 6, 6, 6])
    np.testing.assert_array_equal(layer(x).numpy(), plain(x).numpy())
    assert called == []


@pytest.mark.parametrize("options", [{"padding": 1}, {"padding": 1, "stride": 2}, {"padding": 0}], ids=str)
def test_maps_that_are_taken_apart_make_one_image(called, options):
    """More than is kept at a time, so that gradients of kernels are sums over several times."""
    layer, plain = pair("float64", 160, 96, 3, **options)
    x = np.random.default_rng(0).normal(size=(3, 160, 60, 30))
    agree(values(layer, x), values(plain, x), "float64")
    assert len(called) == 2


@pytest.mark.parametrize(
    "options",
    [{"padding": [1, 2]}, {"padding": "SAME"}, {"padding": 1, "stride": (1, 2)}, {"padding": 1, "dilation": 2},
     {"padding": 1, "groups": 2}, {"padding": 1, "padding_mode": "circular"}, {"padding": 1, "data_format": "NHWC"}],
    ids=str,
)  # fmt: skip
def test_other_convolutions_are_paddles(called, options):
    layer, plain = pair("float32", 6, 6, **{"kernel_size": 3, **options})
    x = paddle.randn([2, 6, 6, 6])
    assert np.array_equal(layer(x).numpy(), plain(x).numpy())
    assert called == []


def test_a_kernel_larger_than_the_map_is_left_to_paddle():
    layer, _ = pair("float32", 6, 6, 7, padding=1)
    assert layer._is_served(paddle.randn([1, 6, 5, 9]))
    assert not layer._is_served(paddle.randn([1, 6, 4, 9]))  # of which Paddle crashes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("size", [(6, 6), (33, 65)], ids=str)
def test_a_bias_is_added_and_gets_its_gradient(called, dtype, kernel, size):
    kinds = {"kernel_size": kernel, "padding": kernel // 2}
    layer, plain = (kind(4, 5, **kinds).to(dtype=dtype) for kind in (Conv2D, nn.Conv2D))
    paddle.nn.initializer.Normal()(layer.bias)
    plain.set_state_dict(layer.state_dict())
    x = np.random.default_rng(0).normal(size=(3, 4, *size)).astype(dtype)
    agree(values(layer, x), values(plain, x), dtype)
    agree([layer.bias.grad.numpy()], [plain.bias.grad.numpy()], dtype)
    assert called[1::2] == ["bias", "bias_grad"]


def test_a_bias_of_pixels_over_time_gets_its_gradient():
    layer, plain = (kind(4, 5, (3, 1, 1), padding=(1, 0, 0)).to(dtype="float64") for kind in (Conv3D, nn.Conv3D))
    paddle.nn.initializer.Normal()(layer.bias)
    plain.set_state_dict(layer.state_dict())
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 6, 7))
    agree(values(layer, x), values(plain, x), "float64")
    agree([layer.bias.grad.numpy()], [plain.bias.grad.numpy()], "float64")


@pytest.mark.parametrize("frozen", ["input", "weight", "bias"])
def test_of_three_what_needs_no_gradient_gets_none(frozen):
    layer, x = Conv2D(4, 5, 3, padding=1), paddle.randn([2, 4, 6, 6])
    tensors = {"input": x, "weight": layer.weight, "bias": layer.bias}
    for name, tensor in tensors.items():
        tensor.stop_gradient = name == frozen
    (layer(x) ** 3).sum().backward()
    assert [name for name, tensor in tensors.items() if tensor.grad is None] == [frozen]


def test_without_a_compiler_or_its_library_paddle_computes(called, monkeypatch):
    layer, plain = pair("float32", 4, 4, 3, padding=1)
    x = paddle.randn([1, 4, 6, 6])
    try:
        native.refuse("for a test")
        assert np.array_equal(layer(x).numpy(), plain(x).numpy())
    finally:
        native.refuse("")
    conv._gemm.cache_clear()
    monkeypatch.setattr(kernels, "MKL", None)
    try:
        assert np.array_equal(layer(x).numpy(), plain(x).numpy())
    finally:
        conv._gemm.cache_clear()
    assert called == []


def test_a_graph_is_traced_with_paddles_operator():
    layer, plain = pair("float32", 4, 4, 3, padding=1)
    x = paddle.randn([1, 4, 6, 6])
    traced = paddle.jit.to_static(layer, input_spec=[paddle.static.InputSpec([None, 4, 6, 6])], full_graph=True)
    np.testing.assert_allclose(traced(x).numpy(), plain(x).numpy(), atol=1e-6)


def test_what_is_not_a_number_stays_near(called):
    """It reaches the pixels around it, as far as its tile does, and no other image."""
    layer, _ = pair("float32", 2, 2, 3, padding=1)
    x = paddle.randn([2, 2, 12, 12])
    x[0, 0, 5, 5] = float("nan")
    found = np.isnan(layer(x).numpy())
    assert found[0, :, 4:7, 4:7].all()
    assert not found[1].any()
    assert found[0].sum() <= 2 * 8 * 8


@pytest.mark.parametrize("frozen", ["input", "weight"])
def test_what_needs_no_gradient_gets_none(called, frozen):
    for kernel in (1, 3, 5):
        grads_agree(*pair("float32", 4, 4, kernel, padding=kernel // 2), frozen)
    assert len(called) == 6
