"""Arrays in the order in which a run produced them, on disk where they would not fit into memory."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

BUDGET = 1 << 26  # bytes that one tape keeps in memory


@dataclass(frozen=True)
class _OnDisk:
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype


class Tape(Mapping[str, np.ndarray]):
    """A dict of arrays that only grows; beyond its budget the arrays lie in a temporary file without a name.

    Args:
        budget: Bytes to keep in memory.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._entries: dict[str, np.ndarray | _OnDisk] = {}
        self._file = tempfile.TemporaryFile(prefix="alignment-")  # noqa: SIM115  # lives as long as the tape
        weakref.finalize(self, self._file.close)

    def add(self, name: str, array: np.ndarray) -> None:
        """Records an array, which must not change afterwards.

        Raises:
            ValueError: The name has been recorded before.
        """
        if name in self._entries:
            raise ValueError(f"{name} has been recorded before")
        if array.nbytes <= self._budget:
            self._budget -= array.nbytes
            self._entries[name] = array
            return
        offset = self._file.seek(0, 2)
        np.ascontiguousarray(array).tofile(self._file)
        self._entries[name] = _OnDisk(offset, array.shape, array.dtype)

    def __getitem__(self, name: str) -> np.ndarray:
        entry = self._entries[name]
        if isinstance(entry, np.ndarray):
            return entry
        count = int(np.prod(entry.shape))
        self._file.seek(entry.offset)
        return np.fromfile(self._file, entry.dtype, count).reshape(entry.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries
