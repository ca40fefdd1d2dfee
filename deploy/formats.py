"""Which files are a graph in which format.

`WRITERS` in `deploy.writers` has the function that writes each format; `formats` of each engine in `deploy.engines`
says who reads it.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.signature import Signature

STEM = "inference"  # what the files of every graph are called, but for their suffixes


@dataclass(frozen=True)
class Format:
    """A graph format.

    Attributes:
        title: For --help.
        files: Names of its files; the first one tells the format.
        converter: Package that writes it; empty if Paddle does.
    """

    title: str
    files: tuple[str, ...]
    converter: str = ""

    @property
    def lack(self) -> str:
        """Why it cannot be written here, as a sentence; empty if it can."""
        if not self.converter or importlib.util.find_spec(self.converter):
            return ""
        none = " (it has no wheel for Python 3.13)" if sys.version_info >= (3, 13) else ""
        return f"{self.title} needs {self.converter}: pip install -r requirements-deploy.txt{none}"


_WEIGHTS = f"{STEM}.pdiparams"
FORMATS: dict[str, Format] = {
    "paddle": Format("Paddle 3", (f"{STEM}.json", _WEIGHTS)),
    "legacy": Format("Paddle 2, in a folder of its own where Paddle 3 is beside", (f"{STEM}.pdmodel", _WEIGHTS)),
    "onnx": Format("ONNX", (f"{STEM}.onnx",), "paddle2onnx"),
}
ALL_FILES = {file for form in FORMATS.values() for file in form.files}


@dataclass(frozen=True)
class Graph:
    """A graph on the disk.

    Attributes:
        form: A key of FORMATS.
        folder: Holds its files.
        signature: What goes in and comes out.
    """

    form: str
    folder: Path
    signature: Signature

    @property
    def files(self) -> list[Path]:
        """Its files, in the order of its format."""
        return [self.folder / name for name in FORMATS[self.form].files]


def formats_in(folder: Path) -> list[str]:
    """The formats that a folder holds a graph in."""
    return [name for name, form in FORMATS.items() if (folder / form.files[0]).is_file()]
