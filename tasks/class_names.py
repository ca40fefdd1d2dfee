"""The names of the classes of a weight file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from datasets import KNOWN_LABELS, DataError, known_class_names, plain_name, read_class_names


def class_names_beside(
    weights: str, num_classes: int, of_dataset: Sequence[str] = (), names: str | None = None
) -> list[str]:
    """As `names_of_weights`, and numbers where no names are known."""
    return names_of_weights(weights, num_classes, of_dataset, names) or [str(i) for i in range(num_classes)]


def names_of_weights(
    weights: str, num_classes: int, of_dataset: Sequence[str] = (), names: str | None = None
) -> list[str]:
    """Class names of weights; empty if none are known.

    Args:
        weights: Their file.
        num_classes: Classes that they tell apart.
        of_dataset: Names of the data set that they are tested on.
        names: A file of names, or one of `datasets.KNOWN_LABELS`.

    Returns:
        The names that `names` says, else those of `classes.txt` beside the weights, else of the data set that the name
        of the file speaks of, else of the data set that they are tested on.

    Raises:
        DataError: The names are not as many as the classes, or not those of the data set.
    """
    source, found = _names_by(weights, num_classes, names)
    for label, (ours, theirs) in enumerate(zip(found, of_dataset, strict=False)):
        if plain_name(ours) != plain_name(theirs):
            raise DataError(
                f"class {label} is {ours} in {source} and {theirs} in the data set: take its own weights, or list its "
                "videos in the order of these"
            )
    found = found or list(of_dataset)
    if found and len(found) != num_classes:
        raise DataError(f"{source} names {len(found)} classes where {weights} has {num_classes}")
    return found


def _names_by(weights: str, num_classes: int, names: str | None) -> tuple[str, list[str]]:
    """Where the names come from, and the names."""
    beside = Path(weights).parent / "classes.txt"
    if names in KNOWN_LABELS:
        return f"the list {names}", list(known_class_names(names))
    if names:
        return names, list(read_class_names(names))
    labels = dataset_in_name(weights)
    known = list(known_class_names(labels)) if labels in KNOWN_LABELS else []
    known = known if len(known) == num_classes else []
    if beside.is_file():
        found = list(read_class_names(str(beside)))
        if known and list(map(plain_name, found)) != list(map(plain_name, known)):
            raise DataError(f"{beside} has other names than {labels}, of which the name of {weights} speaks: which?")
        return str(beside), found
    return f"the list {labels}, of which the file name speaks", known


# What file names call a data set -> its label list. Jester's labels have two orders, so that it has no one list here.
_DATASETS = {
    r"kinetics[-_]?(400)?(?!\d)|k400": "kinetics400",
    r"ucf[-_]?101": "ucf101",
    r"hmdb[-_]?51": "hmdb51",
    r"(sth|something)([-_]?something)?[-_]?v2": "something_v2",
    r"(sth|something)([-_]?something)?[-_]?v1|tsm_something_rgb": "something_v1",
    r"jester": "jester",
}


def dataset_in_name(weights: str) -> str:
    """Label list of the data set that the name of a file speaks of; empty if it speaks of none."""
    name = Path(weights).name.lower()
    return next((labels for pattern, labels in _DATASETS.items() if re.search(pattern, name)), "")
