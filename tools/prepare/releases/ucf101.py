"""UCF101: a rar of class folders, and a zip of split lists whose labels count from 1 and are left out for the test.

Source: crcv.ucf.edu/data/UCF101.php.
"""

from __future__ import annotations

import re

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
    in_class_folder,
    label_of,
    labels_by_name,
    text_named,
)
from tools.prepare.settings import Lists

SPLITS = (1, 2, 3)


def annotate(texts: Texts, lists: Lists) -> Annotations:
    """Reads `classInd.txt`, and `trainlist0N.txt` and `testlist0N.txt` of each split."""
    names, labels = labels_by_name("ucf101")
    name, text = text_named(texts, "classInd.txt")
    for line in filter(str.strip, lines_of(text)):
        number, _, word = line.strip().partition(" ")
        if number != str(1 + label_of(word, labels, name)):
            raise UserError(
                f"{name} gives {word} the number {number}, the official one {1 + label_of(word, labels, name)}"
            )
    subsets = []
    for split in SPLITS:
        for subset, word in (("train", "train"), ("val", "test")):
            name, text = text_named(texts, f"{word}list0{split}.txt")
            entries = (_entry(line.strip(), labels, name) for line in filter(str.strip, lines_of(text)))
            subsets.append(Subset(subset, split, tuple(entries)))
    return Annotations(names, tuple(subsets))


def _entry(line: str, labels: dict[str, int], name: str) -> Entry:
    match = re.fullmatch(r"(([^/]+)/.+)\.avi(?: (\d+))?", line)
    if not match:
        raise UserError(f"{name}: a line must be `Class/v_Class_gNN_cNN.avi` and perhaps a number, got {line[:80]!r}")
    label = label_of(match[2], labels, name)
    if match[3] and int(match[3]) != label + 1:
        raise UserError(f"{name} gives {match[2]} the number {match[3]}, classInd.txt {label + 1}")
    return Entry((match[1],), label)


RELEASE = Release(
    list_name="ucf101",
    videos=(
        Part(
            "the videos", "UCF101.rar, or its folder UCF-101/<class>/v_*.avi",
            rf"UCF-?101\.(rar|zip|{TAR})", r"v_.+\.(avi|mp4)",
        ),
    ),
    texts=(
        Part(
            "the split lists", "UCF101TrainTestSplits-RecognitionTask.zip, or its folder ucfTrainTestlist/",
            r"UCF101TrainTestSplits-RecognitionTask\.zip", r"(classInd|(train|test)list0\d)\.txt",
        ),
    ),
    annotate=annotate,
    place=in_class_folder,
    preset="ucf101_mvf_r50",
    official={
        ("train", 1): 9537, ("train", 2): 9586, ("train", 3): 9624,
        ("val", 1): 3783, ("val", 2): 3734, ("val", 3): 3696,
    },
    has_splits=True,
    ignores_case=True,  # HandStandPushups
)  # fmt: skip
