"""What a network shall give for a sample: how a list states it, and how it follows the sample's pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from configs.recipe import Pixels
from datasets.transforms import flip_label
from runtime.errors import UserError

MAX_CLASSES = 1_000_000


class DataError(UserError):
    """The data on disk cannot be used as it is; the message is one line for the user."""


@dataclass(frozen=True)
class View:
    """Where the pixels of a sample come from, for targets that follow them.

    Attributes:
        indices: Numbers of the frames, int64 [clips, T]; one clip in training and validation.
        flipped: Whether a training view is mirrored.
        warp: Maps arrays of the size of the source's frames, uint8 [n, height, width, C], to the crops of the views,
            uint8 [crops, n, side, side, C], by the nearest pixel. Views are crop-major: all clips of the first crop
            come first.
        size: Height and width of the source's frames.
    """

    indices: np.ndarray
    flipped: bool
    warp: Callable[[np.ndarray], np.ndarray]
    size: tuple[int, int]


class Targets(Protocol):
    """Reads the targets of a task. It travels to the processes that load, so it imports no framework."""

    in_class_folders: bool
    """Whether a folder for each class states the targets."""
    class_names: tuple[str, ...]
    """Of a data set that names none; empty if that says nothing."""
    word: str
    """What the last word of a list's line is, for messages."""

    def parse(self, text: str, place: str, folder: str, num_classes: int) -> Any:
        """What the last word of a list's line states.

        Args:
            text: The word.
            place: File and line, for messages.
            folder: The dataset's folder.
            num_classes: Classes, 0 if that is not known.

        Raises:
            DataError: It states nothing that can be.
        """

    def in_folders(self, source: str, num_classes: int) -> list[tuple[str, Any]]:
        """The samples of a folder without a list, with what states their targets; it is asked if no class folder does.

        Args:
            source: The folder of a subset.
            num_classes: Classes, 0 if that is not known.

        Raises:
            DataError: It holds none, or one without a target.
        """

    def load(self, stated: Any, view: View, pixels: Pixels) -> np.ndarray:
        """The target of a sample, an array of the same shape and dtype for all samples of a data set and a mode.

        Args:
            stated: As `parse` returned it.
            view: Where the sample's pixels come from.
            pixels: Of the recipe.

        Raises:
            DataError: It cannot be read.
        """


def is_number(text: str) -> bool:
    """Whether a text is a whole number from 0, in digits that `int` reads, of a size that counts something."""
    return text.isascii() and text.isdigit() and len(text) < 19


class Labels:
    """Class labels: a whole number in a list's line, or a folder for each class; int64 [] as a target."""

    in_class_folders = True
    class_names: tuple[str, ...] = ()
    word = "label"

    def parse(self, text: str, place: str, folder: str, num_classes: int) -> int:
        """The label; raises DataError for one that is no number or out of range."""
        if not is_number(text.removeprefix("-")):
            raise DataError(
                f"{place}: a line must be `path label` or `path num_frames label`, got {text[:60]!r} for the label"
            )
        label, limit = int(text), num_classes or MAX_CLASSES
        if not 0 <= label < limit:
            raise DataError(f"{place}: label must be 0..{limit - 1}, got {label}")
        return label

    def in_folders(self, source: str, num_classes: int) -> list[tuple[str, int]]:
        """None: folders of classes state them."""
        return []

    def load(self, stated: int | None, view: View, pixels: Pixels) -> np.ndarray:
        """The label; of a mirrored view the other one of its pair; -1 for a video without one."""
        if stated is None:
            return np.array(-1, np.int64)
        return np.array(flip_label(stated, pixels.flip_pairs) if view.flipped else stated, np.int64)
