"""What is known of videos, kept as it comes, so that hours of work are not lost with an interruption."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deploy.timeline.scoring import Scored
from runtime.errors import UserError
from runtime.owned import Owned


def journal_of(output: Path) -> Path:
    """The journal of an output."""
    return output.with_name(f"{output.name}.part")


class Journal:
    """A file beside an output that takes each result as it comes, and goes when the output is there.

    A line is a result; what a kill has left of a line is not read. The numbers come back to the bit.

    Args:
        output: What is to be written; the caller holds its folder.
        facts: All that decides the results; a journal of others is begun anew.

    Attributes:
        known: Number of a video -> its results, in their order, as they were when the journal was opened.
        done: Numbers of the videos of which all is known.

    Raises:
        ForeignError: A file of this name is not this program's.
        UserError: It is damaged.
    """

    def __init__(self, output: Path, facts: Mapping[str, Any]) -> None:
        self._owned, self._path = Owned(output.parent), journal_of(output)
        self._name = self._path.name
        self.known: dict[int, list[Scored]] = {}
        self.done: set[int] = set()
        self._owned.check(self._name)
        first = json.dumps(facts, sort_keys=True)
        lines = self._path.read_bytes().split(b"\n")[:-1] if self._path.is_file() else []
        if lines and lines[0] == first.encode():
            for line in lines[1:]:
                self._read(line)
            with self._path.open("r+b") as file:
                file.truncate(sum(len(line) + 1 for line in lines))
        else:
            self._owned.start_log(self._name)
            self._append(first)

    def _read(self, line: bytes) -> None:
        try:
            number, *rest = json.loads(line)
            if not rest:
                self.done.add(number)
                return
            start, end, scores, features = rest
            one = Scored(
                float(start), float("nan" if end is None else end), np.array(scores, np.float32),
                np.array(features, np.float32),
            )  # fmt: skip
        except (ValueError, TypeError) as error:
            raise UserError(f"{self._path} is damaged: remove it to begin anew") from error
        self.known.setdefault(number, []).append(one)

    def add(self, number: int, found: Scored) -> None:
        """Writes a result of a video down."""
        end = None if np.isnan(found.end) else found.end
        values = [float(value) for value in found.scores], [float(value) for value in found.features]
        self._append(json.dumps([number, found.start, end, *values]))

    def finish(self, number: int) -> None:
        """Notes that all of a video is known."""
        self.done.add(number)
        self._append(json.dumps([number]))

    def remove(self) -> None:
        """Removes the file."""
        self._owned.remove([self._name])

    def _append(self, line: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
