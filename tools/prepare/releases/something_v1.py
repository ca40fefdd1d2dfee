"""Something-Something V1: one tar of folders of frames in pieces, and csv files.

Source: 20bn.com/datasets/something-something/v1, which is gone; the TSM authors' and mmaction2's instructions.
"""

from __future__ import annotations

from tools.prepare.release import Annotations, Part, Release, Texts, in_class_folder
from tools.prepare.settings import Lists
from tools.prepare.tables import annotations_of

PREFIX = "something-something-v1"


def annotate(texts: Texts, lists: Lists) -> Annotations:
    """Reads the csv files of labels, training, validation and, if it is there, test."""
    return annotations_of(texts, PREFIX, "something_v1", "something_v1")


RELEASE = Release(
    list_name="sthv1",
    videos=(
        Part(
            "the frames", "20bn-something-something-v1-00, -01 and so on, or folders <id>/00001.jpg",
            r"20bn-something-something-v1-\d\d?(\.zip)?", r"\d{5}\.jpg", in_pieces=True,
        ),
    ),
    texts=(
        Part(
            "the tables", "[something-something-v1-]{labels,train,validation,test}.csv",
            r"20bn-something-something-.*labels\.zip|labels\.zip",
            rf"({PREFIX}-)?(labels|train|validation|test)\.csv",
        ),
    ),
    annotate=annotate,
    place=in_class_folder,
    preset="sthv1_tsm_r50",
    official={("train", 1): 86_017, ("val", 1): 11_522, ("test", 1): 10_960},
    has_frames=True,
)  # fmt: skip
