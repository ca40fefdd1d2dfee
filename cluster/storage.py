"""Folders that all workers see: on a shared disk, or in an object store (`s3://...`), by Arrow's file systems."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtime.errors import UserError

CHUNK = 2**20
UNFINISHED = ".unfinished"


def is_remote(name: str) -> bool:
    """Whether a name is the address of an object, not a path."""
    return "://" in name


def opened(name: str) -> tuple[Any, str]:
    """Arrow's file system of a name, and the path in it.

    Raises:
        UserError: There is none for it.
    """
    from pyarrow import fs

    if not is_remote(name):
        return fs.LocalFileSystem(), str(Path(name).resolve())
    try:
        found: tuple[Any, str] = fs.FileSystem.from_uri(name)
    except (ValueError, OSError) as error:
        raise UserError(f"{_without_secrets(name)} names no place that Arrow knows: {error}") from error
    return found


class Storage:
    """A folder.

    Args:
        name: Path or address; options of an object store are those of Arrow's addresses, as `?endpoint_override=...`.

    Raises:
        UserError: It cannot be opened.
    """

    def __init__(self, name: str) -> None:
        self._is_local = not is_remote(name)
        self.name = str(Path(name).resolve()) if self._is_local else name  # which other folders' processes understand
        self._files, self._root = opened(name)

    def __reduce__(self) -> tuple[type[Storage], tuple[str]]:
        return Storage, (self.name,)

    def path(self, name: str) -> str:
        """Path of a file in the file system."""
        return f"{self._root}/{name}"

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return bool(self._files.get_file_info(self.path(name)).is_file)

    def names(self, folder: str) -> set[str]:
        """Names of the files of a folder, which need not be there."""
        from pyarrow import fs

        found = self._files.get_file_info(fs.FileSelector(self.path(folder), allow_not_found=True))
        return {info.base_name for info in found if info.is_file and not info.base_name.startswith(".")}

    def is_empty(self) -> bool:
        """Whether the folder holds nothing, or is not there."""
        from pyarrow import fs

        return not self._files.get_file_info(fs.FileSelector(self._root, allow_not_found=True))

    def read(self, name: str) -> bytes:
        """The whole of a file."""
        with self._files.open_input_stream(self.path(name)) as stream:
            content: bytes = stream.read()
        return content

    def part(self, name: str, start: int, end: int) -> bytes:
        """Bytes of a file."""
        with self.reading(name) as file:
            content: bytes = file.read_at(end - start, start)
        return content

    @contextmanager
    def reading(self, name: str) -> Iterator[Any]:
        """A file from which any part can be read."""
        with self._files.open_input_file(self.path(name)) as file:
            yield file

    @contextmanager
    def writing(self, name: str) -> Iterator[Any]:
        """A stream whose content appears under a name as a whole, when the block ends without an error, or not at all.

        In an object store what is not finished is never seen; on a disk it lies in a folder of its own until then.
        """
        if not self._is_local:
            self._files.create_dir(self.path(name).rpartition("/")[0], recursive=True)
            with self._files.open_output_stream(self.path(name)) as stream:
                yield stream
            return
        place = Path(self.path(UNFINISHED))
        place.mkdir(parents=True, exist_ok=True)
        Path(self.path(name)).parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place, delete=False) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        self._files.move(file.name, self.path(name))

    def write(self, name: str, content: bytes) -> None:
        """Writes a file as a whole, see `writing`."""
        with self.writing(name) as stream:
            stream.write(content)

    def clear_unfinished(self) -> None:
        """Removes what killed workers have left unfinished; called when none is at work."""
        if self._is_local and Path(self.path(UNFINISHED)).is_dir():
            self._files.delete_dir(self.path(UNFINISHED))


@contextmanager
def fetched(source: str, most_bytes: int) -> Iterator[str]:
    """A path under which a video can be read: its own, or that of a nameless copy of an object.

    Args:
        source: Path or address.
        most_bytes: Size from which an object is refused.

    Raises:
        UserError: The object cannot be read, or is too large.
    """
    if not is_remote(source):
        yield source
        return
    files, path = opened(source)
    with tempfile.TemporaryFile() as copy:
        try:
            with files.open_input_stream(path) as stream:
                while content := stream.read(CHUNK):
                    copy.write(content)
                    if copy.tell() > most_bytes:
                        raise UserError(
                            f"{_without_secrets(source)} has more than {most_bytes // 2**20} MB: raise "
                            "--max_video_megabytes for it"
                        )
        except OSError as error:
            raise UserError(f"{_without_secrets(source)} cannot be read: {error}") from error
        copy.flush()
        yield f"/dev/fd/{copy.fileno()}"


def _without_secrets(name: str) -> str:
    """An address without the key that may stand in it, and without its options."""
    scheme, _, rest = name.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
