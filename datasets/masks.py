"""Masks: a picture beside each picture, with a label for each of its pixels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from configs.recipe import Pixels
from configs.suffixes import PICTURE_SUFFIXES
from datasets.decode import read_labels
from datasets.letterbox import UNKNOWN
from datasets.media import Names, is_hidden
from datasets.targets import DataError, View

IMAGES, MASKS = "images", "masks"  # folders of a subset without a list


class MaskFile(NamedTuple):
    """What states the mask of a picture.

    Attributes:
        path: The picture of labels.
        classes: How many labels there are; 0 if that is not known.
    """

    path: str
    classes: int


class Masks:
    """A picture of labels beside each picture: 0 to K - 1, and 255 where there is none; or, of two classes, 0 and 255.

    A list has a line `image mask` for each, paths from its folder on, as PP-HumanSeg's have; without a list a subset is
    a folder with `images/` and `masks/`, in which a mask is called like its image but for the suffix.
    """

    in_class_folders = False
    class_names: tuple[str, ...] = ("background", "person")
    word = "mask"

    def parse(self, text: str, place: str, folder: str, num_classes: int) -> MaskFile:
        """The file; raises DataError if it is not there."""
        found = Names().find(folder, text)
        if not found or not os.path.isfile(found[0]):
            raise DataError(f"{place}: there is no mask {os.path.join(folder, text)}")
        return MaskFile(found[0], num_classes)

    def in_folders(self, source: str, num_classes: int) -> list[tuple[str, MaskFile]]:
        """The pairs in `images/` and `masks/`; raises DataError for a picture, or a mask, without its partner."""
        images, masks = (_pictures_in(os.path.join(source, name)) for name in (IMAGES, MASKS))
        for found, others, what in ((images, masks, "mask"), (masks, images, "image")):
            alone = sorted(path for stem, path in found.items() if stem not in others)
            if alone:
                raise DataError(f"{len(alone)} pictures have no {what} of their name in {source}, first {alone[0]}")
        return [(images[stem], MaskFile(masks[stem], num_classes)) for stem in sorted(images)]

    def load(self, stated: MaskFile | None, view: View, pixels: Pixels) -> np.ndarray:
        """The labels that follow the picture into its square, uint8 [size, size].

        They are UNKNOWN in the filled border, where the mask says so, and for a picture without a mask.
        """
        labels = np.full(view.size, UNKNOWN, np.uint8) if stated is None else read_mask(stated)
        if stated is not None and labels.shape != view.size:
            sizes = [f"{width}x{height}" for height, width in (labels.shape, view.size)]
            raise DataError(f"the mask {stated.path} is {sizes[0]}, its picture {sizes[1]}: they must be of one size")
        return view.warp(labels[None, ..., None])[0, 0, ..., 0]


def read_mask(stated: MaskFile) -> np.ndarray:
    """The labels of a file, uint8 [H, W]: 0 to K - 1, and UNKNOWN.

    Raises:
        DataError: It is no picture of labels, has other values, or says nothing of any pixel.
    """
    labels = read_labels(stated.path)
    values = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    classes = stated.classes or 2
    if classes == 2 and set(values.tolist()) <= {0, 255}:  # black and white
        return np.where(labels == 255, np.uint8(1), labels)
    wrong = values[(values >= classes) & (values != UNKNOWN)]
    if len(wrong):
        shown = ", ".join(map(str, wrong[:3])) + (", ..." if len(wrong) > 3 else "")
        allowed = "0 and 1, or 0 and 255" if classes == 2 else f"0 to {classes - 1}, and 255 for none"
        raise DataError(f"the mask {stated.path} has the values {shown}: {classes} classes are {allowed}")
    if values.tolist() == [UNKNOWN]:
        raise DataError(f"the mask {stated.path} is empty: no pixel of it has a label")
    return labels


def _pictures_in(folder: str) -> dict[str, str]:
    """Stem -> path of the pictures in a folder."""
    if not os.path.isdir(folder):
        raise DataError(
            f"there is no {folder}: a subset is a list of lines `image mask`, or a folder with {IMAGES}/ and {MASKS}/"
        )
    found: dict[str, str] = {}
    for path in sorted(Path(folder).iterdir()):
        if is_hidden(path.name) or path.suffix.lower() not in PICTURE_SUFFIXES:
            continue
        if path.stem in found:
            raise DataError(f"{folder} has two pictures called {path.stem}: {found[path.stem]} and {path}")
        found[path.stem] = str(path)
    return found
