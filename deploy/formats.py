"""Which files are a graph in which format.

`WRITERS` in `deploy.writers` has the function that writes each format; `formats` of each engine in `deploy.engines`
says who reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy.signature import Signature

STEM = "inference"  # what the files of every graph are called, but for their suffixes


@dataclass(frozen=True)
class Format:
    """A graph format.

    Attributes:
        title: For --help.
        suffixes: Of its files; the first one tells the format.
    """

    title: str
    suffixes: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """Names of its files."""
        return tuple(f"{STEM}{suffix}" for suffix in self.suffixes)


FORMATS: dict[str, Format] = {
    "paddle": Format("Paddle 3", (".json", ".pdiparams")),
    "legacy": Format("Paddle 2, in a folder of its own where Paddle 3 is beside", (".pdmodel", ".pdiparams")),
    "onnx": Format("ONNX", (".onnx",)),
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
