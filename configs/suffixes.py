"""Which files of a folder are videos, and which are pictures, by how their names end; what they are, reading decides.

Suffixes are in lower case; names are compared whatever their case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# What the containers of `datasets.video` are called; not those that hold sound or one picture alone (.m4a, .heic).
VIDEO_SUFFIXES = (
    ".264", ".265", ".3g2", ".3gp", ".apng", ".asf", ".avc", ".avi", ".dif", ".divx", ".dv", ".f4v", ".flv", ".gif",
    ".gxf", ".h261", ".h263", ".h264", ".h265", ".h26l", ".hevc", ".ism", ".ismv", ".ivf", ".m1v", ".m2p", ".m2t",
    ".m2ts", ".m2v", ".m4v", ".mj2", ".mjpeg", ".mjpg", ".mk3d", ".mkv", ".mod", ".mov", ".mp4", ".mp4v", ".mpe",
    ".mpeg", ".mpg", ".mpv", ".mts", ".mxf", ".nut", ".obu", ".ogg", ".ogm", ".ogv", ".ogx", ".psp", ".qt", ".rm",
    ".rmvb", ".tod", ".trp", ".ts", ".vc1", ".vob", ".webm", ".wmv", ".wtv", ".xvid", ".y4m",
)  # fmt: skip
# What the formats of `datasets.pictures` are called.
PICTURE_SUFFIXES = (
    ".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff",
    ".webp",
)  # fmt: skip


def any_of(suffixes: Iterable[str]) -> str:
    """A regular expression for one of them, in a group; to be compared without regard to case."""
    return f"({'|'.join(map(re.escape, suffixes))})"
