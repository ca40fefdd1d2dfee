"""Class names of the public data sets, one file a data set, one name a line in the order of the labels."""

from __future__ import annotations

from pathlib import Path

from datasets.annotation import DataError
from runtime.records import read_text

FOLDER = Path(__file__).parent
KNOWN_LABELS = tuple(sorted(path.stem for path in FOLDER.glob("*.txt")))


def known_class_names(name: str) -> tuple[str, ...]:
    """The class names of a public data set, in the order of its labels.

    Args:
        name: One of KNOWN_LABELS; README.md beside this file says what each is and how the orders differ.

    Raises:
        DataError: No data set of that name is known.
    """
    if name not in KNOWN_LABELS:
        raise DataError(f"class names are known of {', '.join(KNOWN_LABELS)}, got {name!r}; name a file of your own")
    return tuple(read_text(FOLDER / f"{name}.txt"))
