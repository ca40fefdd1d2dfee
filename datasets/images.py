"""Pictures and what is said of each of their pixels: crop, turn and flip in training, then the square of a network."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from configs.limits import Limits
from configs.recipe import Recipe
from datasets.annotation import Annotation, Entry
from datasets.dataset import Dataset
from datasets.decode import read_picture
from datasets.letterbox import BORDERS, UNKNOWN, Letterbox
from datasets.targets import Targets, View
from datasets.transforms import (
    Box,
    Jitter,
    color_jitter,
    draw_jitter,
    normalize,
    normalize_table,
    random_resized_crop_box,
)


@dataclass(frozen=True)
class PictureDraw:
    """What chance decides for one picture: a part of it, a turn in degrees counterclockwise, the flip, the colors."""

    box: Box
    angle: float = 0.0
    flip: bool = False
    jitter: Jitter | None = None


def turn(image: np.ndarray, angle: float, interpolation: int, border: int, value: int) -> np.ndarray:
    """A picture [H, W] or [H, W, C] turned about its middle, in its own size; corners are filled like a border."""
    if not angle:
        return image
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    return cv2.warpAffine(
        image, matrix, (width, height), flags=interpolation, borderMode=border, borderValue=(value,) * 3
    )


class ImageDataset(Dataset):
    """Pictures in squares of crop_size, or in a test of test_size; "train" draws a part, a turn, a flip and colors.

    `sample_shape` is (1, 3, size, size). Parts are drawn by `random_resized`; any other `train_crop` takes all of a
    picture.
    """

    what, axes = "pictures", "views x RGB"

    def __init__(
        self, annotation: Annotation, recipe: Recipe, mode: str, targets: Targets, limits: Limits | None = None
    ) -> None:
        super().__init__(annotation, recipe, mode, targets, limits)
        self.size = recipe.pixels.test_size if mode == "test" else recipe.pixels.crop_size
        self._table = normalize_table(recipe.pixels.mean, recipe.pixels.std)

    @property
    def sample_shape(self) -> tuple[int, int, int, int]:
        """(1, 3, H, W)."""
        return 1, 3, self.size, self.size

    def picture(self, index: int) -> np.ndarray:
        """The picture itself, uint8 [H, W, 3] RGB."""
        return read_picture(self.annotation.entries[index].path, self.limits)

    def letterbox(self, image: np.ndarray) -> Letterbox:
        """Where an image [H, W, 3] lies in the square."""
        return Letterbox(image.shape[0], image.shape[1], self.size, self.recipe.pixels.padding)

    def apply(self, image: np.ndarray, out: np.ndarray) -> None:
        """Writes an image uint8 [H, W, 3], as a network sees it in a test, into `out`, float32 [1, 3, size, size]."""
        normalize(self.letterbox(image).apply(image)[None], self._table, out)

    def draw(self, height: int, width: int, rng: np.random.Generator) -> PictureDraw:
        """Draws for a picture of height x width: part, then turn, then flip, then colors."""
        pixels = self.recipe.pixels
        box = Box(0, 0, width, height)
        if pixels.train_crop == "random_resized":
            box = random_resized_crop_box(height, width, rng, pixels.crop_area)
        angle = float(rng.uniform(-pixels.rotate, pixels.rotate)) if pixels.rotate else 0.0
        flipped = bool(rng.random() < pixels.flip)
        return PictureDraw(box, angle, flipped, draw_jitter(pixels.color_jitter, rng) if pixels.color_jitter else None)

    def apply_draw(self, image: np.ndarray, draw: PictureDraw, out: np.ndarray) -> None:
        """Writes the view of an image uint8 [H, W, 3] that a draw decides into `out`, float32 [1, 3, size, size]."""
        border = BORDERS[self.recipe.pixels.padding]
        part = turn(_cropped(image, draw.box), draw.angle, cv2.INTER_LINEAR, border, 0)
        view = self.letterbox(part).apply(part)[None]
        if draw.flip:
            view = view[:, :, ::-1]
        if draw.jitter:
            view = color_jitter(view, draw.jitter)
        normalize(view, self._table, out)

    def _load_random(self, out: np.ndarray, entry: Entry, rng: np.random.Generator) -> View:
        image = read_picture(entry.path, self.limits)
        draw = self.draw(image.shape[0], image.shape[1], rng)
        self.apply_draw(image, draw, out)
        return self._view(image, functools.partial(self._warped_by, draw), draw.flip)

    def _load_views(self, out: np.ndarray, entry: Entry) -> View:
        image = read_picture(entry.path, self.limits)
        self.apply(image, out)
        return self._view(image, lambda labels: self.letterbox(labels).apply_labels(labels))

    def _warped_by(self, draw: PictureDraw, labels: np.ndarray) -> np.ndarray:
        part = turn(_cropped(labels, draw.box), draw.angle, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT, UNKNOWN)
        labels = self.letterbox(part).apply_labels(part)
        return labels[:, ::-1] if draw.flip else labels

    def _view(self, image: np.ndarray, warp_labels: Callable[[np.ndarray], np.ndarray], flipped: bool = False) -> View:
        """How maps of the picture's size follow it into the square."""

        def warp(maps: np.ndarray) -> np.ndarray:
            planes = [warp_labels(np.ascontiguousarray(plane)) for m in maps for plane in np.moveaxis(m, -1, 0)]
            shape = (1, len(maps), maps.shape[-1], self.size, self.size)
            return np.moveaxis(np.stack(planes).reshape(shape), 2, -1)  # [1, n, size, size, C]

        return View(np.zeros((1, 1), np.int64), flipped, warp, (image.shape[0], image.shape[1]))


def _cropped(image: np.ndarray, box: Box) -> np.ndarray:
    return np.ascontiguousarray(image[box.y : box.y + box.height, box.x : box.x + box.width])
