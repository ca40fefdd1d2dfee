"""Something-Something V2: one tar of WebM videos in pieces, which Qualcomm's site packs into zips, and JSON files.

Source: qualcomm.com/developer/software/something-something-v-2-dataset.
"""

from __future__ import annotations

from typing import Any, TypedDict

from runtime.errors import UserError
from runtime.records import parse_record
from tools.prepare.release import (
    Annotations,
    Entry,
    Part,
    Release,
    Subset,
    Texts,
    alone,
    label_of,
    labels_by_name,
    text_named,
)
from tools.prepare.settings import Lists


class Video(TypedDict):
    """One of `train.json` and `validation.json`; the template has [something] where the label has what it is."""

    id: str
    template: str


class Unlabeled(TypedDict):
    """One of `test.json`."""

    id: str


PREFIX = "something-something-v2-"


def annotate(texts: Texts, lists: Lists) -> Annotations:
    """Reads the JSON files of labels, training, validation and, if it is there, test."""
    names, labels = labels_by_name("something_v2")
    name, text = _text(texts, "labels")
    for template, number in _parsed(text, dict[str, str], name).items():
        if number != str(label_of(template, labels, name)):
            raise UserError(f"{name} gives {template!r} the label {number}, which is not the official one")
    subsets = []
    for subset, word in (("train", "train"), ("val", "validation")):
        name, text = _text(texts, word)
        videos: list[Video] = _parsed(text, list[Video], name)
        entries = (Entry((video["id"],), label_of(video["template"], labels, name)) for video in videos)
        subsets.append(Subset(subset, 1, tuple(entries)))
    if {"test.json", f"{PREFIX}test.json"} & texts.keys():
        name, text = _text(texts, "test")
        unlabeled: list[Unlabeled] = _parsed(text, list[Unlabeled], name)
        subsets.append(Subset("test", 1, tuple(Entry((video["id"],), None) for video in unlabeled)))
    return Annotations(names, tuple(subsets))


def _text(texts: Texts, word: str) -> tuple[str, str]:
    return text_named(texts, f"{PREFIX}{word}.json", f"{word}.json")


def _parsed(text: str, kind: Any, name: str) -> Any:
    try:
        return parse_record(text.encode(), kind)
    except ValueError as error:
        raise UserError(f"{name} is damaged ({error}): fetch it again") from error


RELEASE = Release(
    list_name="sthv2",
    videos=(
        Part(
            "the videos", "20bn-something-something-v2-00, -01 and so on, or the same as .zip, or folders of <id>.webm",
            r"20bn-something-something-v2-\d\d?(\.zip)?", r"\d+\.(webm|mp4)", in_pieces=True,
        ),
    ),
    texts=(
        Part(
            "the labels",
            "20bn-something-something-download-package-labels.zip, or its {labels,train,validation,test}.json",
            r"20bn-something-something-download-package-labels\.zip|labels\.zip",
            rf"({PREFIX})?(labels|train|validation|test)\.json",
        ),
    ),
    annotate=annotate,
    place=alone,
    preset="sthv2_tsm_r50",
    official={("train", 1): 168_913, ("val", 1): 24_777, ("test", 1): 27_157},
)  # fmt: skip
