"""What a data set's `prepared.json` knows of its preparation, so that it can go on, and be looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

from runtime.errors import UserError
from runtime.owned import Owned
from runtime.records import read_record
from tools.prepare.settings import Settings

NAME = "prepared.json"
VERSION = 1


class ListRecord(TypedDict):
    """One subset: how many videos the site speaks of (0: it does not), how many are annotated, and listed."""

    subset: str
    split: int
    kind: str
    official: int
    annotated: int
    listed: int


class Prepared(TypedDict):
    """What `prepared.json` holds.

    Attributes:
        version: Of this form.
        release: Name of the data set.
        label_order: Of its classes.
        reencode: Shorter side of its videos, 0 as they came.
        frames: Quality and shorter side of its frames; None if no frames were asked for.
        archives: Archive -> folder -> number of files that came from it, and bytes.
        lists: What is listed.
    """

    version: int
    release: str
    label_order: str
    reencode: int
    frames: list[int] | None
    archives: dict[str, dict[str, list[int]]]
    lists: list[ListRecord]


def read(root: Path) -> Prepared | None:
    """The record of a data set, None if it has none; raises UserError if it is damaged."""
    path = root / NAME
    if not path.is_file():
        return None
    way_out = ": name another --root"
    record: Prepared = read_record(path, Prepared, way_out=way_out)
    if record["version"] != VERSION:
        raise UserError(f"{path} has version {record['version']}, this program reads {VERSION}{way_out}")
    return record


def of(root: Path, release: str) -> Prepared:
    """The record of a finished preparation; raises UserError if there is none, or one of another data set."""
    record = read(root)
    if record is None or record["release"] != release or not record["lists"]:
        raise UserError(f"{root} holds no {release} that this command has prepared: give --source")
    return record


def begin(root: Path, release: str, settings: Settings) -> Prepared:
    """The record to go on with.

    Raises:
        UserError: Another data set is there, or the same one with media of other settings.
    """
    media = settings.media
    frames = [media.jpeg_quality, media.short_side] if media.frames else None
    record = read(root)
    if record is None:
        return Prepared(
            version=VERSION, release=release, label_order="", reencode=media.reencode, frames=frames, archives={},
            lists=[],
        )  # fmt: skip
    found = {"release": record["release"], "--reencode": record["reencode"]}
    asked = {"release": release, "--reencode": media.reencode}
    if frames and record["frames"]:
        found["--jpeg_quality and --short_side"], asked["--jpeg_quality and --short_side"] = record["frames"], frames
    for name, value in found.items():
        if asked[name] != value:
            raise UserError(f"{root} was prepared with {name} {value}, not {asked[name]}: name another --root")
    record["frames"] = record["frames"] or frames
    return record


def write(owned: Owned, record: Prepared) -> None:
    """Writes the record."""
    owned.write({NAME: (json.dumps(record, indent=1, sort_keys=True) + "\n").encode()})
