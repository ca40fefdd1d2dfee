"""Frames of a video by OpenCV, which is asked for one after the other from the first to the last.

The one file of `alignment.reference` that needs more than PyTorch: OpenCV, so that other code drives the decoder. Both
rest on FFmpeg, so what is tested is which frame is the i-th, its colors and its orientation, not the codecs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import torch

IMAGE_SUFFIXES = (
    ".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff",
    ".webp",
)  # fmt: skip


def count_frames(path: str) -> int:
    """Frames that reading from the start to the end gives, of a video file or of a folder of images."""
    return sum(1 for _ in _images(path))


def decode(path: str, indices: Sequence[int]) -> torch.Tensor:
    """Frames by their places in the order of display, counted from 0; uint8 [len(indices), H, W, 3] RGB.

    Raises:
        ValueError: OpenCV gives too few frames.
    """
    frames = {}
    for i, image in enumerate(_images(path)):
        if i in indices:
            frames[i] = torch.from_numpy(image).flip(-1)  # OpenCV's order is BGR
    missing = [int(i) for i in indices if int(i) not in frames]
    if missing:
        raise ValueError(f"OpenCV finds no frame {missing[0]} in {path}")
    return torch.stack([frames[int(i)] for i in indices])


def _images(path: str) -> Iterator[Any]:
    """Images uint8 [H, W, 3] BGR; those of a folder in the order of their names."""
    if os.path.isdir(path):
        names = sorted(name for name in os.listdir(path) if name.lower().endswith(IMAGE_SUFFIXES))
        yield from (cv2.imread(os.path.join(path, name)) for name in names)
        return
    capture = cv2.VideoCapture(path)
    is_read, image = capture.read()
    while is_read:
        yield image
        is_read, image = capture.read()
    capture.release()
