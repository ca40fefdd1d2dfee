"""Mistakes in the data pipeline: indices, pixels, boxes, labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np

from alignment.certification.data.pipeline import Pipeline
from alignment.mutation.mutant import Mutant
from datasets.transforms import Box, Jitter


def replacing(name: str, change: Callable[..., Any]) -> Callable[[Pipeline], Pipeline]:
    """A mutation of one function of a pipeline: `change` gets the function and its arguments."""

    def apply(pipeline: Pipeline) -> Pipeline:
        original = getattr(pipeline, name)
        return dataclasses.replace(pipeline, **{name: lambda *arguments: change(original, *arguments)})

    return apply


def resized(rule: int, _: Callable, frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes by another rule of OpenCV."""
    return np.stack([cv2.resize(frame, (width, height), interpolation=rule) for frame in frames])


def resized_by_corners(_: Callable, frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Corner pixels fall on corner pixels."""
    rows = np.linspace(0, frames.shape[1] - 1, height, dtype=np.float32)
    columns = np.linspace(0, frames.shape[2] - 1, width, dtype=np.float32)
    x, y = np.meshgrid(columns, rows)
    return np.stack([cv2.remap(frame, x, y, cv2.INTER_LINEAR) for frame in frames])


def shifted_by_one(crop: Callable, frames: np.ndarray, box: Box) -> np.ndarray:
    """The box begins one pixel further right, where there is one."""
    room = frames.shape[2] - box.x - box.width
    return crop(frames, dataclasses.replace(box, x=box.x + min(1, room)))


def boxes_from_the_corner(boxes: Callable, *arguments: Any) -> list[tuple[Box, bool]]:
    """Central crops round their offset up instead of down."""
    return [
        (dataclasses.replace(box, x=box.x + box.x % 2, y=box.y + box.y % 2), flip) for box, flip in boxes(*arguments)
    ]


def saturation_first(jitter: Callable, frames: np.ndarray, draw: Jitter) -> np.ndarray:
    """Colors are changed in one fixed order."""
    return jitter(frames, dataclasses.replace(draw, order=tuple(sorted(draw.order, reverse=True))))


def contrast_of_the_clip(jitter: Callable, frames: np.ndarray, draw: Jitter) -> np.ndarray:
    """Frames side by side as one picture have one mean."""
    wide = np.concatenate(list(frames), axis=1)[None]
    return np.stack(np.split(jitter(wide, draw)[0], len(frames), axis=1))


class _Middle:
    """A source of chance without chance."""

    def integers(self, low: int, high: int | None = None, size: int | None = None) -> Any:
        middle = low // 2 if high is None else (low + high) // 2
        return middle if size is None else np.full(size, middle)

    def random(self, size: int | None = None) -> Any:
        return 0.5 if size is None else np.full(size, 0.5)

    def uniform(self, low: float = 0.0, high: float = 1.0, size: int | None = None) -> Any:
        return low + self.random(size) * (high - low)


MUTANTS: tuple[Mutant, ...] = tuple(
    Mutant(title, description, "pipeline", (name,), replacing(name, change))
    for title, description, name, change in (
        ("BGR for RGB", "OpenCV's order of channels.", "decode", lambda read, *a: read(*a)[..., ::-1]),
        (
            "frames counted from 1", "Each index is one too high; the last frame comes twice.",
            "decode", lambda read, path, indices: read(path, np.minimum(indices + 1, indices.max())),
        ),
        (
            "frames in the order of the file", "Indices are sorted before they are read.",
            "decode", lambda read, path, indices: read(path, np.sort(indices)),
        ),
        (
            "segments from back to front", "The order of the frames of a clip.",
            "test_indices", lambda rule, *a: np.asarray(rule(*a))[:, ::-1],
        ),
        (
            "views in another order", "The clips of a test from last to first.",
            "test_indices", lambda rule, *a: np.asarray(rule(*a))[::-1],
        ),
        (
            "segments counted from 1", "Each index of a test is one too high, up to the last frame.",
            "val_indices", lambda rule, n, recipe: np.minimum(np.asarray(rule(n, recipe)) + 1, n - 1),
        ),
        (
            "training without chance", "Training takes the frames of validation.",
            "train_indices",
            lambda rule, n, recipe, draws: np.resize(rule(n, recipe, _Middle()), np.shape(rule(n, recipe, draws))),
        ),
        (
            "short side cut off", "The longer side is cut down to a whole number instead of rounded.",
            "short_side_size",
            lambda size, h, w, short: (short, w * short // h) if h <= w else (h * short // w, short),
        ),
        (
            "long side for the short one", "The longer side becomes the wanted number.",
            "short_side_size",
            lambda size, h, w, short: tuple(round(side * short / max(h, w)) for side in (h, w)),
        ),
        (
            "resize off by one pixel", "The picture is one column wider and then cut.",
            "resize", lambda resize, frames, h, w: resize(frames, h, w + 1)[:, :, :w],
        ),
        ("cubic resize", "Pillow's habit.", "resize", partial(resized, cv2.INTER_CUBIC)),
        ("resize by area", "Antialiasing, where the reference has none.", "resize", partial(resized, cv2.INTER_AREA)),
        ("nearest pixel", "No interpolation.", "resize", partial(resized, cv2.INTER_NEAREST)),
        ("resize with aligned corners", "`align_corners=True`.", "resize", resized_by_corners),
        ("crop off by one pixel", "A crop that counts from 1.", "crop", shifted_by_one),
        ("center rounded up", str(boxes_from_the_corner.__doc__), "eval_boxes", boxes_from_the_corner),
        ("crops in another order", "Views from right to left.", "eval_boxes", lambda boxes, *a: boxes(*a)[::-1]),
        (
            "always mirrored", "The comparison with the probability is the wrong way round.",
            "draw", lambda draw, *a: dataclasses.replace(draw(*a), flipped=not draw(*a).flipped),
        ),
        ("mirrored upside down", "Rows are reversed, not columns.", "flip", lambda flip, frames: frames[:, ::-1]),
        (
            "labels not mirrored", "Left stays left in a mirrored picture.",
            "flip_label", lambda swap, label, pairs: label,
        ),
        (
            "hue the other way", "The sign of the rotation.",
            "color_jitter", lambda jitter, frames, draw: jitter(frames, dataclasses.replace(draw, hue=-draw.hue)),
        ),
        ("colors in a fixed order", str(saturation_first.__doc__), "color_jitter", saturation_first),
        (
            "contrast over the clip", "One mean for all frames instead of each frame's own.",
            "color_jitter", contrast_of_the_clip,
        ),
        (
            "mean in another order", "Mean of B, G, R for R, G, B.",
            "normalize",
            lambda norm, frames, recipe: norm(frames, recipe.with_(mean=recipe.pixels.mean[::-1])),
        ),
        (
            "one std for all channels", "255 * 0.225 for all three.",
            "normalize",
            lambda norm, frames, recipe: norm(frames, recipe.with_(std=(57.375,) * 3)),
        ),
        (
            "pixels in 0..1", "Mean and std of 0..255 on values divided by 255.",
            "normalize",
            lambda norm, frames, recipe: (norm(frames, recipe) / 255).astype(np.float32),
        ),
    )
)  # fmt: skip
