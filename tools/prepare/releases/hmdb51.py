"""HMDB51: a rar of one rar for each class, and a rar of split files with a code for each video.

Source: serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database.
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
)
from tools.prepare.settings import Lists

SPLIT_FILE = r"(.+)_test_split([123])\.txt"
CODES = {"1": "train", "2": "val", "0": ""}  # 0: in neither


def annotate(texts: Texts, lists: Lists) -> Annotations:
    """Reads `<class>_test_split<N>.txt` of each class and split."""
    names, labels = labels_by_name("hmdb51")
    entries: dict[tuple[str, int], list[Entry]] = {
        (subset, split): [] for split in (1, 2, 3) for subset in ("train", "val")
    }
    for name in sorted(texts):
        match = re.fullmatch(SPLIT_FILE, name, re.IGNORECASE)
        assert match is not None  # the part's files are named so
        label = label_of(match[1], labels, name)
        for line in filter(str.strip, lines_of(texts[name])):
            video, _, code = line.strip().rpartition(" ")
            if code not in CODES or not video:
                raise UserError(f"{name}: a line must be `video.avi` and 0, 1 or 2, got {line[:80]!r}")
            if CODES[code]:
                entry = Entry((f"{match[1]}/{video.strip().removesuffix('.avi')}",), label)
                entries[CODES[code], int(match[2])].append(entry)
    return Annotations(names, tuple(Subset(*key, tuple(found)) for key, found in entries.items()))


RELEASE = Release(
    list_name="hmdb51",
    videos=(
        Part(
            "the videos", "hmdb51_org.rar, or what it holds: <class>.rar or <class>/*.avi",
            rf"(?!test_train_splits).+\.(rar|zip|{TAR})", r".+\.(avi|mp4)", nested=r".+\.rar",
        ),
    ),
    texts=(
        Part(
            "the split files", "test_train_splits.rar, or its folder testTrainMulti_7030_splits/",
            r"test_train_splits\.(rar|zip)", SPLIT_FILE,
        ),
    ),
    annotate=annotate,
    place=in_class_folder,
    preset="hmdb51_tsm_r50",
    official={(subset, split): count for split in (1, 2, 3) for subset, count in (("train", 3570), ("val", 1530))},
    has_splits=True,
)  # fmt: skip
