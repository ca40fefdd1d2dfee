"""The files of a report of a test, written together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runtime.errors import UserError
from runtime.owned import Owned


def write_report_files(directory: Path, contents: Mapping[str, bytes]) -> list[str]:
    """Writes the files of a report and returns their names.

    Args:
        directory: Made when absent; a report that this program wrote there is replaced.
        contents: Name -> content.

    Raises:
        UserError: A file cannot be written, or there is one of its name which this program did not write.
    """
    try:
        with Owned(directory).locked(f"another process writes a report into {directory}"):
            Owned(directory).write(contents)
    except OSError as error:
        raise UserError(f"cannot write {error.filename}: {error.strerror}") from error
    return list(contents)
