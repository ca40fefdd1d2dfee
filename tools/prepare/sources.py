"""What lies in the folders and files that --source names, and which part of a data set each of it is."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime import command
from runtime.errors import UserError
from runtime.records import decoded
from tools.prepare.archives import FREE, Archive, Piece, beyond, errors_named, members
from tools.prepare.release import Part, Release, Texts
from tools.prepare.settings import Unpacking

TEXT_BYTES = 64 * 2**20  # of an annotation file


@dataclass(frozen=True)
class Folder:
    """A folder; `origin`: name of the folder that --source names; `below`: those between that and it, with itself."""

    path: Path
    origin: str
    below: tuple[str, ...]


Files = Mapping[Folder, Sequence[str]]  # folder -> names of the files in it


@dataclass(frozen=True)
class Found:
    """One part as it was found: in archives, or unpacked: folder -> names of its files in it, which may be millions."""

    part: Part
    archives: tuple[Archive, ...]
    files: Files


def check_apart(given: Sequence[str], root: Path) -> None:
    """Raises UserError for a root in a source, whose files would come back as what the site gave."""
    for source in given:
        if Path(os.path.realpath(root)).is_relative_to(os.path.realpath(source)):
            raise UserError(f"--root {root} lies in --source {source}: name a folder beside it")


def find(parts: Sequence[Part], files: Files, sources: Sequence[str]) -> list[Found]:
    """Looks for the parts of a data set.

    Args:
        parts: What is looked for.
        files: What `files_of` the sources are.
        sources: Their names, for messages.

    Returns:
        What was found of each part that is there. Where one is there both unpacked and in archives, the files count.

    Raises:
        UserError: A part is absent: the message says how its files are named and what is
            there instead.
    """
    found, missing = [], []
    for part in parts:
        loose = _of_part(files, part.files)
        packed = _of_part(files, part.archives)
        if packed and loose and not part.is_mixed:
            _say_not_read(part, _first(loose), _first(packed), sum(map(len, packed.values())))
            packed = {}
        archives = _archives_of(part, packed)
        if archives or loose:
            found.append(Found(part, archives, loose))
        elif not part.is_optional:
            missing.append(f"{part.what} ({part.official})")
    if missing:
        names = sorted({name for names in files.values() for name in names})
        there = f"{', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}" or "nothing"
        raise UserError(f"{', '.join(sources)} lacks {' and '.join(missing)}; there is {there}")
    return found


def _first(files: Files) -> Path:
    folder, names = next(iter(files.items()))
    return folder.path / names[0]


def _say_not_read(part: Part, loose: Path, packed: Path, number: int) -> None:
    more = f" and {number - 1} more" if number > 1 else ""
    command.say(
        f"{part.what} are taken unpacked, such as {loose}; not read: {packed}{more}. To read it, take the others away"
    )


def say_unknown(parts: Sequence[Part], files: Files) -> None:
    """Says how many files are of no kind that the parts of a data set have, such as videos of a rare format."""
    patterns = [pattern for part in parts for pattern in (part.archives, part.files)]
    paths = [folder.path / name for folder, names in files.items() for name in names]
    unknown = [path for path in paths if not any(_matches(pattern, path.name) for pattern in patterns)]
    if unknown:
        command.say(f"{len(unknown)} files of --source are of no known kind, such as {unknown[0]}")


def texts_of(release: Release, files: Files, sources: Sequence[str], limits: Unpacking) -> Texts:
    """The annotation files of a data set, name -> content; raises UserError as `find` does."""
    texts: dict[str, str] = {}
    for found in find(release.texts, files, sources):
        for path in (folder.path / name for folder, names in found.files.items() for name in names):
            texts[path.name] = _decoded(path.read_bytes(), str(path))
        for archive in found.archives:
            texts |= _texts_in(archive, found.part, limits)
    return texts


def _texts_in(archive: Archive, part: Part, limits: Unpacking) -> Texts:
    texts = {}
    left = limits.max_archive_ratio * archive.size + FREE
    with contextlib.closing(members(archive, limits)) as found:
        for number, member in enumerate(found, start=1):
            if number > limits.max_archive_files:
                raise beyond(archive, "max_archive_files", limits)
            name = Path(member.name).name
            if member.kind == "file" and _matches(part.files, name):
                with errors_named(archive.name), member.open() as file:
                    content = file.read(min(TEXT_BYTES, left) + 1)
                left -= len(content)
                if left < 0:
                    raise beyond(archive, "max_archive_ratio", limits)
                texts[name] = _decoded(content, f"{name} of {archive.name}")
    return texts


def _decoded(content: bytes, place: str) -> str:
    if len(content) > TEXT_BYTES:
        raise UserError(f"{place} has more than {TEXT_BYTES // 2**20} MB: it is no annotation file")
    try:
        return decoded(content)
    except ValueError as error:
        raise UserError(f"{place} is no annotation file: {error}") from error


def files_of(sources: Sequence[str]) -> Files:
    """Looks at all that is in folders, and at files, also where several are of one folder, or in another source.

    Raises:
        UserError: A source does not exist, or cannot be read.
    """
    folders: dict[str, Folder] = {}
    files: dict[str, set[str]] = {}
    for source in sources:
        for folder, names in _below(Path(source)):
            path = os.path.abspath(folder.path)
            if path not in folders or len(folders[path].below) < len(folder.below):
                folders[path] = folder
            files.setdefault(path, set()).update(names)
    return {folders[path]: sorted(names) for path, names in files.items()}


def _below(source: Path) -> Iterator[tuple[Folder, list[str]]]:
    """Folders and the names in them; hidden ones, as macOS puts into archives, are passed over."""
    if source.is_file():
        yield Folder(source.parent, _name_of(source.parent), ()), [source.name]
        return
    if not source.is_dir():
        raise UserError(f"--source {source} does not exist")
    seen = set()  # links lead to folders of classes, or in circles
    for folder, below, names in os.walk(source, followlinks=True, onerror=_refuse):
        below[:] = sorted(name for name in below if not name.startswith("."))
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        place = Folder(Path(folder), _name_of(source), Path(folder).relative_to(source).parts)
        yield place, [sys.intern(name) for name in names if not name.startswith(".")]


def _refuse(error: OSError) -> None:
    raise UserError(f"cannot read {error.filename}: {error.strerror}; give yourself the right, or name other --source")


def _name_of(folder: Path) -> str:
    return Path(os.path.abspath(folder)).name


def _of_part(files: Files, pattern: str) -> dict[Folder, list[str]]:
    """Those of a pattern; raises UserError if one is a link to nothing, or a pipe, which would be waited for."""
    matching = {folder: [name for name in names if _matches(pattern, name)] for folder, names in files.items()}
    for path in (folder.path / name for folder, names in matching.items() for name in names):
        if not os.path.isfile(path):
            raise UserError(f"{path} is no file, or a link to none: take it out of --source")
    return {folder: names for folder, names in matching.items() if names}


def _matches(pattern: str, name: str) -> bool:
    return re.fullmatch(pattern, name, re.IGNORECASE | re.DOTALL) is not None


def _archives_of(part: Part, files: Files) -> tuple[Archive, ...]:
    paths = [folder.path / name for folder, names in files.items() for name in names]
    matching = {os.path.realpath(path): path for path in paths}.values()  # once, if a source lies in another
    if not part.in_pieces:
        return tuple(Archive((Piece(path),)) for path in matching)
    pieces: dict[str, Piece] = {}
    for path in matching:
        for name, piece in _pieces_in(part, path):
            pieces.setdefault(name, piece)  # a zip beside what was taken out of it
    names = sorted(pieces, key=lambda name: (_number_of(name), name))
    _check_pieces(names)
    return (Archive(tuple(pieces[name] for name in names)),) if pieces else ()


def _pieces_in(part: Part, path: Path) -> list[tuple[str, Piece]]:
    """(name without .zip, piece) of a file that is a piece, or a zip of pieces."""
    if path.suffix.lower() != ".zip":
        return [(path.name, Piece(path))]
    with errors_named(str(path)), zipfile.ZipFile(path) as file:
        inner = [name for name in file.namelist() if _matches(part.archives, Path(name).name)]
    return [(Path(name).name, Piece(path, name)) for name in inner]


def _number_of(piece: str) -> int:
    match = re.search(r"-(\d+)$", piece)  # -1 and -10, or -01 and -10
    return int(match[1]) if match else -1


def _check_pieces(names: Sequence[str]) -> None:
    """Raises UserError if one of the numbered pieces is absent."""
    numbers = set(map(_number_of, names))
    for number in range(max(numbers, default=-1)):
        if number not in numbers:
            absent = re.sub(r"\d+$", f"{number:02d}", names[0])
            raise UserError(f"the piece {absent} is not in --source, the piece {names[-1]} is: fetch it")
