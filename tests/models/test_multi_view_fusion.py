"""Fusion: the fast computation against the published one, both against a loop, and where it is put."""

import itertools

import numpy as np
import paddle
import pytest
from paddle import nn

from configs.networks import MVF
from models import create_model
from models.mobilenet_v2 import MobileNetV2
from models.multi_view_fusion import MultiViewFusion, insert_multi_view_fusion
from models.resnet import resnet18, resnet50, tiny

VIEW_OF = {"T": "shift_conv", "H": "h_conv", "W": "w_conv"}


def fusion(net, num_frames, as_published=False, **options):
    """A module in float64 whose BatchNorm holds numbers that are not its defaults."""
    paddle.seed(3)
    module = MultiViewFusion(net, num_frames, **options).to(dtype="float64")
    module.as_published = as_published
    for name, value in module.state_dict().items():
        if name.startswith("bn."):
            value.set_value(paddle.rand(value.shape, dtype="float64") + 0.5)
    return module


def gradients_of(module, x, weight):
    leaf = paddle.to_tensor(x, stop_gradient=False)
    module.clear_gradients()
    y = module(leaf * 1.0)
    (y * weight).sum().backward()
    grads = {name: p.grad.numpy() for name, p in module.named_parameters() if not p.stop_gradient}
    return y.numpy(), {**grads, "input": leaf.grad.numpy()}


def fuse_by_hand(a, mode, kernels, norm):
    """a [C', T, H, W] of one video, one output position at a time."""
    out = np.zeros_like(a)
    for position in np.ndindex(*a.shape):
        for axis, view in enumerate("THW", start=1):
            if view not in mode:
                continue
            for k in range(3):
                source = list(position)
                source[axis] += k - 1
                if 0 <= source[axis] < a.shape[axis]:
                    out[position] += kernels[view][position[0], k] * a[tuple(source)]
    if norm is not None:
        scale, bias, mean, variance = (v[:, None, None, None] for v in norm)
        out = (out - mean) / np.sqrt(variance + 1e-5) * scale + bias
        out = out * np.clip(out + 3, 0, 6) / 6
    return out


@pytest.mark.parametrize("as_published", [True, False])
@pytest.mark.parametrize("mode", ["THW", "TH", "T"])
@pytest.mark.parametrize(("share", "use_hs"), [(False, True), (True, True), (True, False), (False, False)])
def test_fusion_is_what_the_loop_computes(as_published, mode, share, use_hs):
    rng = np.random.default_rng(0)
    frames, channels, fused = 4, 6, 3
    net = nn.Conv2D(channels, 2, 1, bias_attr=False)
    module = fusion(net, frames, alpha=0.5, mode=mode, share=share, use_hs=use_hs, as_published=as_published)
    module.eval()
    x = rng.standard_normal((2, frames, channels, 3, 5))
    state = {name: value.numpy() for name, value in module.state_dict().items()}
    kernels = {view: state[("shift_conv" if share else VIEW_OF[view]) + ".weight"].reshape(fused, 3) for view in mode}
    norm = [state[f"bn.{name}"] for name in ("weight", "bias", "_mean", "_variance")] if use_hs else None
    expected = x.copy()
    for video, values in enumerate(x):
        part = fuse_by_hand(values[:, :fused].transpose(1, 0, 2, 3), mode, kernels, norm)
        expected[video, :, :fused] = part.transpose(1, 0, 2, 3)
    expected = np.einsum("ntchw,oc->ntohw", expected, state["net.weight"][:, :, 0, 0])
    actual = module(paddle.to_tensor(x.reshape(-1, channels, 3, 5)))
    np.testing.assert_allclose(actual.numpy().reshape(expected.shape), expected, rtol=0, atol=1e-12)


CASES = list(itertools.product(["THW", "TH", "T"], [False, True], [False, True], [1, 4, 8, 16]))


@pytest.mark.parametrize(("mode", "share", "use_hs", "num_frames"), CASES)
@pytest.mark.parametrize("convolution", [{"kernel_size": 1}, {"kernel_size": 3, "stride": 2, "padding": 1}])
def test_banded_equals_published_in_value_and_gradient(mode, share, use_hs, num_frames, convolution):
    rng = np.random.default_rng(num_frames)
    net = nn.Conv2D(10, 3, bias_attr=False, **convolution)
    options = {"alpha": 0.45, "mode": mode, "share": share, "use_hs": use_hs}
    modules = [fusion(net, num_frames, published, **options) for published in (True, False)]
    modules[1].set_state_dict(modules[0].state_dict())
    x = rng.standard_normal((2 * num_frames, 10, 5, 7))
    weight = paddle.to_tensor(rng.standard_normal(modules[0](paddle.to_tensor(x)).shape))
    modules[1].set_state_dict(modules[0].state_dict())  # the call above has moved the running statistics
    (value, grads), (fast_value, fast_grads) = (gradients_of(module, x, weight) for module in modules)
    np.testing.assert_allclose(fast_value, value, rtol=0, atol=1e-12)
    assert grads.keys() == fast_grads.keys()
    for name, grad in grads.items():
        np.testing.assert_allclose(fast_grads[name], grad, rtol=1e-12, atol=1e-10, err_msg=name)
        assert np.abs(grad).max() > 0, name
    for name, value in modules[0].state_dict().items():
        np.testing.assert_allclose(modules[1].state_dict()[name], value, rtol=1e-12, err_msg=name)


def test_all_channels_can_be_fused():
    net = nn.Conv2D(4, 2, 1, bias_attr=False)
    modules = [fusion(net, 3, published, alpha=1.0) for published in (True, False)]
    x = paddle.randn([6, 4, 3, 3], dtype="float64")
    np.testing.assert_allclose(modules[0](x), modules[1](x), atol=1e-12)


def test_only_parameters_that_are_used_exist():
    net = nn.Conv2D(16, 4, 1, bias_attr=False)

    def names(**options):
        return {name.split(".")[0] for name in MultiViewFusion(net, 4, **options).state_dict()}

    assert names() == {"net", "shift_conv", "h_conv", "w_conv", "bn"}
    assert names(mode="TH") == {"net", "shift_conv", "h_conv", "bn"}
    assert names(mode="T", use_hs=False) == {"net", "shift_conv"}
    assert names(share=True) == {"net", "shift_conv", "bn"}


def test_parameters_have_the_published_shapes_and_start():
    paddle.seed(0)
    module = MultiViewFusion(nn.Conv2D(4096, 1, 1, bias_attr=False), 16)
    shapes = {name: list(p.shape) for name, p in module.named_parameters() if "conv" in name}
    assert shapes == {
        "shift_conv.weight": [512, 1, 3, 1, 1],
        "h_conv.weight": [512, 1, 1, 3, 1],
        "w_conv.weight": [512, 1, 1, 1, 3],
    }
    assert module.h_conv.weight.numpy().std() == pytest.approx(np.sqrt(2 / (3 * 512)), rel=0.1)


def fused_channels(net):
    return {name: m.channels for name, m in net.named_sublayers() if isinstance(m, MultiViewFusion)}


def test_resnet50_fuses_the_nine_blocks_of_its_last_two_stages():
    net = resnet50()
    insert_multi_view_fusion(net, 16, MVF())
    expected = {"layer3.0.conv1": 64, "layer4.0.conv1": 128, "layer4.1.conv1": 256, "layer4.2.conv1": 256}
    assert fused_channels(net) == {**expected, **{f"layer3.{i}.conv1": 128 for i in range(1, 6)}}


@pytest.mark.parametrize("stages", [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 1)])
def test_stages_are_chosen(stages):
    net = resnet18()
    insert_multi_view_fusion(net, 16, MVF(mvf_stages=stages))
    assert set(fused_channels(net)) == {f"layer{s + 1}.{b}.conv1" for s in range(4) if stages[s] for b in range(2)}


def test_mobilenet_v2_fuses_its_expansions():
    net = MobileNetV2()
    insert_multi_view_fusion(net, 8, MVF())
    assert fused_channels(net) == {
        f"features.{i}.conv.0.0": c for i, c in zip(range(7, 18), (4, 8, 8, 8, 8, 12, 12, 12, 20, 20, 20), strict=True)
    }


def test_too_few_channels_leave_the_convolution_plain():
    net = tiny()
    plain = set(net.state_dict())
    insert_multi_view_fusion(net, 8, MVF(mvf_alpha=0.0))
    assert set(net.state_dict()) == plain
    insert_multi_view_fusion(net, 8, MVF(mvf_alpha=1 / 64))
    assert fused_channels(net) == {"layer3.1.conv1": 1, "layer4.0.conv1": 1, "layer4.1.conv1": 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mvf_mode": "HW"}, "mvf_mode must be one of THW, TH, T, got 'HW'"),
        ({"mvf_alpha": -0.1}, "mvf_alpha must be between 0 and 1, got -0.1"),
        ({"mvf_alpha": 1.1}, "mvf_alpha must be between 0 and 1, got 1.1"),
        ({"mvf_stages": (0, 0, 1)}, "mvf_stages must be four of 0 or 1"),
        ({"mvf_stages": (0, 0, 1, 2)}, "mvf_stages must be four of 0 or 1"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        create_model("mvf_tiny", num_classes=3, num_frames=8, **options)
