"""Kinetics-400: tars of the videos that were still to be had, tables of all that once were, and repaired videos.

Source: github.com/cvdfoundation/kinetics-dataset.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence

from runtime.errors import UserError
from runtime.records import lines_of
from tools.prepare.release import (
    TAR,
    Annotations,
    Entry,
    Part,
    Release,
    Subset,
    Texts,
    label_of,
    labels_by_name,
    text_named,
)
from tools.prepare.settings import Lists

REPAIRED = "replacement"
CLIP_FILE = r"[\w-]{11}_\d{6}_\d{6}\.(mp4|mkv|webm)"


def annotate(texts: Texts, lists: Lists) -> Annotations:
    """Reads `train.csv`, `val.csv` (or `validate.csv`) and, if it is there, `test.csv`."""
    names, labels = labels_by_name("kinetics400")
    folders: dict[str, str] = {}
    subsets = []
    tables = {"train": ("train.csv",), "val": ("val.csv", "validate.csv"), "test": ("test.csv",)}
    for subset, tables_of_it in tables.items():
        if subset == "test" and "test.csv" not in texts:
            continue
        name, text = text_named(texts, *tables_of_it)
        entries = []
        for row in _rows(text, name):
            clip, label = _clip(row, name), None
            folder = "test"
            if row.get("label"):
                label = label_of(row["label"], labels, name)
                folder = names[label].replace(" ", "_")
            elif subset != "test":
                raise UserError(f"{name} gives {clip} no label: fetch the table that has the column label")
            folder = folders.setdefault(clip, folder)  # of a clip in two tables, the one of the first
            entries.append(Entry((f"{REPAIRED}/{clip}", f"{folder}/{clip}"), label))
        subsets.append(Subset(subset, 1, tuple(entries)))
    return Annotations(names, tuple(subsets), folders)


def _rows(text: str, name: str) -> list[dict[str, str]]:
    try:
        return list(csv.DictReader(lines_of(text)))
    except csv.Error as error:
        raise UserError(f"{name} is no table: {error}") from error


def _clip(row: dict[str, str], name: str) -> str:
    """Name of a video without suffix, as the tars have it."""
    try:
        start, end = int(float(row["time_start"])), int(float(row["time_end"]))
        return f"{row['youtube_id']}_{start:06d}_{end:06d}"
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise UserError(
            f"{name} must have the columns label, youtube_id, time_start, time_end, split; got {str(row)[:200]}"
        ) from error


def place(origin: str, parts: Sequence[str], annotations: Annotations | None) -> str | None:
    """The folder of the class, with _ for spaces, or that of the repaired videos, which count before the others."""
    assert annotations is not None  # there are tables
    clip = parts[-1].rpartition(".")[0]
    if clip not in annotations.folders:
        return None
    is_repaired = origin.startswith(REPAIRED) or any(REPAIRED in part for part in parts[:-1])
    return f"{REPAIRED if is_repaired else annotations.folders[clip]}/{parts[-1]}"


RELEASE = Release(
    list_name="kinetics400",
    videos=(
        Part(
            "the videos", "k400/{train,val,test}/part_N.tar.gz, or folders of <youtube id>_000001_000011.mp4",
            rf"(part_\d+|k400.*|(train|val|test)(_\d+)?)\.({TAR}|zip)", CLIP_FILE,
            is_mixed=True,
        ),
        Part(
            "the repaired videos", "replacement_for_corrupted_k400.tgz",
            rf"replacement.*\.{TAR}", CLIP_FILE, is_optional=True,
            is_mixed=True,
        ),
    ),
    texts=(
        Part(
            "the tables", "k400/annotations/train.csv and val.csv", rf"(annotations|kinetics400)\.({TAR}|zip)",
            r"(train|val|validate|test)\.csv",
        ),
    ),
    annotate=annotate,
    place=place,
    preset="kinetics400_mvf_r50",
)  # fmt: skip
