"""Supervisely's persons, or another project of its export: pictures in `img/`, a JSON file for each in `ann/`.

Source: docs.supervisely.com, "Supervisely JSON format": polygons with holes, and bitmaps, a PNG that is deflated and
written in base64, with a place. The class `neutral` of its persons is neither person nor background.
"""

from __future__ import annotations

import base64
import binascii
import functools
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from configs.suffixes import PICTURE_SUFFIXES
from runtime.errors import UserError
from runtime.records import read_record
from tools.prepare.mask_release import (
    IMAGES,
    ORIGINALS,
    PERSON,
    PICTURE_FILE,
    UNKNOWN,
    Labeled,
    MaskRelease,
    divided,
)
from tools.prepare.release import TAR, Part
from tools.prepare.settings import Lists

if TYPE_CHECKING:
    import numpy as np

FOLDERS = {"img": IMAGES, "ann": ORIGINALS}  # of a project -> where it goes
NEUTRAL = "neutral"
MOST_BYTES = 2**26  # of a bitmap


class Size(TypedDict):
    """Of a picture, pixels."""

    height: int
    width: int


class Picture(TypedDict):
    """What is read of an annotation file."""

    size: Size
    objects: list[dict[str, Any]]


def place(origin: str, parts: Sequence[str]) -> str | None:
    """The place of a file: the name of its part of the project, and its own; None if it lies in no known folder."""
    *above, folder, name = ("", origin, *parts)
    return "/".join(filter(None, [FOLDERS[folder], above[-1], name])) if folder in FOLDERS else None


def read(originals: Path, asked: Lists) -> Iterator[Labeled]:
    """Every annotated picture, divided by chance."""
    annotations = {_picture_of(path, originals): path for path in sorted(originals.rglob("*.json"))}
    subsets = divided(list(annotations), asked)
    for picture, path in annotations.items():
        yield Labeled(subsets[picture], picture, functools.partial(draw, path))


def _picture_of(path: Path, originals: Path) -> str:
    """`ds/name.png` of `ds/name.png.json`; older exports leave the suffix of the picture out."""
    picture = path.with_suffix("")
    if picture.suffix.lower() not in PICTURE_SUFFIXES:
        images = originals.parent / IMAGES / picture.relative_to(originals)
        found = [images.with_name(images.name + suffix) for suffix in PICTURE_SUFFIXES]
        picture = picture.with_name(next((one.name for one in found if one.is_file()), f"{picture.name}.png"))
    return picture.relative_to(originals).as_posix()


def draw(path: Path) -> np.ndarray:
    """The mask that a file states, uint8 [H, W]; raises UserError for one that is damaged, or has another shape."""
    import cv2
    import numpy as np

    stated: Picture = read_record(path, Picture, way_out=": fetch it again")
    mask = np.zeros((stated["size"]["height"], stated["size"]["width"]), np.uint8)
    for one in stated["objects"]:
        try:
            covered = _bitmap(one, mask.shape) if one.get("bitmap") else _polygon(one, mask.shape)
        except (ValueError, KeyError, TypeError, IndexError, zlib.error, cv2.error) as error:
            raise UserError(f"{path} has an object that is no shape ({error!r})") from error
        mask[covered] = UNKNOWN if one.get("classTitle") == NEUTRAL else PERSON
    return mask


def _polygon(one: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """bool [H, W]."""
    import cv2
    import numpy as np

    covered = np.zeros(shape, np.uint8)
    for value, polygons in ((1, [one["points"]["exterior"]]), (0, one["points"]["interior"])):
        for polygon in polygons:
            points = np.array(polygon, np.float64).reshape(-1, 2)
            if not (np.abs(points) < 2**15).all():
                raise ValueError("a point lies far beyond the picture")
            cv2.fillPoly(covered, [np.rint(points).astype(np.int32)], (value,))
    return covered > 0


def _bitmap(one: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """bool [H, W]."""
    import cv2
    import numpy as np

    try:
        packed = base64.b64decode(one["bitmap"]["data"], validate=True)
    except binascii.Error as error:
        raise ValueError(f"its bitmap is no base64: {error}") from error
    inflater = zlib.decompressobj()
    content = inflater.decompress(packed, MOST_BYTES)
    if inflater.unconsumed_tail:
        raise ValueError(f"its bitmap has more than {MOST_BYTES // 2**20} MB")
    values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise ValueError("its bitmap is no picture")
    if values.ndim > 2:
        values = values[..., -1]  # of four channels the opacity
    x, y = map(int, one["bitmap"]["origin"])
    covered = np.zeros(shape, bool)
    place = covered[y : y + values.shape[0], x : x + values.shape[1]]
    if x < 0 or y < 0 or place.shape != values.shape:
        raise ValueError("its bitmap reaches beyond the picture")
    place[:] = values > 0
    return covered


RELEASE = MaskRelease(
    parts=(
        Part(
            "the project", "<dataset>/img/<picture> and <dataset>/ann/<picture>.json, packed or not",
            rf".+\.(rar|zip|{TAR})", rf"{PICTURE_FILE}|(?!meta\.json).+\.json", is_mixed=True,
        ),
    ),
    place=place,
    read=read,
    preset="portraits_unet_mobilenet_v2",
)  # fmt: skip
