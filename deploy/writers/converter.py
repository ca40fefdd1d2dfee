"""Runs somebody's converter in a process of its own, which it may end, and keeps its many lines for the error."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from runtime.errors import UserError
from runtime.fresh_process import in_fresh_process
from runtime.owned import temporary_folder


def convert(name: str, function: Callable[..., None], *arguments: str, target: str) -> str:
    """Calls a converter's function and returns what it has printed.

    Args:
        name: Of the converter.
        function: Of a module; it imports the converter.
        arguments: Of the function.
        target: File that it writes.

    Raises:
        UserError: It has failed or written nothing; the message ends with its last line.
    """
    with temporary_folder() as folder:
        log = Path(folder) / "log"
        log.touch()
        try:
            in_fresh_process(_with_log, function, str(log), arguments)
            if not Path(target).is_file():
                raise UserError("it ended without a word")
        except Exception as error:
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise UserError(f"{name} does not convert the graph: {(said or [str(error)])[-1]}") from error
        return log.read_text(encoding="utf-8", errors="replace")


def _with_log(function: Callable[..., None], log: str, arguments: tuple[str, ...]) -> None:
    remarks = os.open(log, os.O_WRONLY)
    os.dup2(remarks, 1)
    os.dup2(remarks, 2)
    function(*arguments)
