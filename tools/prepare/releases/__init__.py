"""The data sets that can be prepared: one file and one entry each."""

from __future__ import annotations

from tools.prepare.mask_release import MaskRelease
from tools.prepare.release import Release
from tools.prepare.releases import (
    coco_persons,
    folder,
    hmdb51,
    jester,
    kinetics400,
    something_v1,
    something_v2,
    supervisely,
    ucf101,
)

RELEASES: dict[str, Release | MaskRelease] = {
    "ucf101": ucf101.RELEASE,
    "hmdb51": hmdb51.RELEASE,
    "kinetics400": kinetics400.RELEASE,
    "something-v1": something_v1.RELEASE,
    "something-v2": something_v2.RELEASE,
    "jester": jester.RELEASE,
    "folder": folder.RELEASE,
    "coco-persons": coco_persons.RELEASE,
    "supervisely": supervisely.RELEASE,
}
