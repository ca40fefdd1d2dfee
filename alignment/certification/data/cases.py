"""What the stage `data` compares: every function of a pipeline under many settings, then whole clips.

Chance is no excuse: both sides get the same draws, among them the smallest and the largest possible, so that a range
that is one too short or too long shows for certain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, permutations, repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from alignment.certification.data import verdicts
from alignment.verdicts.record import exact
from configs import Recipe
from datasets.demo import draw_video, encode_video
from datasets.transforms import Box, Jitter

FRAME_COUNTS = (
    1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 15, 16, 17, 20, 24, 25, 26, 31, 50, 57, 58, 63, 64, 65, 66, 72, 100, 163, 164, 300,
)  # fmt: skip


class Draws:
    """Stands in for `np.random.Generator`: the numbers that it gives follow from fractions in [0, 1) alone.

    Asked for several numbers at once it gives the same as when asked for one after the other.
    """

    def __init__(self, fraction: Callable[[], float]) -> None:
        self._fraction = fraction

    def random(self, size: int | None = None) -> Any:
        """Floats from 0 to 1."""
        return self._fraction() if size is None else np.array([self._fraction() for _ in range(size)])

    def uniform(self, low: float = 0.0, high: float = 1.0, size: int | None = None) -> Any:
        """Floats from low to high."""
        return low + self.random(size) * (high - low)

    def integers(self, low: int, high: int | None = None, size: int | None = None) -> Any:
        """Whole numbers from low up to but without high, or from 0 up to but without low."""
        start, stop = (0, low) if high is None else (low, high)
        if stop <= start:
            raise ValueError(f"no whole number lies in {start} <= n < {stop}")
        numbers = np.floor(self.uniform(start, stop, size)).astype(np.int64)
        return numbers if size is not None else int(numbers)

    def permutation(self, n: int) -> np.ndarray:
        """The numbers 0..n-1 in the order of n fractions."""
        return np.argsort(self.random(n), kind="stable")


def draw_sources(seed: int) -> dict[str, Callable[[], Draws]]:
    """Sources of chance by what a report calls them; each call begins anew.

    A random resized crop makes 20 draws for its sizes before those for its place, for which only a small box leaves
    room; hence the mixed source.
    """
    highest = 1 - 1e-9
    return {
        "lowest draws": lambda: Draws(lambda: 0.0),
        "highest draws": lambda: Draws(lambda: highest),
        "low sizes and highest places": lambda: Draws(chain(repeat(0.0, 20), repeat(highest)).__next__),
        "random draws": lambda: Draws(np.random.default_rng(seed).random),
        "other random draws": lambda: Draws(np.random.default_rng([seed, 1]).random),
    }


@dataclass(frozen=True)
class Case:
    """One comparison."""

    name: str  # of the record, as is the kind
    kind: str
    run: Callable[[Any], Any]  # the call, made of either side's Pipeline
    judge: verdicts.Judge = exact  # the verdict over what both return
    hint: str = ""  # for a failure: where such a difference comes from

    @property
    def function(self) -> str:
        """The function of the pipeline that is compared: the first word of the name."""
        return self.name.split(" ")[0]


def data_cases(paths: list[str], seed: int, count_frames: Callable[[str], int]) -> Iterator[Case]:
    """All cases in the order in which a pipeline computes them.

    Args:
        paths: Videos and folders of frames.
        seed: Of draws and frames.
        count_frames: The reference's, which decides what frames are asked for.
    """
    for recipe in sampling_recipes():
        yield from _index_cases(recipe, seed)
    for path in paths:
        yield from _decode_cases(path, count_frames)
    yield from _resize_cases(seed)
    yield from _box_cases(seed)
    yield from _pixel_cases(seed)
    for path in paths:
        yield from _clip_cases(path)


# ---------------------------------------------------------------------------------------------------------------------
# Indices


def sampling_recipes() -> list[Recipe]:
    """Every rule with single frames, with clips and with several clips, with the options that it has."""
    frames = Recipe.of(clip_len=1, frame_interval=1, test_clips=1)
    recipes = []
    for rule in ("mmaction0", "mmaction1", "mit"):
        for segments, views in ((1, 1), (3, 1), (8, 1), (8, 2), (25, 2)):
            recipes.append(frames.with_(sampling=rule, num_segments=segments, test_clips=views))
        recipes.append(frames.with_(sampling=rule, num_segments=3, test_segments=25))
    for rule in ("mmaction0", "mmaction1"):
        for end in ("loop", "repeat_last"):
            for segments, length, interval, views in ((1, 16, 4, 10), (1, 8, 8, 3), (1, 4, 2, 1), (3, 5, 2, 1)):
                clips = {"num_segments": segments, "clip_len": length, "frame_interval": interval, "test_clips": views}
                recipes.append(Recipe.of(sampling=rule, out_of_bound=end).with_(**clips))
    for segments, length in ((1, 1), (8, 1), (1, 16), (3, 5), (25, 2)):
        recipes.append(frames.with_(sampling="paddlevideo", num_segments=segments, clip_len=length))
    for length, interval, views in ((8, 8, 10), (32, 2, 1), (13, 6, 3), (4, 16, 10)):
        clips = {"clip_len": length, "frame_interval": interval, "test_clips": views}
        recipes.append(Recipe.of(sampling="pyslowfast", **clips))
    for length, interval, views in ((16, 1, 1), (16, 2, 1), (5, 3, 4)):
        recipes.append(Recipe.of(sampling="efficient3d", clip_len=length, frame_interval=interval, test_clips=views))
    for views in (1, 2, 10):
        recipes.append(frames.with_(sampling="dense", num_segments=8, test_clips=views))
        recipes.append(Recipe.of(sampling="dense", clip_len=32, frame_interval=2, test_clips=views))
        recipes.append(frames.with_(sampling="uniform", num_segments=8, test_clips=views))
        recipes.append(Recipe.of(sampling="uniform", clip_len=16, test_clips=views))
    return recipes


def _sampling_title(recipe: Recipe) -> str:
    clip = recipe.clip
    more = f", {clip.test_segments} in tests" if clip.test_segments else ""
    return (
        f"{clip.sampling}, {clip.num_segments} segments{more} of {clip.frames_per_segment} frames "
        f"{clip.frame_interval} apart, {clip.out_of_bound}, {clip.test_clips} test views"
    )


def _index_cases(recipe: Recipe, seed: int) -> Iterator[Case]:
    hint = "Look at the length of a segment, at what is rounded or cut off, and at the ends of the range of a draw."

    def train(pipeline: Any) -> dict[str, np.ndarray]:
        return {
            f"{n} frames and {title}": pipeline.train_indices(n, recipe, draws())
            for n in FRAME_COUNTS
            for title, draws in draw_sources(seed).items()
        }

    def without_chance(function: str, pipeline: Any) -> dict[str, np.ndarray]:
        return {f"{n} frames": getattr(pipeline, function)(n, recipe) for n in FRAME_COUNTS}

    runs: dict[str, Callable[[Any], Any]] = {"train_indices": train}
    runs |= {name: partial(without_chance, name) for name in ("val_indices", "test_indices")}
    for function, run in runs.items():
        title = f"{function} ({_sampling_title(recipe)})"
        yield Case(title, "indices", run, verdicts.same_by_situation, hint)


# ---------------------------------------------------------------------------------------------------------------------
# Media


def render_media(folder: Path, seed: int) -> list[str]:
    """Writes a wide video, a tall one and a folder of JPEG images, all small; returns their paths."""
    clips = [draw_video(np.random.default_rng([seed, i]), "x", 21, 96) for i in range(3)]
    wide, tall, images = folder / "wide.mp4", folder / "tall.mp4", folder / "images"
    encode_video(wide, clips[0][:, :72])
    encode_video(tall, clips[1][:, :, :66])
    images.mkdir()
    for i, frame in enumerate(clips[2][:, :80]):
        cv2.imwrite(str(images / f"img_{i + 1:05}.jpg"), frame[..., ::-1])
    return [str(wide), str(tall), str(images)]


def _decode_cases(path: str, count_frames: Callable[[str], int]) -> Iterator[Case]:
    name = Path(path).name
    hint = "A header may promise another number of frames than decoding gives."
    yield Case(f"count_frames ({name})", "constant", _call("count_frames", path), exact, hint)
    hint = "Look at the order of the channels, which is RGB here, and at whether frame 0 is the first one."
    last = count_frames(path) - 1
    indices = np.array([last, *np.linspace(0, last, 9).astype(int), 0])  # not in order, and some twice
    yield Case(f"decode ({name})", "pixels", _call("decode", path, indices), verdicts.pixels(verdicts.EQUAL), hint)


# ---------------------------------------------------------------------------------------------------------------------
# Transforms


def sample_frames(seed: int, height: int, width: int) -> np.ndarray:
    """A frame of a demo clip, where edges are, and one of noise, where every pixel counts; uint8 [2, H, W, 3]."""
    rng = np.random.default_rng(seed)
    drawn = draw_video(rng, "x", 1, max(height, width))[:, :height, :width]
    return np.concatenate([drawn, rng.integers(0, 256, (1, height, width, 3), dtype=np.uint8)])


def _resize_cases(seed: int) -> Iterator[Case]:
    sizes = [(240, 320), (320, 240), (256, 340), (100, 100), (1080, 1920), (17, 23), (63, 64), (144, 176)]

    def short_sides(short_side: int, pipeline: Any) -> dict[str, Any]:
        return {f"frames of {h} x {w}": tuple(pipeline.short_side_size(h, w, short_side)) for h, w in sizes}

    hint = "The ratio is kept and the other side rounded half up; it is the shorter side that gets the number."
    for short_side in (256, 224, 40):
        title, run = f"short_side_size ({short_side})", partial(short_sides, short_side)
        yield Case(title, "constant", run, verdicts.same_by_situation, hint)
    hint = (
        "The rule is bilinear without antialiasing, with pixels as squares (align_corners false); look at these three, "
        "at the rounding, and at whether height and width are exchanged."
    )
    for source, target in (((60, 80), (40, 53)), ((60, 80), (128, 171)), ((75, 61), (32, 32)), ((37, 49), (56, 56))):
        title = f"resize ({source[0]} x {source[1]} to {target[0]} x {target[1]})"
        frames = sample_frames(seed, *source)
        yield Case(title, "pixels", _call("resize", frames, *target), verdicts.pixels(verdicts.RESIZED), hint)


def _box_cases(seed: int) -> Iterator[Case]:
    sizes = ((240, 320), (320, 240), (256, 256), (135, 241), (64, 300))

    def draw(recipe: Recipe, pipeline: Any) -> dict[str, Any]:
        return {
            f"frames of {h} x {w} and {title}": pipeline.draw(h, w, recipe, draws())
            for h, w in sizes
            for title, draws in draw_sources(seed).items()
        }

    def boxes(recipe: Recipe, mode: str, pipeline: Any) -> dict[str, Any]:
        return {f"frames of {h} x {w}": list(pipeline.eval_boxes(h, w, recipe, mode)) for h, w in sizes}

    hint = "A box is (x, y, width, height) in the resized frame; look at // 2 and // 4 and at the range of the draws."
    for recipe in (
        Recipe.of(train_crop="random_resized"),
        Recipe.of(train_crop="random_resized", color_jitter=0.5),
        Recipe.of(train_crop="multi_scale", crop_points=5, crop_scales=(1.0, 0.8), crop_max_gap=0),
        Recipe.of(train_crop="multi_scale", crop_points=13, crop_max_gap=1),
        Recipe.of(train_crop="center", flip=1.0),
    ):
        pixels = recipe.pixels
        places = f", {pixels.crop_points} points" if pixels.train_crop == "multi_scale" else ""
        title = f"draw ({pixels.train_crop}{places}, flip {pixels.flip:g}, jitter {pixels.color_jitter:g})"
        yield Case(title, "constant", partial(draw, recipe), verdicts.same_by_situation, hint)
    for mode, crops in (("val", "center"), ("test", "center"), ("test", "three"), ("test", "ten")):
        for size in (256, 223):
            recipe = Recipe.of(test_crops=crops, test_size=size, crop_size=size)
            title = f"eval_boxes ({mode}, {crops}, {size})"
            yield Case(title, "constant", partial(boxes, recipe, mode), verdicts.same_by_situation, hint)


def _pixel_cases(seed: int) -> Iterator[Case]:
    frames, box, pairs = sample_frames(seed, 48, 64), Box(5, 3, 40, 32), ((0, 1), (6, 7))
    equal = verdicts.pixels(verdicts.EQUAL)
    yield Case("crop (x 5, y 3, 40 x 32)", "pixels", _call("crop", frames, box), equal, "Look at x and y.")
    yield Case("flip", "pixels", _call("flip", frames), equal, "Only the axis of the width is turned.")

    def labels(pipeline: Any) -> list[int]:
        return [int(pipeline.flip_label(label, pairs)) for label in range(9)]

    hint = "A mirrored `left` is a `right`: a flip must exchange the labels of such pairs."
    yield Case("flip_label (pairs 0-1, 6-7)", "constant", labels, exact, hint)
    yield from _color_cases(draw_video(np.random.default_rng(seed), "color", 3, 64))
    hint = "Mean and std are those of R, G, B in 0..255, in this order."
    for recipe in (Recipe(), Recipe.of(mean=(128.0, 64.0, 32.0), std=(1.0, 100.0, 255.0))):
        title = f"normalize (mean {recipe.pixels.mean}, std {recipe.pixels.std})"
        yield Case(title, "pixels", _call("normalize", frames, recipe), verdicts.normalized, hint)


def _color_cases(frames: np.ndarray) -> Iterator[Case]:
    hint = "Factors act on float values, grays are 0.2989 R + 0.587 G + 0.114 B, contrast takes each frame's own mean."
    steps = [
        Jitter(1.375, 1, 1, 0), Jitter(0.625, 1, 1, 0), Jitter(1, 1.5, 1, 0), Jitter(1, 0.5, 1, 0),
        Jitter(1, 1, 1.625, 0), Jitter(1, 1, 0.3125, 0), Jitter(1, 1, 1, 20), Jitter(1, 1, 1, -25),
    ]  # fmt: skip
    orders = [Jitter(1.125, 0.75, 1.3125, 12, order) for order in list(permutations(range(4)))[::5]]
    for jitter in steps + orders:
        title = (
            f"color_jitter (brightness {jitter.brightness:g}, contrast {jitter.contrast:g}, saturation "
            f"{jitter.saturation:g}, hue {jitter.hue}, order {''.join(map(str, jitter.order))})"
        )
        judge = verdicts.pixels(verdicts.HUED if jitter.hue else verdicts.COLORED)
        yield Case(title, "pixels", _call("color_jitter", frames, jitter), judge, hint)


# ---------------------------------------------------------------------------------------------------------------------
# Whole clips


def clip_recipes() -> dict[str, Recipe]:
    """Recipes in small whose clips are made from end to end, by what a report calls them."""
    clip = Recipe.of(short_side=64, crop_size=56, test_size=64, clip_len=4, frame_interval=2, test_clips=3)
    segments = clip.with_(num_segments=4, clip_len=1, frame_interval=1, test_clips=2, flip_pairs=((0, 1),))
    return {
        "clip of 4 frames": clip,
        "4 segments": segments.with_(sampling="mmaction1", train_crop="multi_scale"),
        "ten crops, colors": segments.with_(sampling="mit", test_crops="ten", test_size=56, color_jitter=0.3),
        "another shape": clip.with_(resize_shape=(60, 80), crop_size=50, test_size=56),
        "dense, one resize": segments.with_(sampling="dense", train_crop="center", fused_resize=True, flip=1.0),
    }


def _clip_cases(path: str) -> Iterator[Case]:
    """Whole clips and their labels. They come last, so what differs here alone is how the parts are joined."""
    hint = (
        "If every function above agrees, look at how they are joined: order of views and steps, labels, shared frames."
    )
    for title, recipe in clip_recipes().items():
        where = f"({Path(path).name}, {title}"
        judge = verdicts.views(
            recipe, verdicts.RESIZED_AND_HUED if recipe.pixels.color_jitter else verdicts.RESIZED_TWICE
        )
        for epoch in range(2):
            train = _call("train_clip", path, 1, recipe, epoch)
            yield Case(f"train_clip {where}, epoch {epoch})", "pixels", train, verdicts.labeled(judge), hint)
        judge = verdicts.views(recipe, verdicts.RESIZED)
        for mode in ("val", "test"):
            evaluate = _call("eval_clip", path, recipe, mode)
            yield Case(f"eval_clip {where}, {mode})", "pixels", evaluate, judge, hint)


def _call(function: str, *arguments: Any) -> Callable[[Any], Any]:
    """What calls a function of the pipeline that it is given."""
    return lambda pipeline: getattr(pipeline, function)(*arguments)
