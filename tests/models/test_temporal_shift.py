"""The shift against a loop over frames and channels, and the blocks it is put into."""

import re

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

from configs.networks import TSM
from models import create_model
from models.mobilenet_v2 import MobileNetV2
from models.resnet import resnet50, resnet101, tiny
from models.temporal_shift import (
    DIRECTIONS,
    TemporalPool,
    TemporalShift,
    channel_bounds,
    insert_temporal_shift,
    shift,
    shift_by_rows,
    shift_by_slices,
)


def folds(fold, direction):
    return tuple(i * fold for i in range(len(DIRECTIONS[direction]) + 1))


def shift_by_hand(x, num_frames, fold, direction):
    """One frame and one channel at a time, as the paper's figure 1 shows it."""
    out = np.zeros_like(x)
    for image in range(x.shape[0]):
        t = image % num_frames
        for c in range(x.shape[1]):
            moves = c // fold
            if direction == "online":
                step = -1 if moves == 0 else 0
            else:
                step = {0: 1, 1: -1}.get(moves, 0) * (1 if direction == "mit" else -1)
            if 0 <= t + step < num_frames:
                out[image, c] = x[image + step, c]
    return out


def shifted_names(net):
    return [name for name, layer in net.named_sublayers() if isinstance(layer, TemporalShift)]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("num_frames", [1, 2, 3, 8])
@pytest.mark.parametrize(("channels", "fold"), [(16, 2), (24, 3), (7, 3), (64, 9), (4, 2)])
def test_shift_moves_what_the_loop_moves(direction, num_frames, channels, fold):
    x = np.random.default_rng(0).standard_normal((2 * num_frames, channels, 3, 2), dtype=np.float32)
    expected = shift_by_hand(x, num_frames, fold, direction)
    for move in (shift_by_rows, shift_by_slices):
        bounds = folds(fold, direction)
        np.testing.assert_array_equal(move(paddle.to_tensor(x), num_frames, bounds, direction), expected)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("num_frames", [1, 4])
def test_rows_and_slices_have_the_same_gradient(direction, num_frames):
    x = np.random.default_rng(1).standard_normal((3 * num_frames, 12, 2, 3))
    weight = paddle.to_tensor(np.random.default_rng(2).standard_normal(x.shape))
    gradients = []
    for move in (shift_by_rows, shift_by_slices):
        leaf = paddle.to_tensor(x, stop_gradient=False)
        (move(leaf * 1.0, num_frames, folds(3, direction), direction) * weight).sum().backward()
        gradients.append(leaf.grad.numpy())
    np.testing.assert_array_equal(*gradients)
    assert np.count_nonzero(gradients[0]) or num_frames == 1


def operator_bounds(channels, shift_div):
    """Which channels Paddle's operator takes from the previous frame and from the next, seen from the middle of 3."""
    x = paddle.arange(1, 4, dtype="float32").reshape([3, 1, 1, 1]).expand([3, channels, 1, 1])
    came_from = F.temporal_shift(x, 3, 1 / shift_div)[1].flatten().numpy().tolist()
    first, second = came_from.count(1), came_from.count(3)
    assert came_from == [1] * first + [3] * second + [2] * (channels - first - second)
    return 0, first, first + second


@pytest.mark.parametrize("shift_div", range(3, 17))  # the operator takes no ratio of 1 / 2
def test_the_paddle_direction_cuts_the_channels_where_its_operator_does(shift_div):
    for channels in [*range(1, 70), 96, 100, 128, 144, 160, 192, 256, 320, 384, 512, 576, 960, 1024, 1000, 2048]:
        assert channel_bounds(channels, shift_div, "paddle") == operator_bounds(channels, shift_div), channels
    fold = 128 // shift_div
    assert channel_bounds(128, shift_div, "mit") == (0, fold, 2 * fold)
    assert channel_bounds(128, shift_div, "online") == (0, fold)


def test_the_folds_of_the_paddle_direction_may_differ():
    assert channel_bounds(128, 10, "paddle") == (0, 12, 25)
    assert channel_bounds(10, 16, "paddle") == (0, 0, 1)


@pytest.mark.parametrize(("channels", "shift_div"), [(16, 8), (128, 10), (30, 16), (10, 16), (9, 4), (20, 3)])
def test_the_paddle_direction_is_that_of_its_own_operator(channels, shift_div):
    x = np.random.default_rng(0).standard_normal((6, channels, 2, 3))
    factors = paddle.to_tensor(np.random.default_rng(1).standard_normal(x.shape))
    bounds = channel_bounds(channels, shift_div, "paddle")

    def value_and_gradient(move):
        leaf = paddle.to_tensor(x, stop_gradient=False)
        y = move(leaf)
        (y * factors).sum().backward()
        return y.numpy(), leaf.grad.numpy()

    expected = value_and_gradient(lambda leaf: F.temporal_shift(leaf, 3, 1 / shift_div))
    for move in (shift, shift_by_rows, shift_by_slices):
        found = value_and_gradient(lambda leaf, move=move: move(leaf, 3, bounds, "paddle"))
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(shift(paddle.to_tensor(x), 3, bounds, "mit"), expected[0])


def test_online_never_looks_ahead():
    x = np.random.default_rng(0).standard_normal((5, 8, 1, 1), dtype=np.float32)
    changed = x.copy()
    changed[3:] += 1
    before, after = (shift(paddle.to_tensor(v), 5, (0, 2), "online").numpy() for v in (x, changed))
    np.testing.assert_array_equal(before[:3], after[:3])


def test_module_shifts_before_its_layer_and_passes_channels_too_few_for_a_fold():
    conv = nn.Conv2D(16, 4, 1)
    x = paddle.randn([4, 16, 3, 3])
    shifted = paddle.to_tensor(shift_by_hand(x.numpy(), 4, 2, "mit"))
    np.testing.assert_array_equal(TemporalShift(conv, 4, 8)(x), conv(shifted))
    np.testing.assert_array_equal(TemporalShift(conv, 4, 17)(x), conv(x))


def test_blockres_leaves_the_shortcut_and_block_shifts_it():
    x = paddle.rand([4, 16, 4, 4])
    for place, path in (("blockres", "layer1.0.conv1.net.weight"), ("block", "layer1.0.net.conv1.weight")):
        net = tiny()
        insert_temporal_shift(net, 4, TSM(shift_place=place))
        assert path in net.state_dict()
        assert path.replace(".net", "") not in net.state_dict()
        net.eval()
        block = net.layer1[0]
        inner = block.net if place == "block" else block
        inner.bn2.weight.set_value(paddle.zeros([16]))  # the branch gives nothing, the block is its shortcut
        expected = shift_by_hand(x.numpy(), 4, 2, "mit") if place == "block" else x.numpy()
        np.testing.assert_array_equal(block(x), expected)


def test_resnet50_shifts_every_block_and_resnet101_every_second():
    net = resnet50()
    plain = set(net.state_dict())
    insert_temporal_shift(net, 8, TSM())
    names = shifted_names(net)
    assert len(names) == 16
    assert {re.sub(r"\.net\b", "", key) for key in net.state_dict()} == plain
    deep = resnet101()
    insert_temporal_shift(deep, 8, TSM())
    assert len(shifted_names(deep)) == 18
    assert [n for n in shifted_names(deep) if "layer1" in n] == ["layer1.0.conv1", "layer1.2.conv1"]


def test_deep_blocks_all_shift_when_wrapped_whole():
    net = resnet101()
    insert_temporal_shift(net, 8, TSM(shift_place="block"))
    assert len(shifted_names(net)) == 33


def test_mobilenet_v2_shifts_the_ten_blocks_with_a_shortcut():
    net = MobileNetV2()
    insert_temporal_shift(net, 8, TSM())
    assert shifted_names(net) == [f"features.{i}.conv.0.0" for i in (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)]
    assert "features.3.conv.0.0.net.weight" in net.state_dict()


def test_temporal_pool_takes_the_maximum_of_three_at_every_second_frame():
    x = np.random.default_rng(0).standard_normal((2, 6, 5, 2, 3), dtype=np.float32)  # [N, T, C, H, W]
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)), constant_values=-np.inf)
    expected = np.stack([padded[:, t : t + 3].max(axis=1) for t in (0, 2, 4)], axis=1)
    pooled = TemporalPool(nn.Identity(), 6)(paddle.to_tensor(x.reshape(12, 5, 2, 3)))
    np.testing.assert_array_equal(pooled, expected.reshape(6, 5, 2, 3))


def test_temporal_pool_halves_the_frames_from_the_second_stage_on():
    model = create_model("tsm_tiny", num_classes=3, num_frames=8, temporal_pool=True)
    assert "backbone.layer2.net.0.conv1.net.weight" in model.state_dict()
    assert "backbone.layer1.0.conv1.net.weight" in model.state_dict()
    features, num_frames = model.extract(paddle.randn([2, 8, 3, 32, 32]))
    assert (features.shape[0], num_frames) == (8, 4)
    frames = {n: m.num_frames for n, m in model.backbone.named_sublayers() if isinstance(m, TemporalShift)}
    assert frames["layer1.1.conv1"] == 8
    assert frames["layer2.net.0.conv1"] == frames["layer4.1.conv1"] == 4
    with pytest.raises(ValueError, match=r"even number of frames, got 5"):
        model(paddle.randn([1, 5, 3, 32, 32]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shift_place": "inblock"}, "shift_place must be one of blockres, block, got 'inblock'"),
        ({"shift_direction": "both"}, "shift_direction must be one of mit, paddle, online, got 'both'"),
        ({"shift_div": 1}, "shift_div must be at least 2, got 1"),
        ({"temporal_pool": True, "num_frames": 7}, "temporal_pool must be off for an odd number of frames"),
        ({"network": "tsm_mobilenet_v2", "temporal_pool": True}, "temporal_pool must be off for tsm_mobilenet_v2"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        create_model(**{"network": "tsm_tiny", "num_classes": 2, "num_frames": 8, **options})
