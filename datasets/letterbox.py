"""A picture in a square: scaled until it fits, in the middle, with what is left of the square filled.

One way for training, for Python's inference and for what feeds an exported graph: resize, then fill. The portrait
project that this follows resized and then padded in Python, and padded and then resized, by another interpolation, on
the phone: its masks differed where nobody looked.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from datasets.transforms import Box, crop, resize, resize_nearest

UNKNOWN = 255  # in a mask: no label, as in the filled border
BORDERS = {"replicate": cv2.BORDER_REPLICATE, "zero": cv2.BORDER_CONSTANT}


@dataclass(frozen=True)
class Letterbox:
    """Where a picture lies in a square.

    Attributes:
        height, width: Of the picture, pixels.
        size: Side of the square.
        padding: What fills it: a key of BORDERS.
    """

    height: int
    width: int
    size: int
    padding: str = "replicate"

    @property
    def box(self) -> Box:
        """The picture in the square: its long side fills it; the odd pixel of the border is right and below."""
        scale = self.size / max(self.height, self.width)
        height, width = (max(1, int(side * scale + 0.5)) for side in (self.height, self.width))
        return Box((self.size - width) // 2, (self.size - height) // 2, width, height)

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Maps an image uint8 [H, W, 3] to [size, size, 3], by bilinear interpolation without antialiasing."""
        box = self.box
        return self._filled(resize(image[None], box.height, box.width)[0], BORDERS[self.padding], 0)

    def apply_labels(self, labels: np.ndarray) -> np.ndarray:
        """Maps labels uint8 [H, W] to [size, size] by the nearest pixel; the border is UNKNOWN, whatever fills it."""
        box = self.box
        part = resize_nearest(labels[None, ..., None], box.height, box.width)[0, ..., 0]
        return self._filled(part, cv2.BORDER_CONSTANT, UNKNOWN)

    def undo(self, maps: np.ndarray) -> np.ndarray:
        """Maps float32 [size, size] of the square to [H, W] of the picture, by bilinear interpolation."""
        part = np.ascontiguousarray(crop(maps[None], self.box)[0])
        return cv2.resize(part, (self.width, self.height), interpolation=cv2.INTER_LINEAR)

    def _filled(self, part: np.ndarray, border: int, value: int) -> np.ndarray:
        box = self.box
        below, right = self.size - box.y - box.height, self.size - box.x - box.width
        return cv2.copyMakeBorder(part, box.y, below, box.x, right, border, value=(value,) * 3)
