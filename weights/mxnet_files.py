"""Reads MXNet's `.params`: numbers, names and arrays one after the other; nothing in it can be executed.

Source: apache/mxnet 1.9, `src/ndarray/ndarray.cc` (`NDArray::Save`, `NDArray::LegacyLoad`) and `src/c_api`.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

MARK = (0x112).to_bytes(8, "little")  # of a list of arrays
_ARRAYS = {0xF993FAC8: 1, 0xF993FAC9: 2, 0xF993FACA: 3}  # mark of an array -> version of how it is kept
_DTYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8"}
_MOST_AXES = 8


class _Content:
    """The bytes of a file, taken from the front."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def take(self, size: int) -> bytes:
        """The next bytes; raises ValueError if there are not so many."""
        if size < 0 or self.at + size > len(self.content):
            raise ValueError(f"it ends at byte {len(self.content)}, where {size} more are due")
        self.at += size
        return self.content[self.at - size : self.at]

    def number(self, form: str) -> int:
        """The next number in a form of `struct`."""
        (value,) = struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))
        return int(value)


def read_mxnet(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by its names, such as `arg:conv1_weight`.

    Raises:
        ValueError: It is damaged, or holds arrays of another kind than dense ones.
    """
    content = _Content(path.read_bytes())
    if content.take(8) != MARK or content.number("Q"):
        raise ValueError("it does not begin as MXNet's files do")
    arrays = [_array(content) for _ in range(_count(content))]
    names = [content.take(_count(content)).decode() for _ in range(_count(content))]
    if len(names) != len(arrays) or len(set(names)) != len(names):
        raise ValueError(f"it has {len(arrays)} arrays and {len(set(names))} names")
    return dict(zip(names, arrays, strict=True))


def _count(content: _Content) -> int:
    count = content.number("Q")
    if count > len(content.content):
        raise ValueError(f"it speaks of {count} parts, more than it has bytes")
    return count


def _array(content: _Content) -> np.ndarray:
    mark = content.number("I")
    version = _ARRAYS.get(mark)
    if version and version > 1 and content.number("i"):
        raise ValueError("it holds a sparse array")
    axes, form = (content.number("i" if version == 3 else "I"), "q") if version else (mark, "I")  # before version 1
    if not 0 <= axes <= _MOST_AXES:
        raise ValueError(f"an array of {axes} axes")
    shape = tuple(content.number(form) for _ in range(axes))
    content.take(8)  # where it was: kind and number of the device
    kind = content.number("i")
    if kind not in _DTYPES:
        raise ValueError(f"an array of type {kind}")
    dtype = np.dtype(_DTYPES[kind])
    size = int(np.prod([*shape, 1], dtype=object))
    return np.frombuffer(content.take(size * dtype.itemsize), dtype).reshape(shape)
