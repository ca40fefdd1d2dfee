"""Archives as streams of members: tar in all its compressions and in pieces, zip and rar; nothing is written here.

Python's own `tarfile` and `zipfile` and `rarfile` read the formats. None of their functions that unpack is called: a
member is a name, which `safe_parts` judges, and bytes.
"""

from __future__ import annotations

import contextlib
import functools
import io
import lzma
import re
import subprocess
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import IO, Any

from runtime.errors import UserError, last_line
from tools.prepare.settings import Unpacking

BLOCK = 2**20
FREE = 16 * 2**20  # bytes that an archive may unpack to whatever its size
HEADER = 2**20  # most bytes of a tar between the contents of two members
RAR_TOOLS = "apt install unrar, or unar"


class ArchiveError(UserError):
    """An archive that is damaged, or that holds what no data set has."""


@dataclass(frozen=True)
class Piece:
    """A file that is an archive, or a piece of one; `member`: of a zip that holds it."""

    path: Path
    member: str = ""

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self.path.stat().st_size

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Opens it for reading from its beginning."""
        if not self.member:
            with self.path.open("rb") as file:
                yield file
        else:
            with zipfile.ZipFile(self.path) as outer, outer.open(self.member) as file:
                yield file


@dataclass(frozen=True)
class Archive:
    """One archive in one or more pieces; `title`: for messages, if its path does not say what it is."""

    pieces: tuple[Piece, ...]
    title: str = ""

    @property
    def name(self) -> str:
        """For messages."""
        if self.title:
            return self.title
        first = str(self.pieces[0].path)
        return first if len(self.pieces) == 1 else f"{first} and the {len(self.pieces) - 1} pieces after it"

    @property
    def key(self) -> str:
        """Tells it from others: names of its pieces, with the folder that they are in, sizes, and times of change."""
        return ", ".join(
            f"{'/'.join(piece.path.parts[-2:])} {piece.size} {piece.path.stat().st_mtime_ns}" for piece in self.pieces
        )

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(piece.size for piece in self.pieces)


@dataclass(frozen=True)
class Member:
    """What an archive holds: name as it is stored, size in bytes, "file", "folder" or another word, its content."""

    name: str
    size: int
    kind: str
    open: Callable[[], IO[bytes]]


@contextlib.contextmanager
def errors_named(name: str) -> Iterator[None]:
    """Turns what a library throws at an archive into ArchiveError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk
        if type(error).__name__ == "RarCannotExec":
            raise UserError(f"{name} is compressed, and no program reads that here: {RAR_TOOLS}") from error
        raise ArchiveError(f"{name} is damaged, or lacks its end ({last_line(error)}): fetch it again") from error


def members(
    archive: Archive, limits: Unpacking, check: Callable[[], object] = lambda: None
) -> Generator[Member, None, None]:
    """The members of an archive, each to be read before the next one is asked for.

    Args:
        archive: One.
        limits: What it may unpack to.
        check: Called while a tar is read, also where that gives no member; may raise UserError to end it.

    Raises:
        ArchiveError: It is damaged, of no known format, encrypted, or beyond the limits.
    """
    with errors_named(archive.name):
        with archive.pieces[0].open() as file:
            head = file.read(8)
        if head.startswith(b"Rar!"):
            yield from _rar_members(archive)
        elif head.startswith((b"PK\3\4", b"PK\5\6")):
            yield from _zip_members(archive)
        else:
            with io.BufferedReader(_Chain(archive, limits, check), BLOCK) as chain:
                yield from _tar_members(_inflated(chain, head), archive, limits)


def safe_parts(name: str, archive: str) -> tuple[str, ...]:
    """Folders and file name of a member.

    Raises:
        ArchiveError: The name leads out of a folder, on any system, or no file can have it.
    """
    parts = tuple(part for part in re.split(r"[/\\]", name) if part not in ("", "."))
    if name.startswith(("/", "\\")) or ".." in parts or PureWindowsPath(name).drive:
        raise ArchiveError(f"{archive} holds {name!r}, which leads out of its folder: it is no official archive")
    if not parts or not is_listable(name) or any(len(part.encode()) > 255 for part in parts):
        raise ArchiveError(f"{archive} holds {name[:80]!r}, which is no name for a file: it is no official archive")
    return parts


def is_listable(name: str) -> bool:
    """Whether a list can name a file: no control character, no end of a line, nothing that is not UTF-8."""
    return not {unicodedata.category(character) for character in name} & {"Cc", "Cs", "Zl", "Zp"}


# ---------------------------------------------------------------------------------------------------------------------
# tar


class _Chain(io.RawIOBase):
    """Pieces as one stream, which ends with ArchiveError beyond the limits: pieces in zips may unpack to anything."""

    def __init__(self, archive: Archive, limits: Unpacking, check: Callable[[], object]) -> None:
        self._archive, self._limits, self._check = archive, limits, check
        self._left = limits.max_archive_ratio * archive.size + FREE
        self._rest = list(archive.pieces)
        self._open = contextlib.ExitStack()
        self._file: IO[bytes] | None = None

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads at least one byte, unless all are read."""
        while self._file is not None or self._rest:
            if self._file is None:
                self._file = self._open.enter_context(self._rest.pop(0).open())
            self._check()
            data = self._file.read(len(buffer))
            self._left -= len(data)
            if self._left < 0:
                raise beyond(self._archive, "max_archive_ratio", self._limits)
            if data:
                buffer[: len(data)] = data
                return len(data)
            self._open.close()
            self._file = None
        return 0

    def close(self) -> None:
        """Closes the piece that is open."""
        self._open.close()
        super().close()


def _inflated(chain: IO[bytes], head: bytes) -> Any:
    if head.startswith(b"\x1f\x8b"):
        import gzip

        return gzip.GzipFile(fileobj=chain)
    if head.startswith(b"BZh"):
        import bz2

        return bz2.BZ2File(chain)
    if head.startswith(b"\xfd7zXZ"):
        return lzma.LZMAFile(chain)
    return chain


class _Metered(io.RawIOBase):
    """A stream that ends with ArchiveError where more is read than may be, by what is not the content of a member."""

    def __init__(self, stream: Any, archive: Archive, limits: Unpacking) -> None:
        self._stream, self._archive, self._limits = stream, archive, limits
        self._left = limits.max_archive_ratio * archive.size + FREE
        self.read_so_far = self.allowed = 0

    def read(self, size: int = -1) -> bytes:
        """Reads up to so many bytes."""
        data = self._stream.read(size)
        self.read_so_far += len(data)
        if self.read_so_far > self._left:
            raise beyond(self._archive, "max_archive_ratio", self._limits)
        if self.read_so_far > self.allowed:
            raise ArchiveError(f"{self._archive.name} holds names of more than a MB: it is no official archive")
        return data


def _tar_members(inflated: Any, archive: Archive, limits: Unpacking) -> Iterator[Member]:
    stream = _Metered(inflated, archive, limits)
    stream.allowed = HEADER
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        while (entry := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # it would keep millions
            stream.allowed = stream.read_so_far + entry.size + HEADER
            yield Member(entry.name, entry.size, _tar_kind(entry), functools.partial(_of_tar, tar, entry))
        stream.allowed = stream.read_so_far + HEADER
        _check_end(tar.fileobj, archive)


def _of_tar(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(entry)
    assert file is not None  # it is asked for files alone
    return file


def _tar_kind(entry: tarfile.TarInfo) -> str:
    if entry.isreg() and not entry.issparse():
        return "file"
    kinds = {"folder": entry.isdir(), "link": entry.issym() or entry.islnk(), "sparse file": entry.issparse()}
    return next((kind for kind, holds in kinds.items() if holds), "device")


def _check_end(rest: Any, archive: Archive) -> None:
    """Raises ArchiveError if something follows: tarfile takes a damaged header for the end."""
    while block := rest.read(BLOCK):
        if block.strip(b"\0"):
            raise ArchiveError(f"{archive.name} is damaged in its middle: fetch it again")


# ---------------------------------------------------------------------------------------------------------------------
# zip and rar, which have tables of their members


def _zip_members(archive: Archive) -> Iterator[Member]:
    with zipfile.ZipFile(archive.pieces[0].path) as file:
        for info in file.infolist():
            if info.flag_bits & 1:
                raise ArchiveError(f"{archive.name} is encrypted: unpack it, and name the folder as --source")
            yield Member(_zip_name(info), info.file_size, _zip_kind(info), functools.partial(file.open, info))


def _zip_name(info: zipfile.ZipInfo) -> str:
    """The name of a member; without the flag of UTF-8, zip of Linux writes UTF-8, and a Chinese Windows GBK."""
    if info.flag_bits & 0x800:
        return info.filename
    stored = info.orig_filename.encode("cp437")  # as zipfile has decoded it
    for encoding in ("utf-8", "gb18030"):
        with contextlib.suppress(UnicodeDecodeError):
            return stored.decode(encoding)
    return info.filename


def _zip_kind(info: zipfile.ZipInfo) -> str:
    mode = info.external_attr >> 16 & 0o170000 if info.create_system == 3 else 0
    kinds = {0: "file", 0o100000: "file", 0o040000: "folder", 0o120000: "link"}
    return "folder" if info.is_dir() else kinds.get(mode, "device")


def _rar_members(archive: Archive) -> Iterator[Member]:
    try:
        import rarfile
    except ImportError as error:
        raise UserError(f"{archive.name} needs rarfile: pip install -r requirements-prepare.txt") from error
    with rarfile.RarFile(archive.pieces[0].path, errors="strict") as file:
        if file.needs_password():
            raise ArchiveError(f"{archive.name} is encrypted: unpack it, and name the folder as --source")
        infos = file.infolist()
        if all(info.compress_type == rarfile.RAR_M0 for info in infos if info.is_file()):
            for info in infos:
                yield Member(info.filename, info.file_size, _rar_kind(info), functools.partial(file.open, info))
        else:
            yield from _decompressed(infos, rarfile.tool_setup().open_cmdline(None, str(archive.pieces[0].path)))


def _decompressed(infos: Sequence[Any], command: Sequence[str]) -> Iterator[Member]:
    """Members of a rar, cut out of what a program prints: the contents of all files one after the other.

    One process for all of them is quick, and the only way where each is compressed by what was before it (solid).
    """
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None  # a pipe
        try:
            for info in infos:
                kind = _rar_kind(info)
                content = _Slice(process.stdout, info, command[0])
                yield Member(info.filename, info.file_size, kind, functools.partial(io.BufferedReader, content, BLOCK))
                if kind == "file":
                    content.read_to_its_end()
        finally:
            process.kill()


class _Slice(io.RawIOBase):
    """The content of a member in a stream; raises ArchiveError at its end unless it has the checksum of the archive."""

    def __init__(self, stream: IO[bytes], info: Any, program: str) -> None:
        self._stream, self._info, self._program = stream, info, program
        self._left, self._crc = info.file_size, 0

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads at least one byte, unless all are read."""
        data = self._stream.read(min(len(buffer), self._left))
        self._left -= len(data)
        self._crc = zlib.crc32(data, self._crc)
        buffer[: len(data)] = data
        if not data and (self._left or self._info.CRC not in (None, self._crc)):
            raise ArchiveError(
                f"{self._info.filename} in a rar is damaged, or is more than {self._program} can do: fetch it "
                "again, or apt install unrar"
            )
        return len(data)

    def read_to_its_end(self) -> None:
        """Passes over what has not been read."""
        buffer = bytearray(BLOCK)
        while self.readinto(buffer):
            pass


def _rar_kind(info: Any) -> str:
    if info.file_redir is not None or info.is_symlink():
        return "link"
    return "folder" if info.is_dir() else "file" if info.is_file() else "device"


def beyond(archive: Archive, name: str, limits: Unpacking) -> ArchiveError:
    """The error of an archive that is beyond a limit."""
    what = {
        "max_archive_files": "holds, with those before it, more files than",
        "max_archive_megabytes": "unpacks, with those before it, to more megabytes than",
        "max_archive_ratio": "unpacks to more than its size times",
    }[name]
    return ArchiveError(f"{archive.name} {what} {getattr(limits, name)}: raise --{name} if it is genuine")
