"""The folder that `deploy.export` writes: graphs, recipe, class names, and the record that certifies them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from configs import Recipe
from deploy.formats import ALL_FILES, Graph
from deploy.signature import Signature
from runtime import records
from runtime.command import say
from runtime.errors import UserError
from runtime.owned import Owned, digest_of, unfinished_beside

RECORD, RECIPE, CLASSES = "export.json", "recipe.json", "classes.txt"
LEGACY_FOLDER = "legacy"  # of Paddle 2's graph where Paddle 3's is, too: their weights have one file name
VERSION = 3  # of the record; raise it when its keys change their meaning
KNOWN = frozenset({RECIPE, CLASSES, *ALL_FILES})  # what the record has digests of


class Versioned(TypedDict):
    """What every `export.json` holds."""

    version: int


class Described(Versioned):
    """What `export.json` holds in each version that is read."""

    model: str
    views: str
    num_classes: int
    precision: str
    versions: dict[str, str]
    files: dict[str, str]


class Exported(Described):
    """What `export.json` cannot do without."""

    signature: dict[str, Any]


class Shape(TypedDict):
    """The input of version 2: its name, shape and dtype."""

    shape: list[Any]


class ExportedBefore(Described):
    """The same of version 2."""

    input: Shape


class ArtifactError(UserError):
    """An artifact folder that is incomplete, damaged, or not one for what is asked of it."""


@dataclass(frozen=True)
class Artifact:
    """An artifact folder whose record, recipe and class names have been read.

    Attributes:
        directory: The folder.
        record: Content of `export.json`.
        recipe: What the model was trained and is tested by; it names the classes' number.
        class_names: K names.
    """

    directory: Path
    record: dict[str, Any]
    recipe: Recipe
    class_names: tuple[str, ...]

    @property
    def signature(self) -> Signature:
        """What goes into the graphs and comes out."""
        return Signature.from_dict(self.record["signature"])

    @property
    def precision(self) -> str:
        """`fp32`, or `int8` where the weights are quantized."""
        return self.record["precision"]

    def graph(self, form: str) -> Graph:
        """The graph in one format; raises ArtifactError if it is not there, or a file is not as it was certified."""
        graph = Graph(form, self.directory, self.signature)
        for path in graph.files:
            if not path.is_file():
                raise ArtifactError(f"{self.directory} has no {path.name}: export it with --formats {form}")
            _as_certified(path, self.record)
        return graph


def open_artifact(directory: str | Path) -> Artifact:
    """Reads what stands beside the graphs.

    Raises:
        ArtifactError: The folder is none of `deploy.export`, or of another version.
        RecipeError, DataError: The recipe or the class names cannot be read.
    """
    from datasets import read_class_names  # which imports decoders, for which --help need not wait

    directory = Path(directory)
    record = read_record(directory)
    names = read_class_names(str(_as_certified(directory / CLASSES, record)))
    if len(names) != record["num_classes"]:
        raise ArtifactError(f"{directory / CLASSES} names {len(names)} classes, the graph has {record['num_classes']}")
    return Artifact(directory, record, Recipe.from_json(_as_certified(directory / RECIPE, record)), names)


def _as_certified(path: Path, record: dict[str, Any]) -> Path:
    """The path of a file of an artifact; raises ArtifactError if it is not the one that the record certifies."""
    if path.is_file() and digest_of(path) != record["files"].get(path.name):
        what = f"{path} ({path.stat().st_size} bytes) is truncated or was changed"
        raise ArtifactError(f"{what}: its sha256 is not the one in {RECORD}; export again")
    return path


def read_record(directory: Path) -> dict[str, Any]:
    """Content of `export.json`; raises ArtifactError if there is none that this version understands."""
    path = directory / RECORD
    if not path.is_file():
        raise ArtifactError(f"{directory} has no {RECORD}: make it with python -m deploy.export --output {directory}")
    found = records.read_record(path, Versioned, ArtifactError, ": export again")
    version = found["version"]
    if version not in (2, VERSION):
        raise ArtifactError(f"{path} has version {version}, this code reads {VERSION}: export again")
    try:
        records.check_type(found, Exported if version == VERSION else ExportedBefore)
        record = _in_this_version(found)
        Signature.from_dict(record["signature"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is damaged ({error}): export again") from error
    return record


def _in_this_version(record: dict[str, Any]) -> dict[str, Any]:
    """A record of version 2, which knew one input and one output, as this version writes it; any other as it is."""
    if record["version"] != 2:
        return record
    signature = Signature.of_clips(record.pop("input")["shape"][1:], record["num_classes"])
    return {**record, "version": VERSION, "signature": signature.to_dict()}


def write_record(directory: Path, record: dict[str, Any]) -> None:
    """Writes `export.json` with the digests of what lies beside it."""
    files = {name: digest_of(directory / name) for name in sorted(KNOWN) if (directory / name).is_file()}
    text = json.dumps({"version": VERSION, **record, "files": files}, indent=2)
    (directory / RECORD).write_text(text + "\n", encoding="utf-8")


@contextlib.contextmanager
def whole_artifact(output: str | Path) -> Iterator[Path]:
    """Gives a place for a new artifact beside `output`, and moves it there if the block ends without an error.

    Raises:
        ForeignError: The output holds something that is no artifact, or one that was changed.
        ArtifactError: The output cannot be written.
        LockedError: Another process writes it.
    """
    target = Path(output)
    try:
        _take_over(target)
        Owned(target).check_all()
        with unfinished_beside(target, f"another process writes {output}") as unfinished:
            yield unfinished.folder
            unfinished.seal()
            unfinished.move_to(target)
    except OSError as error:
        raise ArtifactError(f"cannot write {output}: {error.strerror or error}") from error
    say(f"artifact in {output}: {', '.join(sorted(path.name for path in target.glob('[!.]*')))}")


def _take_over(target: Path) -> None:
    """Records the files of an artifact that a version without records has written, by the digests of its own record."""
    owned = Owned(target)
    if owned.is_marked or not (target / RECORD).is_file():
        return
    names = []
    for folder in (target, target / LEGACY_FOLDER):
        if (folder / RECORD).is_file():
            digests = {name: digest for name, digest in read_record(folder)["files"].items() if name in KNOWN}
            names += [folder / RECORD]
            names += [folder / name for name, digest in digests.items() if _has_digest(folder / name, digest)]
    owned.seal([path.relative_to(target).as_posix() for path in names])


def _has_digest(path: Path, digest: str) -> bool:
    return path.is_file() and digest_of(path) == digest
