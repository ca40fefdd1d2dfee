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
        converters: Packages that write it, one after the other; none where Paddle does.
        requirements: The file of what must be installed to write it.
        takes_batches: A graph of it takes batches of any size; else one clip, or one frame, at a time.
        dtypes: What its inputs may be; anything where none is named.
    """

    title: str
    files: tuple[str, ...]
    converters: tuple[str, ...] = ()
    requirements: str = "requirements-deploy.txt"
    takes_batches: bool = True
    dtypes: tuple[str, ...] = ()

    @property
    def lack(self) -> str:
        """Why it cannot be written here, as a sentence; empty if it can."""
        missing = next((package for package in self.converters if not importlib.util.find_spec(package)), "")
        if not missing:
            return ""
        none = " (paddle2onnx has no wheel for Python 3.13)" if sys.version_info >= (3, 13) else ""
        return f"{self.title} needs {missing}: pip install -r {self.requirements}{none}"


_EDGE = ("requirements-edge.txt", False, ("float32",))
_WEIGHTS = f"{STEM}.pdiparams"
FORMATS: dict[str, Format] = {
    "paddle": Format("Paddle 3", (f"{STEM}.json", _WEIGHTS)),
    "legacy": Format("Paddle 2, in a folder of its own where Paddle 3 is beside", (f"{STEM}.pdmodel", _WEIGHTS)),
    "onnx": Format("ONNX", (f"{STEM}.onnx",), ("paddle2onnx",)),
    "mnn": Format("MNN", (f"{STEM}.mnn",), ("paddle2onnx", "onnx", "MNN"), *_EDGE),
    "ncnn": Format("ncnn", (f"{STEM}.ncnn.param", f"{STEM}.ncnn.bin"), ("paddle2onnx", "pnnx"), *_EDGE),
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
