"""Fixtures of this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.command import clear_errors
from runtime.owned import FOLDER
from tools.prepare.__main__ import main


@pytest.fixture
def prepare(capsys: pytest.CaptureFixture, own_signals: None) -> Callable[..., tuple[object, str]]:
    """Runs `python -m tools.prepare` in this process: (exit code, on an error its message; what it printed)."""

    def run(*flags: object) -> tuple[object, str]:
        try:
            with clear_errors():
                main([str(flag) for flag in flags])
        except SystemExit as stop:
            return stop.code, capsys.readouterr().out
        return 0, capsys.readouterr().out

    return run


def content(root: Path) -> dict[str, bytes]:
    """Every file of a data set, but for the record of what is this program's."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and FOLDER not in path.relative_to(root).parts
    }
