"""A person before another background: pure functions of an image and of how much of each pixel is the person's."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from configs.limits import Limits
from datasets import DataError
from datasets.decode import read_picture

BLUR = 0.03  # standard deviation of the blurred background, of the long side
COLOR = re.compile(r"#([0-9a-fA-F]{6})")
Background = Callable[[np.ndarray], np.ndarray]  # an image uint8 [H, W, 3] RGB -> what lies behind, of its size


def blurred(image: np.ndarray) -> np.ndarray:
    """The image itself, out of focus."""
    out: np.ndarray = cv2.GaussianBlur(image, (0, 0), BLUR * max(image.shape[:2]))
    return out


def colored(color: tuple[int, ...]) -> Background:
    """One color, (R, G, B)."""
    return lambda image: np.broadcast_to(np.array(color, np.uint8), image.shape)


def pictured(picture: np.ndarray) -> Background:
    """A picture that covers the image: scaled until no side is too short, its middle cut out."""
    kept: dict[tuple[int, int], np.ndarray] = {}

    def background(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        if (height, width) not in kept:
            scale = max(height / picture.shape[0], width / picture.shape[1])
            size = [max(1, round(side * scale)) for side in picture.shape[:2]]
            size = [max(size[0], height), max(size[1], width)]
            large = cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
            y, x = (size[0] - height) // 2, (size[1] - width) // 2
            kept.clear()
            kept[height, width] = large[y : y + height, x : x + width]
        return kept[height, width]

    return background


def background_of(name: str, limits: Limits | None = None) -> Background | None:
    """What a name asks for: `blur`, a color `#rrggbb`, or the file of a picture; None for `mask`, the mask itself.

    Raises:
        DataError: It is none of these.
    """
    if name == "mask":
        return None
    if name == "blur":
        return blurred
    if match := COLOR.fullmatch(name):
        return colored(tuple(bytes.fromhex(match[1])))
    if not Path(name).is_file():
        raise DataError(f"--background must be mask, blur, a color as #00ff00, or the file of a picture, got {name}")
    return pictured(read_picture(name, limits))


def composed(image: np.ndarray, share: np.ndarray, background: Background | None) -> np.ndarray:
    """An image before a background, uint8 [H, W, 3] RGB; without one the mask, white where the person is.

    Args:
        image: uint8 [H, W, 3] RGB.
        share: float32 [H, W], how much of each pixel is the person's, 0 to 1.
        background: See `background_of`.
    """
    if background is None:
        mask: np.ndarray = np.rint(share * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
        return mask
    weight = share[..., None]
    out: np.ndarray = np.rint(image * weight + background(image) * (1 - weight)).astype(np.uint8)
    return out


class Steadied:
    """The shares of a video's frames, each mixed with those before it, so that edges do not flicker.

    Args:
        memory: How much of the frames before goes into each, 0 to below 1.
    """

    def __init__(self, memory: float) -> None:
        self.memory = memory
        self.reset()

    def reset(self) -> None:
        """The next frame is the first of another video."""
        self._before: np.ndarray | None = None

    def __call__(self, share: np.ndarray) -> np.ndarray:
        """The steadied share of the next frame; one of another size begins anew."""
        if self._before is not None and self._before.shape == share.shape:
            share = self.memory * self._before + (1 - self.memory) * share
        self._before = share
        return share
