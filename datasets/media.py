"""Media on the disk: what a folder holds, and where a name leads that was written down on another system."""

from __future__ import annotations

import glob
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from configs.suffixes import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from datasets.pictures import FRAME_NAME, is_animation_file
from datasets.targets import DataError
from runtime.records import read_text

LIST_SUFFIX = ".txt"
NO_MEDIA = ("desktop.ini", "ehthumbs.db", "thumbs.db")  # what Windows puts beside media, in lower case


def is_hidden(name: str) -> bool:
    """Whether a file is none that a person has put there."""
    return name.startswith(".") or name.lower() in NO_MEDIA


def plain_form(name: str) -> str:
    """A name in Unicode's form NFC: macOS writes an umlaut as two characters, others as one."""
    return unicodedata.normalize("NFC", name)


def find_videos(names: Sequence[str]) -> list[str]:
    """The videos behind names: video files and folders of frames at any depth of a folder, or the name itself.

    A name may be a pattern of several (`*`, `?`, `[abc]`, `**`), or a list: a file `.txt` that names one in each line,
    from its own folder on; numbers behind a name, as lists of data sets have them, are passed over.

    Raises:
        DataError: A name stands for several, see `Names`, or a pattern for none.
    """
    known, paths = Names(), []
    for name in names:
        found = known.find("", name)
        if found and Path(name).suffix.lower() == LIST_SUFFIX and Path(found[0]).is_file():
            paths += _listed(Path(found[0]))
        elif found:
            paths += _videos_below(Path(found[0]))
        elif any(sign in name for sign in "*?["):
            paths += _fitting(name)
        else:
            paths.append(name)
    return paths


def _fitting(pattern: str) -> list[str]:
    inside = [path for name in sorted(glob.glob(pattern, recursive=True)) for path in _videos_below(Path(name))]
    paths = [
        path for path in dict.fromkeys(inside) if Path(path).is_dir() or Path(path).suffix.lower() in VIDEO_SUFFIXES
    ]
    if not paths:
        raise DataError(f"no video fits the pattern {pattern}")
    return paths


def _listed(path: Path) -> list[str]:
    paths = [listed(path.parent, line) for line in map(str.strip, read_text(path, DataError)) if line]
    if not paths:
        raise DataError(f"{path} names no video")
    return paths


def listed(folder: Path, line: str) -> str:
    """The video that a line of a list in a folder names, without the numbers behind it."""
    words = line.split()
    while len(words) > 1 and words[-1].isdigit() and not (folder / line).exists():
        line = line[: line.rindex(words.pop())].rstrip()
    return str(folder / line)


def find_pictures(names: Sequence[str]) -> list[str]:
    """The pictures behind names: files, and those at any depth of a folder, in the order of their names."""
    paths: list[str] = []
    for name in names:
        folder = Path(name)
        inside = [path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()]
        shown = [path for path in inside if not any(map(is_hidden, path.relative_to(folder).parts))]
        paths += sorted(map(str, shown)) or [name]
    return paths


def _videos_below(path: Path) -> list[str]:
    parts = len(path.parts)
    inside = [file for file in path.rglob("*") if not any(map(is_hidden, file.parts[parts:])) and file.is_file()]
    frames = {file for file in inside if FRAME_NAME.fullmatch(file.name) and not _is_moving(file)}
    files = {file for file in inside if file.suffix.lower() in VIDEO_SUFFIXES} - frames
    folders = {file.parent for file in frames} - {file.parent for file in files}  # pictures beside videos are no frames
    return [str(found) for found in sorted(files | folders)] or [str(path)]


def _is_moving(path: Path) -> bool:
    """Whether a file whose name is that of a picture, or of a video, is a video."""
    suffix = path.suffix.lower()
    return suffix in VIDEO_SUFFIXES and suffix in PICTURE_SUFFIXES and is_animation_file(path)


class Names:
    r"""Finds files by names that lists state; looks closer where there is no file of just that name.

    Then `\` is read as `/`, and each part of the name also as one that differs in Unicode's normal form alone.
    """

    def __init__(self) -> None:
        self._listed: dict[str, dict[str, list[str]]] = {}  # folder -> name in NFC -> names

    def find(self, folder: str, name: str) -> tuple[str, int] | None:
        """Path and mode of a file or folder; None if there is none.

        Raises:
            DataError: Several are of this name, and none is it letter by letter.
        """
        path = os.path.join(folder, name)
        mode = _mode(path)
        if mode is not None:
            return path, mode
        if name.isascii() and "\\" not in name:
            return None
        for spelled in dict.fromkeys((name, name.replace("\\", "/"))):
            path = self._walk(folder, spelled)
            mode = _mode(path) if path else None
            if mode is not None:
                return path, mode
        return None

    def _walk(self, folder: str, name: str) -> str:
        """The path that a name leads to, part by part; "" where a part is not there."""
        path = folder
        for part in Path(name).parts:
            exact = os.path.join(path, part)
            if not os.path.lexists(exact):
                alike = self._names_in(path).get(plain_form(part), [])
                if len(alike) > 1:
                    raise DataError(
                        f"{path or os.curdir} has {len(alike)} names that differ in Unicode's normal form alone, and "
                        f"none is the {part!a} that is asked for: {', '.join(map(ascii, alike))}"
                    )
                if not alike:
                    return ""
                exact = os.path.join(path, alike[0])
            path = exact
        return path

    def _names_in(self, folder: str) -> dict[str, list[str]]:
        if folder not in self._listed:
            self._listed[folder] = {}
            for name in sorted(os.listdir(folder or os.curdir)) if os.path.isdir(folder or os.curdir) else ():
                self._listed[folder].setdefault(plain_form(name), []).append(name)
        return self._listed[folder]


def _mode(path: str) -> int | None:
    try:
        return Path(path).stat().st_mode
    except (OSError, ValueError):  # no such file; a name that cannot be one
        return None
