"""The tables of TwentyBN's data sets of frames: `id;label` in a line, `id` alone for the test."""

from __future__ import annotations

import csv

from runtime.errors import UserError
from runtime.records import lines_of
from tools.prepare.release import Annotations, Entry, Subset, Texts, label_of, labels_by_name, text_named


def annotations_of(texts: Texts, prefix: str, known: str, file_order: str) -> Annotations:
    """Reads `<prefix>-labels.csv`, `-train.csv`, `-validation.csv` and, if it is there, `-test.csv`.

    Args:
        texts: The files.
        prefix: Of their names, which may be without it and its hyphen, as Qualcomm's site has them.
        known: Class names to count by, see `datasets.known_class_names`.
        file_order: Class names in the order that the file of labels must have.

    Raises:
        UserError: A file is absent, or a line states no class of this data set.
    """
    _, expected = labels_by_name(file_order)
    name, text = _table(texts, prefix, "labels")
    for number, (label,) in enumerate(_rows(text, name, 1)):
        if label_of(label, expected, name) != number:
            raise UserError(f"{name} has {label!r} in line {number + 1}, which is not the official order")
    names, labels = labels_by_name(known)
    subsets = []
    for subset, word in (("train", "train"), ("val", "validation")):
        name, text = _table(texts, prefix, word)
        entries = (Entry((id,), label_of(label, labels, name)) for id, label in _rows(text, name, 2))
        subsets.append(Subset(subset, 1, tuple(entries)))
    if {"test.csv", f"{prefix}-test.csv"} & texts.keys():
        name, text = _table(texts, prefix, "test")
        subsets.append(Subset("test", 1, tuple(Entry((row[0],), None) for row in _rows(text, name, 1))))
    return Annotations(names, tuple(subsets))


def _table(texts: Texts, prefix: str, word: str) -> tuple[str, str]:
    return text_named(texts, f"{prefix}-{word}.csv", f"{word}.csv")


def _rows(text: str, name: str, columns: int) -> list[list[str]]:
    try:
        rows = [row for row in csv.reader(lines_of(text), delimiter=";", quoting=csv.QUOTE_NONE) if row]
    except csv.Error as error:
        raise UserError(f"{name} is no table: {error}") from error
    for row in rows:
        if len(row) != columns:
            raise UserError(f"{name}: a line must have {columns} columns with ; between, got {';'.join(row)[:80]!r}")
    return rows
