"""Frames of a video file or of a folder of pictures, and only those that are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np

from configs.limits import Limits
from datasets import pictures
from datasets.pictures import FRAME_NAME
from datasets.source import Budget, DecodeError, FrameSource, errors_named
from datasets.video import VideoFile

FLOW_PREFIX = "flow"


def open_source(path: str, num_frames: int | None = None, limits: Limits | None = None) -> FrameSource:
    """Opens a video file or a folder of frames.

    Args:
        path: The file or folder.
        num_frames: Frames that the list promises for a folder; None takes all there are. Videos count their own.
        limits: What the file may cost; None for those of a person's own files.

    Returns:
        A context manager with `num_frames` and `read(indices) -> uint8 [len, H, W, 3] RGB`; indices count from 0,
        in any order, repeated or not.

    Raises:
        DecodeError: Nothing there, not a video, truncated, beyond the limits, or a gap in the numbering of the frames.
    """
    limits = limits or Limits()
    if os.path.isdir(path):
        return FrameFolder(path, num_frames, limits)
    if not os.path.isfile(path):
        raise DecodeError(f"{path} does not exist")
    return VideoFile(path, limits)


class FrameFolder(FrameSource):
    """A folder of numbered images: any prefix, then digits that count up from any number, then an image suffix.

    Optical flow beside the RGB frames (`flow_x_00001.jpg`) is passed over.
    """

    def __init__(self, path: str, num_frames: int | None, limits: Limits) -> None:
        self.path = path
        self._budget = Budget(path, limits)
        self._names = _frame_names(path)
        if num_frames is not None and num_frames > len(self._names):
            raise DecodeError(f"{path} holds {len(self._names)} frames, the list says {num_frames}")
        self.num_frames = len(self._names) if num_frames is None else num_frames

    def _decoded(self, ordered: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        for index in ordered:
            yield index, _read_image(self._name(index), self._budget)

    def _name(self, index: int) -> str:
        return os.path.join(self.path, self._names[index])


def _frame_names(folder: str) -> list[str]:
    """File names of the frames in order.

    Raises:
        DecodeError: No frames, several ways of naming them, or a number that is missing.
    """
    series: dict[tuple[str, str], dict[int, str]] = {}
    for name in os.listdir(folder):
        match = FRAME_NAME.fullmatch(name)
        if match and not name.startswith("."):
            prefix, digits, suffix = match.group("prefix", "number", "suffix")
            numbers, number = series.setdefault((prefix, suffix), {}), int(digits)
            if number in numbers:
                raise DecodeError(f"{folder} has two frames {number}: {numbers[number]} and {name}")
            numbers[number] = name
    rgb = [key for key in series if not key[0].startswith(FLOW_PREFIX)]
    if not rgb:
        raise DecodeError(f"{folder} holds no video and no numbered image (such as img_00001.jpg)")
    if len(rgb) > 1:
        examples = ", ".join(sorted(min(series[key].values()) for key in rgb))
        raise DecodeError(f"{folder} holds frames named in several ways: {examples}")
    numbers = series[rgb[0]]
    first, last = min(numbers), max(numbers)
    if last - first + 1 != len(numbers):
        missing = next(number for number in range(first, last) if number not in numbers)
        raise DecodeError(f"{folder} has a gap: {_name_like(numbers[missing - 1], missing)} is missing")
    return [numbers[number] for number in range(first, last + 1)]


def _name_like(name: str, number: int) -> str:
    """`name` with another number, as wide as the one it had."""
    match = FRAME_NAME.fullmatch(name)
    assert match is not None  # `name` comes from a match
    return f"{match['prefix']}{number:0{len(match['number'])}d}{match['suffix']}"


def read_picture(path: str, limits: Limits | None = None) -> np.ndarray:
    """A picture, uint8 [H, W, 3] RGB, upright.

    Args:
        path: The file.
        limits: What it may cost; None for those of a person's own files.

    Raises:
        DecodeError: It is none, damaged, or beyond the limits.
    """
    return _read_image(path, Budget(path, limits or Limits()))


def read_labels(path: str, limits: Limits | None = None) -> np.ndarray:
    """A picture whose values are labels, uint8 [H, W]: as they stand in the file, not the colors of its palette.

    Raises:
        DecodeError: As `read_picture`, or it has several values for a pixel.
    """
    return _read_image(path, Budget(path, limits or Limits()), pictures.decode_labels)


def _read_image(path: str, budget: Budget, decode: Callable[[bytes], np.ndarray] = pictures.decode) -> np.ndarray:
    """uint8 [H, W, 3] RGB, or what else `decode` makes of it."""
    budget.check_time()
    try:
        with open(path, "rb") as file:
            budget.take_file(os.fstat(file.fileno()).st_size)
            data = file.read()
    except OSError as error:
        raise DecodeError(f"cannot read {path}: {error.strerror}") from error
    with errors_named(f"{path} is no readable picture"):
        budget.take_frame(*pictures.size_of(data))
        return decode(data)
