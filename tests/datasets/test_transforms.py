"""Boxes against hand-made arithmetic, pixels against OpenCV and plain NumPy."""

import cv2
import numpy as np
import pytest

from configs import Recipe, RecipeError
from datasets import transforms
from datasets.transforms import Box, Draw, EvalTransform, Jitter, TrainTransform
from tests.datasets.media import moving_frames


@pytest.fixture
def frames() -> np.ndarray:
    return moving_frames(3, height=48, width=64)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def recipe(**changes) -> Recipe:
    values = {"short_side": 40, "crop_size": 32, "test_size": 40, "flip": 0.0}
    return Recipe.of(**{**values, **changes})


def normalized(frames: np.ndarray) -> np.ndarray:
    """The plain formula, channels first."""
    mean, std = (np.array(v, np.float64) for v in (Recipe().pixels.mean, Recipe().pixels.std))
    return ((frames - mean) / std).transpose(0, 3, 1, 2)


def as_tuples(boxes) -> list[tuple[int, int, int, int]]:
    return [(box.x, box.y, box.width, box.height) for box in boxes]


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(240, 320, (256, 341)), (320, 240, (341, 256)), (256, 340, (256, 340)), (100, 100, (256, 256))],
)
def test_short_side(height, width, expected):
    assert transforms.short_side_size(height, width, 256) == expected


def test_resize_is_opencv_bilinear(frames):
    resized = transforms.resize(frames, 40, 53)
    assert resized.shape == (3, 40, 53, 3)
    assert np.array_equal(resized[1], cv2.resize(frames[1], (53, 40), interpolation=cv2.INTER_LINEAR))
    assert transforms.resize(frames, *frames.shape[1:3]) is frames


def test_a_shape_takes_the_place_of_the_short_side(frames):
    distorted = recipe(resize_shape=(40, 61), crop_size=40, test_crops="center", train_crop="center")
    out = np.empty((1, 3, 3, 40, 40), np.float32)
    EvalTransform(distorted).apply(frames, out)
    resized = np.stack([cv2.resize(frame, (61, 40), interpolation=cv2.INTER_LINEAR) for frame in frames])
    np.testing.assert_allclose(out[0], normalized(resized[:, :, 10:50]), atol=1e-5)
    assert TrainTransform(distorted).draw(480, 640, rng()).box == Box(10, 0, 40, 40)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((128,), "resize_shape must be height and width"), ((0, 5), "resize_shape must be"), ((100, 171), "at most")],
)
def test_other_shapes_are_refused(shape, message):
    with pytest.raises(RecipeError, match=message):
        Recipe.of(resize_shape=shape, crop_size=112, test_size=112)


def test_three_crops_go_left_right_middle():
    assert as_tuples(transforms.three_crop_boxes(256, 341, 256)) == [(x, 0, 256, 256) for x in (0, 84, 42)]
    assert as_tuples(transforms.three_crop_boxes(341, 256, 256)) == [(0, y, 256, 256) for y in (0, 84, 42)]
    assert as_tuples(transforms.three_crop_boxes(256, 256, 256)) == [(0, 0, 256, 256)] * 3
    assert as_tuples(transforms.three_crop_boxes(256, 340, 224)) == [(x, 16, 224, 224) for x in (0, 116, 58)]


def test_ten_crops_go_round_the_corners_to_the_center():
    corners = [(0, 0), (116, 0), (0, 32), (116, 32), (58, 16)]
    assert as_tuples(transforms.ten_crop_boxes(256, 340, 224)) == [(x, y, 224, 224) for x, y in corners]


def test_center_crop_box():
    assert transforms.center_crop_box(256, 341, 224) == Box(58, 16, 224, 224)


def test_random_resized_crop_boxes():
    height, width = 256, 341
    boxes = [transforms.random_resized_crop_box(height, width, rng(seed)) for seed in range(500)]
    areas = np.array([box.width * box.height / (height * width) for box in boxes])
    ratios = np.array([box.width / box.height for box in boxes])
    assert all(0 <= b.x <= width - b.width and 0 <= b.y <= height - b.height for b in boxes)
    assert 0.079 < areas.min() < 0.12
    assert 0.85 < areas.max() <= 1
    assert 0.74 < ratios.min() < 0.8
    assert 1.25 < ratios.max() < 1.35
    assert abs(np.log(ratios).mean()) < 0.05  # uniform in the logarithm
    assert any(b.x == width - b.width for b in boxes)
    assert any(b.y == height - b.height for b in boxes)  # the last offset is drawn too


def test_random_resized_crop_falls_back_to_the_center():
    assert transforms.random_resized_crop_box(10, 1000, rng()) == Box(495, 0, 10, 10)


def test_multi_scale_sizes():
    scales = (1.0, 0.875, 0.75, 0.66)  # of 256: 256, 224, 192, 168
    sizes = transforms.multi_scale_sizes(256, 340, 224, scales, max_gap=1)
    assert sizes == [
        (256, 256), (224, 256), (256, 224), (224, 224), (192, 224), (224, 192), (192, 192), (168, 192), (192, 168),
        (168, 168),
    ]  # fmt: skip
    assert transforms.multi_scale_sizes(256, 340, 224, (1, 0.8), max_gap=0) == [(256, 256), (204, 204)]
    # less than 3 pixels off the input size: taken for it
    assert transforms.multi_scale_sizes(226, 340, 224, (1,), max_gap=0) == [(224, 224)]
    assert transforms.multi_scale_sizes(227, 340, 224, (1,), max_gap=0) == [(227, 227)]


@pytest.mark.parametrize(
    ("points", "places"),
    [
        (5, {(0, 0), (116, 0), (0, 32), (116, 32), (58, 16)}),
        (13, {(x * 29, y * 8) for x in range(5) for y in range(5) if (x + y) % 2 == 0}),
    ],
)
def test_multi_scale_places(points, places):
    boxes = [transforms.multi_scale_crop_box(256, 340, 224, (0.875,), 0, points, rng(seed)) for seed in range(300)]
    assert {(box.x, box.y) for box in boxes} == places
    assert {(box.width, box.height) for box in boxes} == {(224, 224)}


def test_source_box_covers_the_same_part():
    assert transforms.source_box(Box(0, 0, 341, 256), (256, 341), (240, 320)) == Box(0, 0, 320, 240)
    assert transforms.source_box(Box(100, 50, 200, 100), (256, 512), (512, 1024)) == Box(200, 100, 400, 200)
    assert transforms.source_box(Box(5, 5, 1, 1), (256, 256), (32, 32)) == Box(1, 1, 1, 1)


def test_flip_and_its_label(frames):
    assert np.array_equal(transforms.flip(frames)[1], cv2.flip(frames[1], 1))
    pairs = ((0, 1), (6, 7))
    assert [transforms.flip_label(label, pairs) for label in range(9)] == [1, 0, 2, 3, 4, 5, 7, 6, 8]
    assert transforms.flip_label(3, ()) == 3


def test_normalize_is_the_formula_for_every_value():
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    out = np.empty((1, 3, 16, 16), np.float32)
    transforms.normalize(values, transforms.normalize_table(Recipe().pixels.mean, Recipe().pixels.std), out)
    np.testing.assert_allclose(out, normalized(values), rtol=0, atol=3e-7 * 4)


def test_color_jitter_steps(frames):
    plain = frames.astype(np.float32)
    gray = plain @ np.array([0.2989, 0.587, 0.114], np.float32)
    means = gray.mean(axis=(1, 2))[:, None, None, None]

    def differs(jitter: Jitter, expected: np.ndarray) -> int:
        expected = np.clip(expected, 0, 255).astype(np.uint8).astype(int)
        return np.abs(transforms.color_jitter(frames, jitter).astype(int) - expected).max()

    assert np.array_equal(transforms.color_jitter(frames, Jitter(1, 1, 1, 0)), frames)
    assert differs(Jitter(1.5, 1, 1, 0), plain * 1.5) == 0
    assert differs(Jitter(1, 0.5, 1, 0), 0.5 * plain + 0.5 * means) <= 1  # float32 sums round
    assert differs(Jitter(1, 1, 0.3, 0), 0.3 * plain + 0.7 * gray[..., None]) <= 1


def test_color_jitter_turns_the_hue():
    red = np.zeros((1, 4, 4, 3), np.uint8)
    red[..., 0] = 200
    assert transforms.color_jitter(red, Jitter(1, 1, 1, 60))[0, 0, 0].tolist() == [0, 200, 0]  # OpenCV: 180 is a turn
    assert transforms.color_jitter(red, Jitter(1, 1, 1, -60))[0, 0, 0].tolist() == [0, 0, 200]


def test_color_jitter_order_matters(frames):
    first, second = (Jitter(1.8, 1, 1, 20, order) for order in ((0, 1, 2, 3), (3, 1, 2, 0)))
    assert not np.array_equal(transforms.color_jitter(frames, first), transforms.color_jitter(frames, second))


def test_draw_jitter_ranges():
    draws = [transforms.draw_jitter(0.5, rng(seed)) for seed in range(300)]
    factors = np.array([(d.brightness, d.contrast, d.saturation) for d in draws])
    assert 0.5 <= factors.min() < 0.52
    assert 1.48 < factors.max() <= 1.5
    assert {d.hue for d in draws} >= {-24, 0, 24}
    assert max(abs(d.hue) for d in draws) <= 25
    assert len({d.order for d in draws}) == 24
    assert min(transforms.draw_jitter(2.0, rng(seed)).brightness for seed in range(100)) >= 0


def test_train_applies_its_draw(frames):
    transform = TrainTransform(recipe())
    out = np.empty((3, 3, 32, 32), np.float32)
    transform.apply(frames, Draw(Box(5, 2, 40, 30), flip=True, jitter=Jitter(1.3, 1, 1, 0)), out)
    expected = []
    for frame in frames:
        frame = cv2.resize(cv2.resize(frame, (53, 40))[2:32, 5:45], (32, 32))
        expected.append(np.clip(cv2.flip(frame, 1) * np.float32(1.3), 0, 255).astype(np.uint8))
    np.testing.assert_allclose(out, normalized(np.stack(expected)), atol=2e-6)


@pytest.mark.parametrize("train_crop", ["random_resized", "multi_scale", "center"])
def test_train_draws_follow_the_recipe(train_crop):
    transform = TrainTransform(recipe(train_crop=train_crop, flip=0.5, color_jitter=0.4))
    draws = [transform.draw(48, 64, rng(seed)) for seed in range(200)]
    sizes = {(d.box.width, d.box.height) for d in draws}
    if train_crop == "center":
        assert {d.box for d in draws} == {Box(10, 4, 32, 32)}
    elif train_crop == "multi_scale":
        allowed = transforms.multi_scale_sizes(40, 53, 32, Recipe().pixels.crop_scales, 1)
        assert sizes == set(allowed)
    else:
        assert len(sizes) > 100
    assert 60 < sum(d.flip for d in draws) < 140
    assert len({d.jitter for d in draws}) == 200
    assert transform.draw(48, 64, rng(3)) == draws[3]


@pytest.mark.parametrize(("flip", "count"), [(0.0, 0), (1.0, 50)])
def test_flip_probability_at_its_ends(flip, count):
    transform = TrainTransform(recipe(flip=flip))
    draws = [transform.draw(48, 64, rng(seed)) for seed in range(50)]
    assert sum(d.flip for d in draws) == count
    assert all(d.jitter is None for d in draws)


def test_maps_follow_the_pixels_of_their_frames():
    """The place of each pixel, written into the frames, is found again at the same place of the view."""
    y, x = np.meshgrid(np.arange(48), np.arange(64), indexing="ij")
    places = np.stack([y, x, np.zeros_like(x)], axis=2).astype(np.uint8)[None].repeat(2, axis=0)  # [2, 48, 64, 3]
    options = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "test_crops": "three"}
    train = TrainTransform(recipe(**options))
    draw = Draw(Box(5, 2, 40, 30), flip=True)
    view = np.empty((2, 3, 32, 32), np.float32)
    train.apply(places, draw, view)
    np.testing.assert_allclose(train.warp(places, draw)[0].transpose(0, 3, 1, 2), view, atol=1.5)
    evaluation = EvalTransform(recipe(**options))
    np.testing.assert_allclose(evaluation.warp(places).transpose(0, 1, 4, 2, 3), views_of(evaluation, places), atol=1.5)
    one = evaluation.warp(places[..., :1])
    assert (one == evaluation.warp(places)[..., :1]).all()


def views_of(transform, frames):
    out = np.empty((transform.num_crops, len(frames), 3, transform.size, transform.size), np.float32)
    transform.apply(frames, out)
    return out


def test_validation_takes_the_center(frames):
    views = views_of(EvalTransform(recipe(), "val"), frames)
    assert views.shape == (1, 3, 3, 32, 32)
    resized = transforms.resize(frames, 40, 53)
    np.testing.assert_allclose(views[0], normalized(resized[:, 4:36, 10:42]), atol=2e-6)


def test_three_test_crops(frames):
    views = views_of(EvalTransform(recipe(test_crops="three")), frames)
    resized = transforms.resize(frames, 40, 53)
    assert views.shape == (3, 3, 3, 40, 40)
    for view, x in zip(views, (0, 12, 6), strict=True):
        np.testing.assert_allclose(view, normalized(resized[:, :, x : x + 40]), atol=2e-6)


def test_ten_test_crops_alternate_plain_and_flipped(frames):
    views = views_of(EvalTransform(recipe(test_crops="ten", test_size=32)), frames)
    resized = transforms.resize(frames, 40, 53)
    assert views.shape == (10, 3, 3, 32, 32)
    for i, (x, y) in enumerate([(0, 0), (20, 0), (0, 8), (20, 8), (10, 4)]):
        expected = normalized(resized[:, y : y + 32, x : x + 32])
        np.testing.assert_allclose(views[2 * i], expected, atol=2e-6)
        np.testing.assert_allclose(views[2 * i + 1], expected[..., ::-1], atol=2e-6)


@pytest.mark.parametrize("test_crops", ["center", "three", "ten"])
def test_number_of_crops(test_crops):
    transform = EvalTransform(recipe(test_crops=test_crops))
    assert transform.num_crops == len(transform.boxes(48, 64)) == {"center": 1, "three": 3, "ten": 10}[test_crops]
    assert EvalTransform(recipe(test_crops=test_crops), "val").num_crops == 1


@pytest.mark.parametrize("fused", [False, True])
def test_fused_resize_is_close_and_not_the_same(fused):
    frames = cv2.GaussianBlur(moving_frames(1, height=240, width=320)[0], (0, 0), 3)[None]
    changes = {"short_side": 256, "crop_size": 224, "test_size": 256, "test_crops": "three"}
    draw = Draw(Box(33, 21, 190, 170))
    plain, other = (np.empty((1, 3, 224, 224), np.float32) for _ in range(2))
    TrainTransform(recipe(**changes)).apply(frames, draw, plain)
    TrainTransform(recipe(**changes, fused_resize=fused)).apply(frames, draw, other)
    views, fused_views = (views_of(EvalTransform(recipe(**changes, fused_resize=f)), frames) for f in (False, fused))
    gray_levels = [np.abs(a - b).mean() * 58 for a, b in ((plain, other), (views, fused_views))]
    if fused:
        assert all(0 < level < 2.5 for level in gray_levels), gray_levels
    else:
        assert gray_levels == [0, 0]
