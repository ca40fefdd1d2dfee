"""COCO's persons as masks: the zips of pictures of 2014 or 2017, and those of the annotations.

Source: cocodataset.org, "Data format", 1: polygons of instances, and lengths of runs for crowds. What lies in a crowd
is neither person nor background here, as the annotators did not tell.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import UserError
from tools.prepare.mask_release import IMAGES, ORIGINALS, PERSON, UNKNOWN, Labeled, MaskRelease
from tools.prepare.release import Part
from tools.prepare.settings import Lists

if TYPE_CHECKING:
    import numpy as np

CATEGORY = "person"


def place(origin: str, parts: Sequence[str]) -> str | None:
    """The place of a file, whose name is the only one of its kind."""
    return f"{ORIGINALS if parts[-1].endswith('.json') else IMAGES}/{parts[-1]}"


def read(originals: Path, asked: Lists) -> Iterator[Labeled]:
    """The pictures with a person of every annotation file."""
    coco_class = _coco()
    for path in sorted(originals.glob("instances_*.json")):
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints how long it takes
                coco = coco_class(str(path))
            categories = coco.getCatIds(catNms=[CATEGORY])
            numbers = sorted(coco.getImgIds(catIds=categories)) if categories else []
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise UserError(f"{path.name} is no annotation file of COCO ({error!r}): fetch it again") from error
        subset = "train" if path.stem.startswith("instances_train") else "val"
        for number in numbers:
            image = coco.imgs[number]
            annotations = coco.loadAnns(coco.getAnnIds(imgIds=[number], catIds=categories))
            yield Labeled(subset, image["file_name"], functools.partial(draw, image, annotations))


def _coco() -> Any:
    try:
        from pycocotools.coco import COCO
    except ImportError as error:
        raise UserError("COCO's annotations need pycocotools: pip install -r requirements-prepare.txt") from error
    return COCO


def draw(image: dict[str, Any], annotations: Sequence[dict[str, Any]]) -> np.ndarray:
    """The mask of a picture, uint8 [H, W]; raises UserError for an annotation that is none."""
    import numpy as np
    from pycocotools import mask as rle

    height, width = image["height"], image["width"]
    mask = np.zeros((height, width), np.uint8)
    for one in sorted(annotations, key=lambda one: not one.get("iscrowd")):  # a person in a crowd is one
        try:
            shape = one["segmentation"]
            if isinstance(shape, dict):
                if shape["size"] != [height, width] or sum(shape["counts"]) != height * width:
                    raise ValueError("its runs do not fill the picture")
                runs = rle.frPyObjects(shape, height, width)
            else:
                runs = rle.merge(rle.frPyObjects([list(map(float, polygon)) for polygon in shape], height, width))
            mask[rle.decode(runs).astype(bool)] = UNKNOWN if one.get("iscrowd") else PERSON
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise UserError(f"annotation {one.get('id')} of {image['file_name']} is no shape ({error})") from error
    return mask


RELEASE = MaskRelease(
    parts=(
        Part(
            "the pictures", "train2017.zip and val2017.zip, or those of 2014, or folders of <id>.jpg",
            r"(train|val)20(14|17)\.zip", r"(COCO_(train|val)2014_)?\d{12}\.jpg",
        ),
        Part(
            "the annotations", "annotations_trainval2017.zip, or its instances_{train,val}2017.json",
            r"annotations_trainval20(14|17)\.zip", r"instances_(train|val)20(14|17)\.json",
        ),
    ),
    place=place,
    read=read,
    preset="portraits_unet_mobilenet_v2",
)  # fmt: skip
