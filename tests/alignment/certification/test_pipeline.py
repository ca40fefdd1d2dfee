"""The stage `data`: our pipeline passes it, and each of many slips fails it, in the function that has the slip."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from alignment.certification.data.cases import Draws, render_media, sample_frames
from alignment.certification.data.pipeline import Pipeline, compare_data, ours, reference
from alignment.sides.pair import IncomparableError
from configs import Recipe
from datasets import transforms
from datasets.dataset import load_views
from datasets.transforms import Box


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """One small video, for the tests that need not look at all media."""
    return [render_media(tmp_path_factory.mktemp("media"), seed=0)[1]]


@pytest.mark.parametrize("seed", [0, 1])
def test_ours_passes(seed):
    stage = compare_data(seed=seed)
    assert stage.passed, stage.sentence
    assert (stage.name, stage.sentence, stage.place) == ("data", "", "")
    functions = {record.name.split(" ")[0] for record in stage.records}
    assert functions == set(Pipeline.__dataclass_fields__)  # every function is in the name of a record


def test_a_record_says_how_far_pixels_are_apart():
    records = {record.name: record for record in compare_data(only=["resize", "decode"]).records}
    resize = records["resize (60 x 80 to 40 x 53)"]
    assert resize.difference.max_abs == 1  # the two do differ: OpenCV computes with 11 bits
    assert resize.required <= resize.tolerance
    assert records["decode (images)"].required == 0


def bgr(function):
    return lambda *arguments: function(*arguments)[..., ::-1]


def shifted_index(function):
    return lambda *arguments: function(*arguments) + 1


def resized(**options):
    """Bilinear by PyTorch, with other options."""

    def resize(frames, height, width):
        images = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()
        images = torch.nn.functional.interpolate(images, (height, width), mode="bilinear", **options)
        return images.round().byte().permute(0, 2, 3, 1).numpy()

    return resize


def resized_by(interpolation):
    return lambda frames, height, width: np.stack(
        [cv2.resize(frame, (width, height), interpolation=interpolation) for frame in frames]
    )


def truncated_resize(frames, height, width):
    images = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).double()
    images = torch.nn.functional.interpolate(images, (height, width), mode="bilinear")
    return images.byte().permute(0, 2, 3, 1).numpy()


def rounded_test_indices(num_frames, recipe):
    """The segments' middles rounded where mmaction cuts off."""
    if recipe.clip.sampling != "mit" or recipe.clip.test_clips > 1:
        return OURS.test_indices(num_frames, recipe)
    part = num_frames / (recipe.clip.test_segments or recipe.clip.num_segments)
    middles = [
        round(i * part + part / 2) % num_frames for i in range(recipe.clip.test_segments or recipe.clip.num_segments)
    ]
    return np.array([middles])


class ShortDraws:
    """A generator whose whole numbers never reach the last one."""

    def __init__(self, draws):
        self.draws = draws
        self.uniform, self.random, self.permutation = draws.uniform, draws.random, draws.permutation

    def integers(self, low, high=None, size=None):
        start, stop = (0, low) if high is None else (low, high)
        return self.draws.integers(start, max(stop - 1, start + 1), size)


def with_recipe(function, place, **changes):
    """`function` with a recipe that is slightly another."""

    def changed(*arguments):
        arguments = list(arguments)
        arguments[place] = arguments[place].with_(**changes)
        return function(*arguments)

    return changed


def contrast_of_the_clip(frames, jitter):
    """Contrast about the mean of all frames in place of each frame's own."""
    if jitter.contrast == 1:
        return OURS.color_jitter(frames, jitter)
    gray = (frames @ np.array([0.2989, 0.587, 0.114])).mean() * 0.9
    return np.clip(jitter.contrast * frames + (1 - jitter.contrast) * gray, 0, 255).astype(np.uint8)


def crop_major(path, recipe, mode):
    """The views of a test clip by clip in place of crop by crop."""
    views = load_views(path, recipe, mode)
    clips = recipe.clip.test_clips if mode == "test" else 1
    return views.reshape(-1, clips, *views.shape[1:]).swapaxes(0, 1).reshape(views.shape)


OURS = ours()
IMAGENET = Recipe()
# name: (function, what stands in its place, start of the first record that fails, part of its reason)
SLIPS = {
    "segments in reverse order": ("test_indices", lambda *a: OURS.test_indices(*a)[:, ::-1], "test_indices", "reverse"),
    "middles rounded": ("test_indices", rounded_test_indices, "test_indices (mit", "takes"),
    "frames counted from 1": ("val_indices", shifted_index(OURS.val_indices), "val_indices", "off by +1"),
    "last draw never made": (
        "train_indices", lambda n, r, d: OURS.train_indices(n, r, ShortDraws(d)), "train_indices", "highest draws"),
    "short videos repeat": (
        "test_indices", with_recipe(OURS.test_indices, 1, out_of_bound="repeat_last"), "test_indices (mm", "frame"),
    "0.x for 1.x": (
        "val_indices",
        lambda n, r: OURS.val_indices(n, r.with_(sampling=r.clip.sampling.replace("action1", "action0"))),
        "val_indices (mmaction1", "takes"),
    "header counts one more": ("count_frames", lambda p: OURS.count_frames(p) + 1, "count_frames", "22, the reference"),
    "BGR for RGB": ("decode", bgr(OURS.decode), "decode", "B, G, R"),
    "one frame late": (
        "decode", lambda p, i: OURS.decode(p, np.minimum(i + 1, i.max())), "decode", "levels"),
    "height for short side": (
        "short_side_size", lambda h, w, s: (s, int(w * s / h + 0.5)), "short_side_size (256", "frames of 320 x 240"),
    "side cut off": (
        "short_side_size", lambda h, w, s: (int(h * s / min(h, w)), int(w * s / min(h, w))), "short_side_size", ""),
    "corners aligned": ("resize", resized(align_corners=True), "resize", "levels"),
    "antialiased": ("resize", resized(antialias=True), "resize (60 x 80 to 40", "levels"),
    "nearest": ("resize", resized_by(cv2.INTER_NEAREST), "resize", "levels"),
    "bicubic": ("resize", resized_by(cv2.INTER_CUBIC), "resize", "levels"),
    "resize rounds down": ("resize", truncated_resize, "resize", "1 levels"),
    "resize off by one pixel": ("resize", lambda f, h, w: OURS.resize(f, h, w + 1)[:, :, 1:], "resize", "levels"),
    "moved after the resize": ("resize", lambda *a: np.roll(OURS.resize(*a), 1, 2), "resize", "+1 pixels in x"),
    "ratio not logarithmic": (
        "draw", lambda h, w, r, d: replace(OURS.draw(h, w, r, d), box=Box(0, 0, 99, 99)), "draw (random", "Box(x="),
    "never flipped": ("draw", with_recipe(OURS.draw, 2, flip=0.0), "draw", "lowest draws"),
    "crop offset never last": (
        "draw", lambda h, w, r, d: OURS.draw(h, w, r, ShortDraws(d)), "draw (random", "highest places"),
    "center rounded up": (
        "eval_boxes", lambda h, w, r, m: [(replace(b, x=b.x + 1), f) for b, f in OURS.eval_boxes(h, w, r, m)],
        "eval_boxes (val", "frames of 240 x 320"),
    "middle crop second": (
        "eval_boxes", lambda *a: sorted(OURS.eval_boxes(*a), key=lambda x: (x[0].x, x[0].y, x[1])),
        "eval_boxes (test, three", "Box(x="),
    "crop off by one pixel": (
        "crop", lambda f, b: OURS.crop(f, replace(b, x=b.x + 1)), "crop", "moved by -1 pixels in x"),
    "crop one pixel short": ("crop", lambda f, b: OURS.crop(f, b)[:, 1:], "crop", "shape"),
    "flipped upside down": ("flip", lambda f: f[:, ::-1], "flip", "levels"),
    "flip without label": ("flip_label", lambda label, _: label, "flip_label", "[0, 1, 2"),
    "hue off by one": (
        "color_jitter", lambda f, j: OURS.color_jitter(f, replace(j, hue=j.hue and j.hue + 1)), "color_jitter", "hue"),
    "hue the other way": (
        "color_jitter", lambda f, j: OURS.color_jitter(f, replace(j, hue=-j.hue)), "color_jitter", "hue"),
    "order of colors": (
        "color_jitter", lambda f, j: OURS.color_jitter(f, replace(j, order=j.order[::-1])), "color_jitter", "order"),
    "contrast of the clip": ("color_jitter", contrast_of_the_clip, "color_jitter", "contrast"),
    "std of another channel": (
        "normalize", with_recipe(OURS.normalize, 1, std=(58.395, 57.12, 57.12)), "normalize", "B is 1.00446"),
    "mean slips": ("normalize", with_recipe(OURS.normalize, 1, mean=(123.68, 116.28, 103.53)), "normalize", "R is 1 "),
    "mean in BGR order": (
        "normalize", with_recipe(OURS.normalize, 1, mean=IMAGENET.pixels.mean[::-1]), "normalize", "R is 1 "),
    "normalized BGR": ("normalize", lambda f, r: OURS.normalize(f, r)[:, ::-1], "normalize", "order"),
    "double precision": ("normalize", lambda *a: OURS.normalize(*a).astype(np.float64), "normalize", "type float64"),
    "not a number": ("normalize", lambda *a: OURS.normalize(*a) * np.float32(np.nan), "normalize", "NaN"),
    "clip-major views": ("eval_clip", crop_major, "eval_clip (tall.mp4, clip of 4 frames, test", "levels"),
    "label before the flip": (
        "train_clip", lambda p, y, r, e: (OURS.train_clip(p, y, r, e)[0], y), "train_clip", "the label is 1"),
    "another epoch's draws": ("train_clip", lambda p, y, r, e: OURS.train_clip(p, y, r, 0), "train_clip", "levels"),
}  # fmt: skip


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_fails_where_it_is(name, video):
    function, slipped, place, reason = SLIPS[name]
    stage = compare_data(replace(OURS, **{function: slipped}), videos=video, only=[function])
    assert not stage.passed
    first = stage.failures[0]
    assert first.name.startswith(place), first.name
    assert reason in first.name + first.reason, first.reason
    assert stage.place == first.name
    assert stage.sentence.startswith(f"{first.name} is the first to differ: {first.reason}")


@pytest.mark.parametrize("name", ["header counts one more", "BGR for RGB", "corners aligned", "flip without label"])
def test_nothing_but_the_slip_is_blamed(name, video):
    function, slipped, *_ = SLIPS[name]
    stage = compare_data(replace(OURS, **{function: slipped}), videos=video)
    assert {record.name.split(" ")[0] for record in stage.failures} == {function}
    assert {record.name.split(" ")[0] for record in stage.records} == set(Pipeline.__dataclass_fields__)


def test_only_must_name_functions():
    with pytest.raises(IncomparableError, match=r"only must name functions .*, got 'resise'"):
        compare_data(only=["resise"])


def test_a_pipeline_that_raises_is_a_failure_with_its_message(video):
    def broken(*_):
        raise ZeroDivisionError("no frames\nat all")

    stage = compare_data(replace(OURS, crop=broken), videos=video, only=["crop"])
    assert [record.reason for record in stage.failures] == ["the candidate fails: ZeroDivisionError: no frames at all"]


def test_a_reference_that_raises_cannot_be_compared(tmp_path, video):
    with pytest.raises(IncomparableError, match=r"flip: the reference fails: KeyError"):
        compare_data(reference=replace(reference(), flip=lambda _: {}["x"]), videos=video, only=["flip"])
    with pytest.raises(IncomparableError, match=r"tall.mp4: the reference cannot count its frames: KeyError"):
        compare_data(reference=replace(reference(), count_frames=lambda _: {}["x"]), videos=video, only=["decode"])
    (tmp_path / "notes.mp4").write_bytes(b"this is no video")
    with pytest.raises(IncomparableError, match=r"decode \(notes.mp4\)|count_frames \(notes.mp4\)"):
        compare_data(videos=[tmp_path / "notes.mp4"], only=["count_frames", "decode"])


def test_draws_give_the_same_one_by_one_and_at_once():
    at_once, one_by_one = (Draws(np.random.default_rng(5).random) for _ in range(2))
    numbers = at_once.integers(3, 9, size=50).tolist()
    assert numbers == [one_by_one.integers(3, 9) for _ in range(50)]
    assert set(numbers) == set(range(3, 9))
    assert at_once.uniform(-1, 1, size=3).tolist() == [one_by_one.uniform(-1, 1) for _ in range(3)]
    highest = Draws(lambda: 1 - 1e-9)
    assert [highest.integers(n) for n in (1, 2, 7, 1000)] == [0, 1, 6, 999]
    with pytest.raises(ValueError, match="no whole number"):
        highest.integers(4, 4)


def test_resize_differs_from_exact_arithmetic_by_no_more_than_is_stated():
    """Random sizes of noise, the worst case: what the tolerance of the resize rests on."""
    rng = np.random.default_rng(0)
    shares = []
    for seed in range(20):
        frames = sample_frames(seed, *rng.integers(20, 120, 2).tolist())[1:]
        size = rng.integers(20, 160, 2).tolist()
        left, right = transforms.resize(frames, *size).astype(int), reference().resize(frames, *size)
        assert np.abs(left - right).max() <= 1
        shares.append((left != right).mean())
    assert 0.05 < max(shares) < 0.15
