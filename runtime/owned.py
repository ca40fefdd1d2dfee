"""What this program has written into a folder, and the only place where anything is removed or replaced.

A folder that this program writes into holds a folder `.actionalign` with the record of it: the name and the SHA-256 of
each file. What is not in the record, or is no longer what the record says, is somebody else's: it is neither removed
nor replaced, and the error names it. While a file is written it lies inside `.actionalign`, so that a kill leaves the
old one or the new one, never a part.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypedDict

from runtime.command import signals_deferred
from runtime.errors import UserError
from runtime.lock import locked
from runtime.records import read_record

FOLDER = ".actionalign"
RECORD, LOCK, UNFINISHED = "record.json", "lock", "unfinished"
VERSION = 1
_numbers = itertools.count()  # of what lies unfinished, in this process


class ForeignError(UserError):
    """Something that this program did not write is in the way of what it would write or remove."""


class Record(TypedDict):
    """What `.actionalign/record.json` holds.

    Attributes:
        version: Of this form.
        private: Number of the folder on its disk if all that is in it is this program's, because it is not finished; a
            copy of it has another. Empty otherwise.
        files: Name of a file, with / between folders -> the SHA-256 that it may have: two while it is replaced, none
            for a log, which grows.
    """

    version: int
    private: str
    files: dict[str, list[str]]


class Owned:
    """A folder, and what of it is this program's.

    Args:
        folder: It need not exist.

    Raises:
        ForeignError: The folder of its record is a link, through which another one would be written and cleared.
        UserError: The record is damaged or of a later version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if self._inside("").is_symlink():
            raise ForeignError(f"{self._inside('')} is a link, which this program never makes: remove it")
        self._private = False
        self._files: dict[str, list[str]] = {}
        place = self._inside(RECORD)
        if place.is_file():
            record: Record = read_record(place, Record, way_out=f": remove {place} if nothing in its folder matters")
            if record["version"] != VERSION:
                raise UserError(f"{place} has version {record['version']}, this program reads {VERSION}: update it")
            self._private, self._files = record["private"] == self._identity(), record["files"]

    @classmethod
    def create_private(cls, folder: str | Path) -> Owned:
        """Makes a folder whose whole content is this program's until `seal`.

        Raises:
            OSError: It exists, or cannot be made.
        """
        owned = cls(folder)
        owned.folder.mkdir(parents=True)
        owned._private = True
        owned._write_record()
        return owned

    @property
    def is_marked(self) -> bool:
        """Whether this program has written into the folder."""
        return self._inside(RECORD).is_file()

    @contextlib.contextmanager
    def locked(self, busy: str) -> Iterator[None]:
        """Holds the folder against other processes, see `lock.locked`; makes it if it is not there."""
        self._inside("").mkdir(parents=True, exist_ok=True)
        with locked(self._inside(LOCK), busy):
            yield

    # -----------------------------------------------------------------------------------------------------------------
    # Writing

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Writes files, each as a whole; after a kill each of them is the old one or the new one.

        Raises:
            ForeignError: There is a file of that name which is not this program's; none is written.
            OSError: A file cannot be written; those that were there are as they were.
        """
        self.prepare(contents)
        self.publish(contents)

    def prepare(self, contents: Mapping[str, bytes]) -> None:
        """Writes files beside, where `unfinished` finds them, and records that they may take their places."""
        now = {name: self.check(name) for name in contents}
        try:
            for name, content in contents.items():
                _write_through(self.unfinished(name), content, self.folder / name)
                self._files[name] = [*now[name], hashlib.sha256(content).hexdigest()]
            self._write_record()
        except OSError:
            for name in contents:
                self.unfinished(name).unlink(missing_ok=True)
            raise

    def publish(self, names: Iterable[str]) -> None:
        """Moves files of `prepare` to their places."""
        folders = {self.folder}
        for name in names:
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self.unfinished(name), target)
            folders.add(target.parent)
        for folder in folders:
            _sync_folder(folder)

    def unfinished(self, name: str) -> Path:
        """Where a file lies while it is written."""
        return self._inside(UNFINISHED, name)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A path where nothing is yet, for a file or a folder; at the end nothing is left there."""
        place = self._inside(UNFINISHED, f"scratch-{os.getpid()}-{next(_numbers)}")
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield place
        finally:
            if place.is_dir():
                shutil.rmtree(place)
            place.unlink(missing_ok=True)

    @contextlib.contextmanager
    def adding(self, name: str) -> Iterator[Path]:
        """A path for a file or a folder that is to get a name which is free; it gets it at the end of the block.

        For what is too much for a record, such as millions of frames. Hence it is nobody's from then on: it is neither
        replaced nor removed. A kill leaves it whole or not at all. The caller holds the lock.

        Raises:
            ForeignError: There is something of that name, or the name leads out of the folder.
            OSError: It cannot be written; the error names what it was to become.
        """
        self._check_inside(name)
        target = self.folder / name
        with self.scratch() as place:
            try:
                yield place
            except OSError as error:
                names = [str(name) for name in (error.filename, error.filename2) if name]
                if error.errno is None or (names and not any(name.startswith(str(place)) for name in names)):
                    raise
                raise OSError(error.errno, error.strerror, str(target)) from error
            if os.path.lexists(target):
                raise ForeignError(f"{target} is there already: move it, or name another folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(place, target)

    def clear_unfinished(self) -> None:
        """Removes what a process that was killed has left unfinished; the caller holds the lock."""
        if self._inside(UNFINISHED).is_dir():
            shutil.rmtree(self._inside(UNFINISHED))

    def link(self, name: str, target: Path) -> None:
        """Makes a link; raises ForeignError if something of that name is there which is not this program's."""
        self.remove([name])
        (self.folder / name).symlink_to(target)
        self.seal([name])

    def start_log(self, name: str) -> Path:
        """Path of a file that grows, empty now.

        Raises:
            ForeignError: There is such a file which is not this program's.
        """
        self.check(name)
        self._files[name] = []
        self._write_record()
        path = self.folder / name
        path.write_bytes(b"")
        return path

    def seal(self, names: Iterable[str] | None = None, logs: Iterable[str] = ()) -> None:
        """Records files as they are; without names all that the folder holds, which thereby is no longer private."""
        found = self._content() if names is None else [name for name in names if os.path.lexists(self.folder / name)]
        self._files |= {name: [digest_of(self.folder / name)] for name in found}
        self._files |= {name: [] for name in logs}
        self._private = self._private and names is not None
        self._write_record()

    # -----------------------------------------------------------------------------------------------------------------
    # Removing

    def check(self, name: str) -> list[str]:
        """Looks at a file.

        Returns:
            Its digest, alone; none if it is not there, or has none in the record.

        Raises:
            ForeignError: It is there and is not as this program has written it.
        """
        self._check_inside(name)
        path = self.folder / name
        if not os.path.lexists(path) or self._private:
            return []
        digests = self._files.get(name)
        if digests is None or not (path.is_symlink() or path.is_file()):
            raise ForeignError(
                f"{path} was not written by this program, as far as it knows: move it, or name another folder"
            )
        try:
            found = [digest_of(path)] if digests else []
        except PermissionError as error:
            raise ForeignError(f"{path} cannot be read: {error.strerror}; name another folder") from error
        if not set(found) <= set(digests):
            raise ForeignError(f"{path} was changed since this program wrote it: move it, or name another folder")
        return found

    def check_all(self) -> None:
        """Raises ForeignError if the folder holds anything that is not as this program has written it."""
        if os.path.lexists(self.folder) and not self.folder.is_dir():
            raise ForeignError(f"{self.folder} is no folder: name another")
        for name in self._names():
            owner = self._owner_of(name)
            owner.check((self.folder / name).relative_to(owner.folder).as_posix())

    def remove(self, names: Iterable[str]) -> None:
        """Removes files, those of them that are there.

        Raises:
            ForeignError: One of them is not this program's; none is removed.
        """
        names = list(names)
        for name in names:
            self.check(name)
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
            self._files.pop(name, None)
        if self.is_marked:
            self._write_record()

    def remove_all(self, is_held: bool = False) -> None:
        """Removes the folder.

        Args:
            is_held: Whether the caller holds the lock of the folder, or another one that guards it.

        Raises:
            ForeignError: It holds something that is not this program's; nothing is removed.
            LockedError: Another process works in it.
        """
        if not is_held and self._inside("").is_dir():
            with self.locked(f"another process works in {self.folder}"):
                self.remove_all(is_held=True)
            return
        self.check_all()
        if self.folder.is_symlink():
            raise ForeignError(f"{self.folder} is a link: name the folder that it points to")
        if not self.folder.exists():
            return
        folders = [self.folder, *(path for path in self.folder.rglob("*") if path.is_dir() and not path.is_symlink())]
        for name in self._content():
            (self.folder / name).unlink()
        for folder in sorted(folders, reverse=True):
            if folder.name == FOLDER:
                shutil.rmtree(folder)
            elif FOLDER not in folder.parts:
                folder.rmdir()  # an error, and nothing lost, if something has come since the check

    def move_to(self, target: str | Path) -> None:
        """Puts this folder in the place of another, which must be this program's, empty or absent.

        Raises:
            ForeignError: The other folder holds something that is not this program's; it is as it was.
        """
        target = Path(os.path.realpath(target))  # a link stays, what it points to is replaced
        Owned(target).check_all()
        if not os.path.lexists(target) or not any(target.iterdir()):
            os.replace(self.folder, target)
        elif _exchange(self.folder, target):
            Owned(self.folder).remove_all(is_held=True)
        else:
            older = self.folder.with_name(f"{self.folder.name}-replaced")
            Owned(older).remove_all()  # of a process that was killed here; what it replaced is at its place again
            os.replace(target, older)
            try:
                os.replace(self.folder, target)
            except BaseException:
                os.replace(older, target)
                raise
            Owned(older).remove_all()
        self.folder = target

    # -----------------------------------------------------------------------------------------------------------------

    def _check_inside(self, name: str) -> None:
        if not Path(os.path.realpath((self.folder / name).parent)).is_relative_to(os.path.realpath(self.folder)):
            raise ForeignError(
                f"{name} is not inside of {self.folder}, for a link in it: let the whole folder lie where there is room"
            )

    def _identity(self) -> str:
        return str(self.folder.stat().st_ino)

    def _inside(self, *parts: str) -> Path:
        return self.folder.joinpath(FOLDER, *parts)

    def _content(self) -> list[str]:
        return sorted(self._names())

    def _names(self) -> Iterator[str]:
        """Names of all files of the folder, without records; one by one, as it may be a whole disk."""
        found = (path for path in self.folder.rglob("*") if path.is_symlink() or not path.is_dir())
        names = (path.relative_to(self.folder) for path in found)
        return (name.as_posix() for name in names if FOLDER not in name.parts)

    def _owner_of(self, name: str) -> Owned:
        """The nearest folder around a file that has a record, such as that of a report in a run."""
        for folder in (self.folder / name).parents:
            if folder == self.folder or self._private:
                break
            if Owned(folder).is_marked:
                return Owned(folder)
        return self

    def _write_record(self) -> None:
        private = self._identity() if self._private else ""
        record: Record = {"version": VERSION, "private": private, "files": self._files}
        fresh = self._inside(UNFINISHED, RECORD)
        _write_through(fresh, json.dumps(record, indent=1).encode(), self._inside(RECORD))
        os.replace(fresh, self._inside(RECORD))
        _sync_folder(self._inside(""))


@contextlib.contextmanager
def unfinished_beside(target: Path, busy: str) -> Iterator[Owned]:
    """A private folder beside a target, for what is to become it by `move_to`; at the end nothing is left of it.

    Args:
        target: Its parent is made if it is not there.
        busy: What another process does that has such a folder, see `lock.locked`.

    Raises:
        LockedError: Another process writes the same target.
        OSError: The folder cannot be made.
    """
    target = Path(os.path.realpath(target))
    place = target.with_name(f".{target.name}.unfinished")
    older = place.with_name(f"{place.name}-replaced")
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with signals_deferred(), _held(target.parent):  # what is made is cleared away from here on, or not made
            if place.exists():  # of another process, or of one that was killed
                with Owned(place).locked(busy):
                    Owned(place).remove_all(is_held=True)
            if older.exists() and not target.exists():
                os.replace(older, target)
            owned = Owned.create_private(place)
            stack.enter_context(owned.locked(busy))
            stack.callback(signals_deferred()(Owned(place).remove_all), is_held=True)
        yield owned


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder of which nothing is left at the end, whatever a signal meets.

    What libraries put into the system's temporary folder meanwhile lies in it, too.
    """
    before = tempfile.tempdir

    @signals_deferred()
    def remove() -> None:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)

    with contextlib.ExitStack() as stack:
        with signals_deferred():
            folder = Path(tempfile.mkdtemp())
            tempfile.tempdir = str(folder)
            stack.callback(remove)
        yield folder


def _exchange(left: Path, right: Path) -> bool:
    """Lets two folders change places at once, where the system and the disk can; returns whether they have."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of Linux
    return rename is not None and rename(here, os.fsencode(left), here, os.fsencode(right), exchange) == 0


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Lets one process at a time through, for moments; all of them where the disk knows no locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def create(path: Path, content: bytes, overwrite: bool = False) -> None:
    """Writes a file that the user has named for it, as a whole.

    Args:
        path: In a folder that is made if it is not there.
        content: Of the file.
        overwrite: Whether a file of that name may be there.

    Raises:
        UserError: There is one and it may not, or it cannot be written; what was there is as it was.
    """
    place = Path(os.path.realpath(path))
    if overwrite and place.exists() and not place.is_file():  # a terminal, a pipe, /dev/null
        try:
            place.write_bytes(content)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from error
        return
    with creating(path, overwrite) as fresh:
        fresh.write_bytes(content)


@contextlib.contextmanager
def creating(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Where a file that the user has named may be written, for which it is there as a whole at the end of the block.

    Args:
        path, overwrite: As of `create`.

    Yields:
        A path beside it, with its suffix; nothing is left there if the block fails.

    Raises:
        UserError: As `create`.
    """
    place = Path(os.path.realpath(path))
    try:
        if place.exists() and not overwrite:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = place.with_name(f".{os.getpid()}-{place.name}")
        try:
            with fresh.open("xb"):
                pass
            yield fresh
            os.replace(fresh, place)
        finally:
            fresh.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error


def digest_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal; of a link, that of the path that it holds."""
    if path.is_symlink():
        return hashlib.sha256(b"link to " + os.fsencode(path.readlink())).hexdigest()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _write_through(path: Path, content: bytes, target: Path) -> None:
    """Writes a file and waits until it is on the disk; an error names the file that it is to become."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from error


def _sync_folder(folder: Path) -> None:
    """Waits until the renames in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
