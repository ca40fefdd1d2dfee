"""What describes a data set of pictures and masks: what its site gives, and how its annotations become masks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from configs.suffixes import PICTURE_SUFFIXES, any_of
from tools.prepare.release import Part
from tools.prepare.settings import Lists

if TYPE_CHECKING:
    import numpy as np

IMAGES, MASKS, ORIGINALS = "images", "masks", "originals"  # folders of a data set; the last has its annotation files
PICTURE_FILE = f".+{any_of(PICTURE_SUFFIXES)}"
PERSON, UNKNOWN = 1, 255  # of a mask's pixels; the others are 0


@dataclass(frozen=True)
class Labeled:
    """One picture.

    Attributes:
        subset: "train" or "val".
        picture: Its path below `images/`.
        draw: Gives its mask, uint8 [H, W] of 0, PERSON and UNKNOWN; raises UserError for an annotation that is none.
    """

    subset: str
    picture: str
    draw: Callable[[], np.ndarray]


@dataclass(frozen=True)
class MaskRelease:
    """A data set.

    Attributes:
        parts: What its site gives.
        place: From the name of the archive or of the folder in --source that a file comes from, and the folders below
            that and its name, to its place in the data set, below `images/` or, of an annotation file, below
            `originals/`; None if it is not wanted.
        read: From the folder `originals/` and what is asked for, to what is labeled.
        preset: To train with.
    """

    parts: tuple[Part, ...]
    place: Callable[[str, Sequence[str]], str | None]
    read: Callable[[Path, Lists], Iterable[Labeled]]
    preset: str


def divided(names: Sequence[str], asked: Lists) -> dict[str, str]:
    """Name -> "train" or "val" of pictures that a site does not divide, by chance and the seed alone."""
    order = sorted(names)
    random.Random(asked.split_seed).shuffle(order)
    count = max(1, round(asked.val_fraction * len(order)))
    return {name: "val" if place < count else "train" for place, name in enumerate(order)}
