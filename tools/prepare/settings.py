"""What a preparation can be told."""

from __future__ import annotations

import re
from dataclasses import dataclass

from configs.options import Options, option
from runtime.errors import UserError


@dataclass(frozen=True)
class Unpacking(Options):
    """What archives may unpack to; the official ones stay far below."""

    max_archive_files: int = option(20_000_000, "most files in all archives together", at_least=1)
    max_archive_megabytes: int = option(1_048_576, "most that all archives together unpack to", at_least=1)
    max_archive_ratio: int = option(
        20, "most that an archive unpacks to, in multiples of its size (beyond 16 MB)", at_least=1
    )


@dataclass(frozen=True)
class Media(Options):
    """What becomes of the videos; one data set has one of each of these."""

    reencode: int = option(
        0, "H.264 videos whose shorter side is this at most, the same frames; 0: as they come", at_least=0
    )
    frames: bool = option(False, "also frames as JPEG files, in rawframes/")
    jpeg_quality: int = option(95, "of --frames", at_least=1, at_most=100)
    short_side: int = option(0, "of --frames: larger frames are shrunk to this shorter side; 0: none is", at_least=0)

    def check(self) -> None:
        """Raises RecipeError for a side that no video can have."""
        self.require("reencode", self.reencode == 0 or self.reencode >= 16, "0, or at least 16")
        self.require("short_side", self.short_side == 0 or self.short_side >= 16, "0, or at least 16")


@dataclass(frozen=True)
class Lists(Options):
    """What is listed, and how."""

    splits: tuple[int, ...] = option((), "official splits to list, as 1,3")
    label_order: str = option(
        "csv", "of jester: that of its csv file, or the alphabet", choices=("csv", "alphabetical")
    )
    source_pattern: str = option(
        "",
        "of folder: a regular expression for file names; its first group, or all that it matches, is the source of a "
        "video (by default, videos are of one source if their frames nearly agree)",
    )
    val_fraction: float = option(0.2, "of folder: part of the videos for validation", above=0, below=1)
    split_seed: int = option(0, "of folder: another seed puts other sources into validation", at_least=0)
    min_share: float = option(
        0.0, "of masks: pictures of which a smaller fraction is person are not listed", at_least=0, at_most=1
    )
    leave_out: str = option("", "a file of paths as the lists have them, one a line, that are not to be listed")

    def check(self) -> None:
        """Raises UserError for a pattern that is none."""
        try:
            re.compile(self.source_pattern)
        except re.error as error:
            raise UserError(f"source_pattern {self.source_pattern!r} is no regular expression: {error}") from error


@dataclass(frozen=True)
class Settings:
    """All groups, and how many threads work."""

    media: Media
    lists: Lists
    unpacking: Unpacking
    workers: int
