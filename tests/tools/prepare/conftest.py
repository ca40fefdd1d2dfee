"""Fixtures of this room."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from runtime.owned import FOLDER
from tools.prepare.__main__ import main


@pytest.fixture
def prepare(in_this_process):
    """Runs `python -m tools.prepare` in this process: (exit code, on an error its message; what it printed)."""
    return functools.partial(in_this_process, main)


def content(root: Path) -> dict[str, bytes]:
    """Every file of a data set, but for the record of what is this program's."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and FOLDER not in path.relative_to(root).parts
    }
