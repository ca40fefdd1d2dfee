"""What is wrong with the videos of a data set: broken ones, very short ones, odd sizes, and those that are there twice.

Two videos are taken for the same if their frames look the same at the same parts of them, whatever codec, size and
length they have. Each is known by five frames of 16 x 16 pixels. Copies of real clips at half the size and a low rate
differ by up to .065 of the contrast, other clips of the same camera by .136 and more, others by about 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from configs.limits import Limits
from datasets.decode import open_source
from datasets.sequential import SequentialFile
from datasets.targets import DataError

PLACES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of a video, whose frames are compared
SIDE, COARSE = 16, 2  # pixels of such a frame; a first look takes fewer
FLAT = 8.0  # standard deviation, of 255, below which a video shows nothing that could be compared
ALIKE = 0.1  # of the contrast, that copies may differ by
PAIRS = 2_000_000  # that are compared at a time
ODD_AREA, ODD_SHAPE = 4.0, 1.5  # times the usual area, or ratio of the sides, from which on a size is odd
NOTHING = np.zeros((len(PLACES), SIDE, SIDE, 3), np.uint8)


class Examined(NamedTuple):
    """What a video is, all of it decoded.

    Attributes:
        path: Of the file or the folder of frames.
        error: Why it cannot be read; empty if it can.
        frames, fps, height, width: Of the video; 0 where it cannot be read, or nobody says.
        small: The frames at PLACES, uint8 [5, 16, 16, 3] RGB.
    """

    path: str
    error: str = ""
    frames: int = 0
    fps: float = 0.0
    height: int = 0
    width: int = 0
    small: np.ndarray = NOTHING


class Twin(NamedTuple):
    """Two videos that look the same: their places among those that were examined, and how far they differ."""

    first: int
    second: int
    off: float


def examine(path: str, limits: Limits | None = None) -> Examined:
    """Decodes all of a video."""
    try:
        if Path(path).is_dir():
            with open_source(path, limits=limits) as source:
                count, fps, wanted = source.num_frames, source.fps, set(_places(source.num_frames))
                images = {number: image for number, image in source.frames(range(count)) if number in wanted}
        else:
            film = SequentialFile(path, limits)
            wanted = set(_places(film.num_frames))
            images, count, fps = {}, 0, film.fps
            for shown in film.frames(wanted.__contains__):
                count = shown.number + 1
                if shown.image is not None:
                    images[shown.number] = shown.image
            if count < film.num_frames:
                return Examined(path, f"{path} has {film.num_frames} frames, of which {count} decode", count, fps)
    except DataError as error:
        return Examined(path, str(error))
    frames = [images[number] for number in _places(count)]
    height, width = frames[0].shape[:2]
    small = [cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in frames]
    return Examined(path, "", count, fps, height, width, np.stack(small))


def _places(count: int) -> list[int]:
    return [int(part * count) for part in PLACES]


def twins(found: Sequence[Examined]) -> list[Twin]:
    """All pairs of videos that look the same, the most alike first."""
    small = np.stack([one.small for one in found])  # [N, 5, 16, 16, 3]
    contrast = np.sqrt(small.reshape(len(small), len(PLACES), -1).var(axis=2).mean(axis=1))  # [N]
    cells = small.reshape(len(small), len(PLACES), COARSE, SIDE // COARSE, COARSE, SIDE // COARSE, 3)
    coarse = cells.mean(axis=(3, 5), dtype=np.float32).reshape(len(small), -1)  # [N, 60], which differ less
    shows = contrast >= FLAT
    pairs = []
    block = max(1, PAIRS // max(1, len(small)))
    for begin in range(0, len(small), block):
        part = coarse[begin : begin + block]
        square = np.square(part).sum(axis=1)[:, None] + np.square(coarse).sum(axis=1) - 2 * part @ coarse.T
        reach = ALIKE * np.maximum(contrast[begin : begin + block, None], contrast) + 0.5
        near = (square <= np.square(reach) * coarse.shape[1]) & shows & shows[begin : begin + block, None]
        for i, second in np.argwhere(near):
            first = begin + int(i)
            if first < second:
                off = np.square(small[first].astype(np.float32) - small[second]).mean() ** 0.5
                off = float(off / max(contrast[first], contrast[second]))
                pairs += [Twin(first, int(second), off)] * (off <= ALIKE)
    return sorted(pairs, key=lambda pair: pair.off)


def odd_sizes(found: Sequence[Examined]) -> list[int]:
    """Places of the videos whose area or shape is far from that of most."""
    sizes = Counter((one.height, one.width) for one in found if not one.error)
    if not sizes:
        return []
    (height, width), _ = sizes.most_common(1)[0]
    odd = []
    for place, one in enumerate(found):
        if one.error:
            continue
        area = one.height * one.width / (height * width)
        shape = one.width / one.height / (width / height)
        if max(area, 1 / area) > ODD_AREA or max(shape, 1 / shape) > ODD_SHAPE:
            odd.append(place)
    return odd
