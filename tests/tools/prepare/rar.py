"""Writes RAR archives whose members are stored, as there is no free program that writes any.

Source: the format as rarfile and libarchive read it (RAR 2.0 to 4.x, and 5.0).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class RarMember:
    """A file of the archive; `mode` is Unix's, with its kind; `link` is a target that RAR 5 has in its header."""

    name: str
    content: bytes = b""
    mode: int = 0o100644
    method: int = 0  # 0 is stored
    link: tuple[int, str] | None = None  # kind: 1 symbolic, 4 hard
    promised: int | None = None  # size, where it is not that of the content


def rar4(members: Iterable[RarMember]) -> bytes:
    """An archive as WinRAR 2 to 4 wrote it: the format of UCF101.rar and hmdb51_org.rar."""
    out = b"Rar!\x1a\x07\x00" + _block4(0x73, 0, b"\0" * 6)
    for one in members:
        name, size = one.name.encode(), len(one.content)
        fields = struct.pack(
            "<IIBIIBBHI", size, size if one.promised is None else one.promised, 3, zlib.crc32(one.content), 0x4A21_0000,
            29, 0x30 + one.method, len(name), one.mode,
        )  # fmt: skip
        is_folder = one.mode & 0o170000 == 0o040000
        out += _block4(0x74, 0x8000 | (0xE0 if is_folder else 0), fields + name) + one.content
    return out + _block4(0x7B, 0x4000, b"")


def _block4(kind: int, flags: int, fields: bytes) -> bytes:
    header = struct.pack("<BHH", kind, flags, 7 + len(fields)) + fields
    return struct.pack("<H", zlib.crc32(header) & 0xFFFF) + header


def rar5(members: Iterable[RarMember]) -> bytes:
    """An archive as WinRAR 5 and later write it."""
    out = b"Rar!\x1a\x07\x01\x00" + _block5(_vint(1) + _vint(0) + _vint(0))
    for one in members:
        name, size = one.name.encode(), len(one.content)
        extra = b""
        if one.link:
            target = one.link[1].encode()
            record = _vint(5) + _vint(one.link[0]) + _vint(0) + _vint(len(target)) + target
            extra = _vint(len(record)) + record
        fields = (
            _vint(2) + _vint(2 | bool(extra)) + (_vint(len(extra)) if extra else b"") + _vint(size) + _vint(4)
            + _vint(size if one.promised is None else one.promised) + _vint(one.mode)
            + struct.pack("<I", zlib.crc32(one.content)) + _vint(one.method << 7) + _vint(1) + _vint(len(name)) + name
            + extra
        )  # fmt: skip
        out += _block5(fields) + one.content
    return out + _block5(_vint(5) + _vint(0) + _vint(0))


def _block5(fields: bytes) -> bytes:
    header = _vint(len(fields)) + fields
    return struct.pack("<I", zlib.crc32(header)) + header


def _vint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])
