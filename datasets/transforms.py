"""From decoded frames to normalized views: pure functions of frames, with every random draw made apart from its use.

Frames are uint8 [T, H, W, 3] RGB. A `Draw` holds all that chance decides for one clip, so that a test or another
framework's pipeline can set it; all frames of a clip share one draw.

Source: mmaction2 `transforms/processing.py` (Resize, MultiScaleCrop, RandomResizedCrop, CenterCrop, ThreeCrop,
TenCrop, Flip, ColorJitter), which PaddleMVF follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from configs.recipe import Pixels, Recipe

ASPECT_RANGE = (3 / 4, 4 / 3)
CROP_TRIES = 10
# Corners and center, then the middles of the sides and of the quarters: (x, y) in fourths of the free space.
CROP_POINTS = (
    (0, 0), (4, 0), (0, 4), (4, 4), (2, 2), (0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3),
)  # fmt: skip


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels; x and y are its left upper corner."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Jitter:
    """Factors of one color jitter, the hue's shift in 0..255, and the order in which they are applied."""

    brightness: float
    contrast: float
    saturation: float
    hue: int
    order: tuple[int, ...] = (0, 1, 2, 3)


@dataclass(frozen=True)
class Draw:
    """What chance decides for one training clip: the crop in the resized frame, the flip, the colors."""

    box: Box
    flip: bool = False
    jitter: Jitter | None = None


def short_side_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """(height, width) after the short side becomes `short_side` with the ratio kept, rounded half up."""
    # Deviation: PaddleMVF scales the height to this, so its portrait videos may become narrower than the crop.
    scale = short_side / min(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


def first_size(height: int, width: int, pixels: Pixels) -> tuple[int, int]:
    """(height, width) after a recipe's first resize."""
    shape = pixels.resize_shape
    return (shape[0], shape[1]) if shape else short_side_size(height, width, pixels.short_side)


def resize(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear resize without antialiasing, uint8 [T, height, width, 3]; the frames themselves if nothing changes."""
    return _resize(frames, height, width, cv2.INTER_LINEAR)


def resize_nearest(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize to the nearest pixel, uint8 [T, height, width, C], for maps whose values are no colors."""
    return _resize(maps, height, width, cv2.INTER_NEAREST_EXACT)


def _resize(frames: np.ndarray, height: int, width: int, interpolation: int) -> np.ndarray:
    if frames.shape[1:3] == (height, width):
        return frames
    out = np.empty((len(frames), height, width, frames.shape[3]), np.uint8)
    for frame, target in zip(frames, out, strict=True):
        cv2.resize(frame, (width, height), target, interpolation=interpolation)
    return out


def crop(frames: np.ndarray, box: Box) -> np.ndarray:
    """The frames inside the box, as a view of the array."""
    return frames[:, box.y : box.y + box.height, box.x : box.x + box.width]


def center_crop_box(height: int, width: int, size: int) -> Box:
    """A centered square; the odd pixel stays right and below."""
    return Box((width - size) // 2, (height - size) // 2, size, size)


def three_crop_boxes(height: int, width: int, size: int) -> tuple[Box, ...]:
    """Three squares along the long side: first (left or top), last, middle; centered on the short side.

    The references demand that the short side equals `size`; for smaller crops this is their rule along the long side.
    """
    across_x, across_y = (width - size) // 2, (height - size) // 2
    if width >= height:
        return tuple(Box(x, across_y, size, size) for x in (0, 2 * across_x, across_x))
    return tuple(Box(across_x, y, size, size) for y in (0, 2 * across_y, across_y))


def ten_crop_boxes(height: int, width: int, size: int) -> tuple[Box, ...]:
    """Upper left, upper right, lower left, lower right, center; each is used plain and then flipped."""
    x_step, y_step = (width - size) // 4, (height - size) // 4
    return tuple(Box(x * x_step, y * y_step, size, size) for x, y in CROP_POINTS[:5])


def random_resized_crop_box(
    height: int, width: int, rng: np.random.Generator, areas: tuple[float, ...] = (0.08, 1.0)
) -> Box:
    """A box of random area and ratio (3/4 to 4/3, uniform in its logarithm); else a centered square.

    Args:
        height, width: Of the frame.
        rng: Draws.
        areas: Least and largest share of the frame's area.
    """
    ratios = np.exp(rng.uniform(math.log(ASPECT_RANGE[0]), math.log(ASPECT_RANGE[1]), size=CROP_TRIES))
    pixels = rng.uniform(areas[0], areas[1], size=CROP_TRIES) * (height * width)
    widths = np.round(np.sqrt(pixels * ratios)).astype(int)
    heights = np.round(np.sqrt(pixels / ratios)).astype(int)
    for box_width, box_height in zip(widths.tolist(), heights.tolist(), strict=True):
        if box_width <= width and box_height <= height:
            x = int(rng.integers(0, width - box_width + 1))
            y = int(rng.integers(0, height - box_height + 1))
            return Box(x, y, box_width, box_height)
    return center_crop_box(height, width, min(height, width))


def multi_scale_sizes(
    height: int, width: int, size: int, scales: Sequence[float], max_gap: int
) -> list[tuple[int, int]]:
    """All (width, height) that a multi-scale crop may draw; sides less than 3 pixels off `size` become `size`."""
    base = min(height, width)
    sides = [int(base * scale) for scale in scales]
    sides = [size if abs(side - size) < 3 else side for side in sides]
    pairs = [(i, j) for i in range(len(sides)) for j in range(len(sides)) if abs(i - j) <= max_gap]
    return [(sides[j], sides[i]) for i, j in pairs]


def multi_scale_crop_box(
    height: int, width: int, size: int, scales: Sequence[float], max_gap: int, points: int, rng: np.random.Generator
) -> Box:
    """A box of one of the scales, at one of the first `points` of CROP_POINTS."""
    sizes = multi_scale_sizes(height, width, size, scales, max_gap)
    box_width, box_height = sizes[int(rng.integers(len(sizes)))]
    x, y = CROP_POINTS[int(rng.integers(points))]
    return Box(x * ((width - box_width) // 4), y * ((height - box_height) // 4), box_width, box_height)


def source_box(box: Box, resized: tuple[int, int], source: tuple[int, int]) -> Box:
    """The box in frames of size `source` that covers what `box` covers in frames of size `resized`, (height, width)."""
    x_scale, y_scale = source[1] / resized[1], source[0] / resized[0]
    x, y = round(box.x * x_scale), round(box.y * y_scale)
    right, bottom = round((box.x + box.width) * x_scale), round((box.y + box.height) * y_scale)
    return Box(x, y, max(right - x, 1), max(bottom - y, 1))


def flip(frames: np.ndarray) -> np.ndarray:
    """Frames mirrored left to right, as a view."""
    return frames[:, :, ::-1]


def flip_label(label: int, pairs: Sequence[tuple[int, int]]) -> int:
    """The label of a mirrored video: the other one of its pair ("swiping left" and "swiping right"), else itself."""
    swap = {**dict(pairs), **{b: a for a, b in pairs}}
    return swap.get(label, label)


def draw_jitter(strength: float, rng: np.random.Generator) -> Jitter:
    """Brightness, contrast and saturation within 1 +- strength, hue within +- strength / 5, in random order.

    Deviation: the references draw the order once for a run; drawn for each clip it needs no hidden state.
    """
    brightness, contrast, saturation = rng.uniform(max(0.0, 1 - strength), 1 + strength, size=3).tolist()
    hue = int(float(rng.uniform(-strength / 5, strength / 5)) * 255)
    return Jitter(brightness, contrast, saturation, hue, tuple(rng.permutation(4).tolist()))


def color_jitter(frames: np.ndarray, jitter: Jitter) -> np.ndarray:
    """Frames with other colors, uint8; between the steps values may leave 0..255, except before the hue's."""
    steps = (
        lambda image: image * np.float32(jitter.brightness),
        lambda image: _blend(image, _gray(image).mean(), jitter.contrast),
        lambda image: _blend(image, _gray(image)[..., None], jitter.saturation),
        lambda image: _shift_hue(image, jitter.hue),
    )
    out = np.empty(frames.shape, np.uint8)
    for frame, target in zip(frames, out, strict=True):
        image = frame.astype(np.float32)
        for step in jitter.order:
            image = steps[step](image)
        target[...] = np.clip(image, 0, 255)
    return out


def _gray(image: np.ndarray) -> np.ndarray:
    return image @ np.array([0.2989, 0.587, 0.114], np.float32)  # [H, W]


def _blend(image: np.ndarray, other: np.ndarray | np.float32, factor: float) -> np.ndarray:
    return np.float32(factor) * image + np.float32(1 - factor) * other


def _shift_hue(image: np.ndarray, hue: int) -> np.ndarray:
    if hue == 0:
        return image  # the way through HSV rounds
    hsv = cv2.cvtColor(np.clip(image, 0, 255).astype(np.uint8), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(np.int16) + hue) % 180
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.float32)


def normalize_table(mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """(value - mean) / std of all 256 values of each channel, float32 [3, 256]."""
    values = np.arange(256, dtype=np.float32)
    return np.stack([(values - np.float32(m)) * np.float32(1 / s) for m, s in zip(mean, std, strict=True)])


def normalize(frames: np.ndarray, table: np.ndarray, out: np.ndarray) -> None:
    """Writes normalized frames channels first into `out`, float32 [T, 3, H, W]."""
    for frame, target in zip(frames, out, strict=True):
        for channel, plane in enumerate(cv2.split(frame)):
            cv2.LUT(plane, table[channel], target[channel])


def denormalized(view: np.ndarray, pixels: Pixels) -> np.ndarray:
    """Frames of a view float32 [T, 3, H, W] as pictures again, uint8 [T, H, W, 3] RGB."""
    values = view.transpose(0, 2, 3, 1) * np.array(pixels.std, np.float32) + np.array(pixels.mean, np.float32)
    frames: np.ndarray = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return frames


class TrainTransform:
    """Resize, random crop, random flip, color jitter, normalize; the steps and numbers are the recipe's."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._table = normalize_table(recipe.pixels.mean, recipe.pixels.std)

    def draw(self, height: int, width: int, rng: np.random.Generator) -> Draw:
        """Draws for frames of height x width before any resize: crop, then flip, then colors."""
        recipe = self._recipe
        height, width = first_size(height, width, recipe.pixels)
        if recipe.pixels.train_crop == "random_resized":
            box = random_resized_crop_box(height, width, rng, recipe.pixels.crop_area)
        elif recipe.pixels.train_crop == "multi_scale":
            box = multi_scale_crop_box(
                height,
                width,
                recipe.pixels.crop_size,
                recipe.pixels.crop_scales,
                recipe.pixels.crop_max_gap,
                recipe.pixels.crop_points,
                rng,
            )
        else:
            box = center_crop_box(height, width, recipe.pixels.crop_size)
        flipped = bool(rng.random() < recipe.pixels.flip)
        return Draw(box, flipped, draw_jitter(recipe.pixels.color_jitter, rng) if recipe.pixels.color_jitter else None)

    def apply(self, frames: np.ndarray, draw: Draw, out: np.ndarray) -> None:
        """Writes the view of frames, uint8 [T, H, W, 3] RGB, that `draw` decides into `out`, float32 [T, 3, H, W]."""
        size = self._recipe.pixels.crop_size
        frames = resize(_cropped(frames, draw.box, self._recipe), size, size)
        if draw.flip:
            frames = flip(frames)
        if draw.jitter:
            frames = color_jitter(frames, draw.jitter)
        normalize(frames, self._table, out)

    def warp(self, maps: np.ndarray, draw: Draw) -> np.ndarray:
        """The places of the view in maps of the frames' size, uint8 [n, H, W, C] to [1, n, crop_size, crop_size, C]."""
        size = self._recipe.pixels.crop_size
        maps = resize_nearest(_cropped(maps, draw.box, self._recipe, resize_nearest), size, size)
        return (flip(maps) if draw.flip else maps)[None]


class EvalTransform:
    """Resize, the crops of validation ("val": the center) or of a test, normalize."""

    def __init__(self, recipe: Recipe, mode: str = "test") -> None:
        self._recipe = recipe
        self._table = normalize_table(recipe.pixels.mean, recipe.pixels.std)
        self._crops = recipe.pixels.test_crops if mode == "test" else "center"
        self.size = recipe.pixels.test_size if mode == "test" else recipe.pixels.crop_size

    @property
    def num_crops(self) -> int:
        """Spatial views of each frame."""
        return {"center": 1, "three": 3, "ten": 10}[self._crops]

    def boxes(self, height: int, width: int) -> list[tuple[Box, bool]]:
        """(box in the resized frame, flipped) of each crop, in order; height and width are those before the resize."""
        height, width = first_size(height, width, self._recipe.pixels)
        if self._crops == "ten":
            return [(box, flipped) for box in ten_crop_boxes(height, width, self.size) for flipped in (False, True)]
        if self._crops == "three":
            return [(box, False) for box in three_crop_boxes(height, width, self.size)]
        return [(center_crop_box(height, width, self.size), False)]

    def apply(self, frames: np.ndarray, out: np.ndarray) -> None:
        """Writes the crops of frames [T, H, W, 3] into `out`, float32 [num_crops, T, 3, size, size]."""
        boxes = self.boxes(frames.shape[1], frames.shape[2])
        if not self._recipe.pixels.fused_resize:
            resized = resize(frames, *first_size(frames.shape[1], frames.shape[2], self._recipe.pixels))
        for (box, flipped), target in zip(boxes, out, strict=True):
            if self._recipe.pixels.fused_resize:
                part = resize(_cropped(frames, box, self._recipe), self.size, self.size)
            else:
                part = crop(resized, box)
            normalize(flip(part) if flipped else part, self._table, target)

    def warp(self, maps: np.ndarray) -> np.ndarray:
        """The places of the crops in maps of the frames' size, uint8 [n, H, W, C] to [num_crops, n, size, size, C]."""
        crops = []
        for box, flipped in self.boxes(maps.shape[1], maps.shape[2]):
            part = resize_nearest(_cropped(maps, box, self._recipe, resize_nearest), self.size, self.size)
            crops.append(flip(part) if flipped else part)
        return np.stack(crops)


def _cropped(
    frames: np.ndarray,
    box: Box,
    recipe: Recipe,
    resized_by: Callable[[np.ndarray, int, int], np.ndarray] = resize,
) -> np.ndarray:
    """The box of the resized frames; with `fused_resize` the same part of the source, not resized yet."""
    source = (frames.shape[1], frames.shape[2])
    resized = first_size(*source, recipe.pixels)
    if recipe.pixels.fused_resize:
        return crop(frames, source_box(box, resized, source))
    return crop(resized_by(frames, *resized), box)
