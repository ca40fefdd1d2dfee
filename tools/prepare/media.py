"""Which videos and folders of frames a data set holds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from configs.suffixes import PICTURE_SUFFIXES, any_of
from runtime.errors import UserError
from tools.prepare.release import VIDEO_FILE

FRAME_FILE = re.compile(rf".*\d{any_of(PICTURE_SUFFIXES)}", re.IGNORECASE | re.DOTALL)


def stem_of(path: str) -> str:
    """A relative path of a video without its suffix."""
    return path.rpartition(".")[0]


class Index:
    """Media by their paths without suffix.

    Args:
        folder: That they are below.
        paths: Relative paths, with suffix where they have one.
        counts: Path -> frames, of folders of frames.
        ignores_case: Whether a path is found in another case, too.

    Raises:
        UserError: Two videos differ in nothing but their suffix, so that lists and frames could not tell them apart.
    """

    def __init__(
        self, folder: Path, paths: Iterable[str], counts: dict[str, int] | None = None, ignores_case: bool = False
    ) -> None:
        self.counts = counts or {}
        stems: dict[str, str] = {}
        for path in sorted(paths):
            other = stems.setdefault(path if path in self.counts else stem_of(path), path)
            if other != path:
                raise UserError(
                    f"{other} and {path} of {folder} have the same name: rename one in --source, and remove it there"
                )
        self._paths = stems
        self._lenient = {stem.casefold(): path for stem, path in stems.items()} if ignores_case else {}

    def path_of(self, names: Iterable[str]) -> str | None:
        """The path of the first of these names that is there, if need be in another case."""
        names = list(names)
        for name in names:
            if name in self._paths:
                return self._paths[name]
        return next((self._lenient[name.casefold()] for name in names if name.casefold() in self._lenient), None)

    def paths(self) -> list[str]:
        """All paths, sorted."""
        return sorted(self._paths.values())


def videos_in(folder: Path, ignores_case: bool = False) -> Index:
    """The video files below a folder."""
    paths = _files_below(folder, "")
    videos = (path for path in paths if re.fullmatch(VIDEO_FILE, path, re.IGNORECASE | re.DOTALL))
    return Index(folder, videos, ignores_case=ignores_case)


def frames_in(folder: Path, ignores_case: bool = False) -> Index:
    """The folders of frames below a folder."""
    counts: dict[str, int] = {}
    for path in _files_below(folder, ""):
        if FRAME_FILE.fullmatch(path):
            parent = path.rpartition("/")[0]
            counts[parent] = counts.get(parent, 0) + 1
    return Index(folder, counts, counts, ignores_case)


def _files_below(folder: Path, prefix: str) -> Iterator[str]:
    """Relative paths of files; hidden ones and links are passed over."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as items:
        for item in items:
            if item.name.startswith(".") or item.is_symlink():
                continue
            if item.is_dir():
                yield from _files_below(folder / item.name, f"{prefix}{item.name}/")
            else:
                yield prefix + item.name
