"""The backbones have torchvision's names, so that its weights load by name."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from models.mobilenet_v2 import MobileNetV2
from models.resnet import BasicBlock, Bottleneck, ResNet, resnet50, tiny


def norm_keys(prefix):
    return {f"{prefix}.{name}" for name in ("weight", "bias", "_mean", "_variance")}


def torchvision_resnet50_keys():
    keys = {"conv1.weight"} | norm_keys("bn1")
    for stage, depth in enumerate((3, 4, 6, 3), start=1):
        for block in range(depth):
            prefix = f"layer{stage}.{block}"
            for i in (1, 2, 3):
                keys |= {f"{prefix}.conv{i}.weight"} | norm_keys(f"{prefix}.bn{i}")
        keys |= {f"layer{stage}.0.downsample.0.weight"} | norm_keys(f"layer{stage}.0.downsample.1")
    return keys


def torchvision_mobilenet_v2_keys():
    keys = set()
    for i in (0, 18):
        keys |= {f"features.{i}.0.weight"} | norm_keys(f"features.{i}.1")
    keys |= {"features.1.conv.0.0.weight", "features.1.conv.1.weight"}
    keys |= norm_keys("features.1.conv.0.1") | norm_keys("features.1.conv.2")
    for i in range(2, 18):
        prefix = f"features.{i}.conv"
        keys |= {f"{prefix}.0.0.weight", f"{prefix}.1.0.weight", f"{prefix}.2.weight"}
        keys |= norm_keys(f"{prefix}.0.1") | norm_keys(f"{prefix}.1.1") | norm_keys(f"{prefix}.3")
    return keys


def test_resnet50_has_torchvision_keys():
    keys = set(resnet50().state_dict())
    assert keys == torchvision_resnet50_keys()
    assert len(keys) == 265


def test_mobilenet_v2_has_torchvision_keys():
    keys = set(MobileNetV2().state_dict())
    assert keys == torchvision_mobilenet_v2_keys()
    assert len(keys) == 260


def test_mobilenet_v2_shapes_follow_the_table():
    shapes = {name: list(p.shape) for name, p in MobileNetV2().state_dict().items()}
    assert shapes["features.0.0.weight"] == [32, 3, 3, 3]
    assert shapes["features.1.conv.0.0.weight"] == [32, 1, 3, 3]
    assert shapes["features.2.conv.0.0.weight"] == [96, 16, 1, 1]
    assert shapes["features.14.conv.2.weight"] == [160, 576, 1, 1]
    assert shapes["features.17.conv.2.weight"] == [320, 960, 1, 1]
    assert shapes["features.18.0.weight"] == [1280, 320, 1, 1]


def test_blocks_are_grouped_by_the_resolution_they_put_out():
    net = MobileNetV2()
    sizes = {}
    for i, layer in enumerate(net.features):
        layer.register_forward_post_hook(lambda _, __, y, i=i: sizes.__setitem__(f"features.{i}", y.shape[-1]))
    net.eval()
    net(paddle.zeros([1, 3, 224, 224]))
    assert [{sizes[path] for path in stage} for stage in net.block_paths] == [{56}, {28}, {14}, {7}]
    assert [path for stage in net.block_paths for path in stage] == [f"features.{i}" for i in range(2, 18)]


@pytest.mark.parametrize(("build", "channels"), [(tiny, 128), (MobileNetV2, 1280)])
def test_features_are_a_32nd_of_the_image(build, channels):
    net = build()
    assert net.out_channels == channels
    assert net(paddle.zeros([2, 3, 64, 96])).shape == [2, channels, 2, 3]


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (35, 50)])
def test_same_padding_is_a_row_behind_even_sides_and_one_at_both_ends_of_odd(size):
    x = paddle.randn([2, 8, *size], dtype="float64")
    conv = MobileNetV2(same_padding=True).to(dtype="float64").features[2].conv[1][0]  # 3x3 depthwise, stride 2
    before = [0 if side % 2 == 0 else 1 for side in reversed(size)]
    padded = F.pad(x.tile([1, 12, 1, 1]), [before[0], 1, before[1], 1])
    expected = F.conv2d(padded, conv.weight, stride=2, groups=96)
    np.testing.assert_allclose(conv(x.tile([1, 12, 1, 1])), expected, rtol=0, atol=1e-12)


def test_same_padding_holds_in_a_static_graph_for_images_of_any_size(tmp_path):
    net = MobileNetV2(same_padding=True)
    net.eval()
    spec = paddle.static.InputSpec([-1, 3, -1, -1], "float32")
    path = str(tmp_path / "net")
    paddle.jit.save(paddle.jit.to_static(net, input_spec=[spec], full_graph=True), path)
    loaded = paddle.jit.load(path)
    for size in ((64, 48), (51, 38), (33, 65)):
        images = paddle.randn([2, 3, *size])
        features = net(images).numpy()
        assert features.shape[2:] == tuple(-(-side // 32) for side in size)
        np.testing.assert_allclose(loaded(images), features, rtol=0, atol=1e-5 * np.abs(features).max())


def test_the_stride_of_a_bottleneck_sits_on_its_3x3_convolution():
    block = Bottleneck(64, 32, 2)
    assert (block.conv1._stride, block.conv2._stride) == ([1, 1], [2, 2])


def test_a_block_without_its_branch_is_its_shortcut():
    block = BasicBlock(8, 8, 1)
    block.eval()
    block.bn2.weight.set_value(paddle.zeros([8]))
    x = paddle.rand([2, 8, 5, 5])
    np.testing.assert_array_equal(block(x), x)


def test_weights_start_with_kaiming_variance_over_fan_out():
    paddle.seed(0)
    net = ResNet(Bottleneck, (1, 1, 1, 1))
    weight = net.layer4[0].conv2.weight.numpy()
    assert weight.std() == pytest.approx(np.sqrt(2 / (9 * 512)), rel=0.01)
    assert abs(weight.mean()) < 1e-4
