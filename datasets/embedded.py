"""Data sets that are drawn here: each appears at once or not at all, and a set that is there already stays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from datasets.targets import DataError
from runtime.errors import UserError
from runtime.owned import unfinished_beside
from runtime.records import read_record

MARKER = "demo.json"  # what a finished set was drawn by


def write_once(root: Path, marker: dict[str, int], write: Callable[[Path], None]) -> Path:
    """Writes a set beside `root` and moves it there, unless this very set is there already.

    Args:
        root: Folder of the set; new or empty.
        marker: All that decides the set.
        write: Draws it into a folder.

    Returns:
        `root`.

    Raises:
        DataError: `root` holds something else, or cannot be written.
    """
    if _is_finished(root, marker):
        return root
    try:
        with unfinished_beside(root, f"another process writes {root}") as unfinished:
            write(unfinished.folder)
            (unfinished.folder / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
            unfinished.seal()
            unfinished.move_to(root)
    except OSError as error:
        raise DataError(f"cannot write {root}: {error.strerror or error}") from error
    return root


def check_numbers(rules: Iterable[tuple[str, int, bool, str]]) -> None:
    """Raises DataError for the first of (name, value, whether the rule holds, the rule in words) that breaks it."""
    for name, value, holds, rule in rules:
        if not holds:
            raise DataError(f"{name} of the demo data set must be {rule}, got {value}")


def _is_finished(root: Path, marker: dict[str, int]) -> bool:
    """True if `root` holds the set of this marker, False if nothing is there; raises for anything else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = read_record(root / MARKER, dict[str, int])
    except UserError:
        found = None
    if found != marker:
        what = "other files" if found is None else f"a demo data set of other numbers ({found})"
        raise DataError(f"{root} holds {what}: remove it or name another folder for the demo data set")
    return True
