"""Jester: one tar of folders of frames in pieces, which Qualcomm's site packs into zips, and csv files.

Its classes are counted in two ways: as the csv file has them (mmaction2), or by the alphabet (the TSM authors' online
demonstration). Weights of one order name the gestures of the other wrongly.

Source: qualcomm.com/developer/software/jester-dataset.
"""

from __future__ import annotations

from tools.prepare.release import Annotations, Part, Release, Texts, in_class_folder
from tools.prepare.settings import Lists
from tools.prepare.tables import annotations_of

PREFIX = "jester-v1"


def annotate(texts: Texts, lists: Lists) -> Annotations:
    """Reads the csv files of labels, training, validation and, if it is there, test."""
    return annotations_of(texts, PREFIX, f"jester_{lists.label_order}", "jester_csv")


RELEASE = Release(
    list_name="jester",
    videos=(
        Part(
            "the frames", "20bn-jester-v1-00, -01 and so on, or the same as .zip, or folders <id>/00001.jpg",
            r"20bn-jester-v1-\d\d?(\.zip)?", r"\d{5}\.jpg", in_pieces=True,
        ),
    ),
    texts=(
        Part(
            "the tables", "20bn-jester-download-package-labels.zip, or [jester-v1-]{labels,train,validation,test}.csv",
            r"20bn-jester-.*labels\.zip|labels\.zip", rf"({PREFIX}-)?(labels|train|validation|test)\.csv",
        ),
    ),
    annotate=annotate,
    place=in_class_folder,
    preset="jester_tsm_r50",
    flags={"alphabetical": "--flip_pairs 16-17,11-12"},
    official={("train", 1): 118_562, ("val", 1): 14_787, ("test", 1): 14_743},
    has_frames=True,
)  # fmt: skip
