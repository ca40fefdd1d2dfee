"""Puts the files of archives and of folders into a data set: each as a whole, inside of it, and where nothing is."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Container, Generator, Iterator, Sequence
from pathlib import Path
from typing import IO

from runtime.errors import UserError
from runtime.owned import ForeignError, Owned
from tools.prepare.archives import (
    BLOCK,
    FREE,
    Archive,
    ArchiveError,
    Member,
    Piece,
    beyond,
    errors_named,
    members,
    safe_parts,
)
from tools.prepare.release import Part
from tools.prepare.settings import Unpacking

Place = Callable[[str, Sequence[str]], "str | None"]
Folders = dict[str, list[int]]  # folder -> number of files, bytes


class Unpacker:
    """What one preparation unpacks, held against its limits.

    Args:
        owned: The data set, which is locked.
        limits: Of all archives together.
        on_bytes: Called, in any thread, with the number of bytes that have been unpacked.
    """

    def __init__(self, owned: Owned, limits: Unpacking, on_bytes: Callable[[int], object]) -> None:
        self._owned, self._limits, self._on_bytes = owned, limits, on_bytes
        self._files = self._bytes = 0
        self._lock = threading.Lock()
        self._is_stopped = False
        self.passed_over: list[str] = []  # media without a place

    def stop(self) -> None:
        """Lets `unpack`, in whatever thread, end soon."""
        self._is_stopped = True

    def unpack(self, archive: Archive, part: Part, place: Place) -> Folders:
        """Unpacks what a place is known for.

        Args:
            archive: Of the part.
            part: Says which members are archives, too.
            place: From the name of the archive, and the folders and the name of a member, to its name in the data set;
                None passes over it.

        Returns:
            What has come from this archive, by folder.

        Raises:
            ArchiveError: The archive is damaged, beyond the limits, or holds what leads out of the data set.
            ForeignError: Something else is in a place already.
        """
        folders: Folders = {}
        take = self._meter(archive, self._limits.max_archive_ratio * archive.size + FREE)
        with contextlib.closing(self._files_in(archive, part)) as files:
            for name, parts, member in files:
                if not is_media(part, parts):
                    continue
                target = place(archive.pieces[0].path.name, parts)
                if target is None:
                    self.passed_over.append("/".join(parts))
                    continue
                with errors_named(name):
                    self._put(target, member, name, take)
                entry = folders.setdefault(target.rpartition("/")[0], [0, 0])
                entry[0] += 1
                entry[1] += member.size
        return folders

    def _files_in(self, archive: Archive, part: Part) -> Generator[tuple[str, tuple[str, ...], Member], None, None]:
        """(name of the archive, parts of its name, member) of each file, also of archives in the archive."""
        for member in members(archive, self._limits, self._check_running):
            self._count_file(archive)
            if member.kind == "folder" and not member.name.strip("./"):
                continue  # the root of a tar
            parts = safe_parts(member.name, archive.name)
            if member.kind == "folder":
                continue
            if member.kind != "file":
                raise ArchiveError(f"{archive.name} holds {member.name!r}, a {member.kind}: it is no official archive")
            if part.nested and re.fullmatch(part.nested, parts[-1], re.IGNORECASE):
                yield from self._nested_files(archive, part, member, parts)
            else:
                yield archive.name, parts, member

    def _nested_files(
        self, archive: Archive, part: Part, member: Member, parts: tuple[str, ...]
    ) -> Iterator[tuple[str, tuple[str, ...], Member]]:
        """The files of an archive in an archive, whose name counts as a folder; those in it are no archives."""
        with self._owned.scratch() as scratch:
            scratch.mkdir()
            inner = Archive((Piece(scratch / parts[-1]),), f"{parts[-1]} of {archive.name}")
            with errors_named(archive.name), member.open() as source, inner.pieces[0].path.open("xb") as file:
                _copy(source, file, member.size, self._meter(archive, archive.size + FREE))
            with errors_named(inner.name):
                for found in members(inner, self._limits, self._check_running):
                    self._count_file(archive)
                    inner_parts = safe_parts(found.name, archive.name)
                    if found.kind not in ("file", "folder"):
                        raise ArchiveError(f"{archive.name} holds {found.name!r}, a {found.kind}")
                    if found.kind == "file":
                        yield inner.name, (*parts[:-1], Path(parts[-1]).stem, *inner_parts), found

    def _put(self, target: str, member: Member, archive: str, take: Callable[[int], None]) -> None:
        """Writes a file, or looks that it is there already."""
        path = self._owned.folder / target
        with member.open() as source:
            if os.path.lexists(path):
                _compare(source, path, archive)
                self._on_bytes(member.size)
                return
            with self._owned.adding(target) as place, place.open("xb") as file:
                _copy(source, file, member.size, take)

    def _meter(self, archive: Archive, left: int) -> Callable[[int], None]:
        """A function that is told of bytes before they are written, and raises ArchiveError beyond the limits."""

        def take(size: int) -> None:
            nonlocal left
            left -= size
            if left < 0:
                raise beyond(archive, "max_archive_ratio", self._limits)
            self._on_bytes(size)
            with self._lock:
                self._bytes += size
            if self._bytes > self._limits.max_archive_megabytes * 2**20:
                raise beyond(archive, "max_archive_megabytes", self._limits)
            self._check_running()

        return take

    def _count_file(self, archive: Archive) -> None:
        with self._lock:
            self._files += 1
        if self._files > self._limits.max_archive_files:
            raise beyond(archive, "max_archive_files", self._limits)
        self._check_running()

    def _check_running(self) -> None:
        if self._is_stopped:
            raise UserError("stopped")  # in a thread whose result nobody takes any more


def is_media(part: Part, parts: Sequence[str]) -> bool:
    """Whether a file is one of a part's; hidden ones, and what macOS adds to archives, are not."""
    hidden = any(name.startswith((".", "__MACOSX")) for name in parts)
    return not hidden and re.fullmatch(part.files, parts[-1], re.IGNORECASE) is not None


def put_file(owned: Owned, source: Path, target: str) -> None:
    """Gives a file a second name in a data set, or where the disk has none, or it is another disk, copies it.

    Raises:
        ForeignError: Something else is in the place.
    """
    path, source = owned.folder / target, Path(os.path.realpath(source))
    if os.path.lexists(path):
        if not path.is_symlink() and path.is_file() and path.samefile(source):
            return
        with source.open("rb") as file:
            _compare(file, path, str(source))
        return
    with owned.adding(target) as place:
        with contextlib.suppress(OSError):
            os.link(source, place)
        if not place.exists():
            shutil.copyfile(source, place)


def is_unpacked(owned: Owned, archives: dict[str, Folders], others: Container[str | None]) -> set[str]:
    """Those archives of a record of which all files are there still, by number and size of the files of each folder.

    Args:
        owned: The data set.
        archives: Of the record.
        others: Names in the data set of files that come from elsewhere, which do not count.
    """
    expected: dict[str, list[int]] = {}
    for folders in archives.values():
        for folder, (count, size) in folders.items():
            entry = expected.setdefault(folder, [0, 0])
            entry[0] += count
            entry[1] += size
    other = {folder for folder, numbers in expected.items() if _measured(owned, folder, others) != numbers}
    return {key for key, folders in archives.items() if not other & folders.keys()}


def _measured(owned: Owned, folder: str, others: Container[str | None]) -> list[int]:
    if not (owned.folder / folder).is_dir():
        return [0, 0]
    with os.scandir(owned.folder / folder) as items:
        files = (item for item in items if f"{folder}/{item.name}" not in others)
        sizes = [item.stat().st_size for item in files if item.is_file(follow_symlinks=False)]
    return [len(sizes), sum(sizes)]


def _copy(source: IO[bytes], file: IO[bytes], size: int, take: Callable[[int], None]) -> None:
    """Copies so many bytes; raises ArchiveError if there are fewer or more."""
    copied = 0
    while block := source.read(BLOCK):
        copied += len(block)
        take(len(block))
        file.write(block)
        if copied > size:
            break
    if copied != size:
        raise ArchiveError(f"a file in an archive has {copied} bytes, {size} are promised: fetch it again")


def _compare(source: IO[bytes], path: Path, archive: str) -> None:
    """Raises ForeignError unless the file at a path is what the source gives."""
    same = path.is_file() and not path.is_symlink()
    if same:
        with path.open("rb") as file:
            while same and (block := source.read(BLOCK)):
                same = file.read(len(block)) == block
            same = same and not file.read(1)
    if not same:
        raise ForeignError(
            f"{path} is there, and is not what {archive} holds: move it, or name another --root, unless "
            "--source has two of this name"
        )
