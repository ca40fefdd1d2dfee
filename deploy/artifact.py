"""The folder that `deploy.export` writes: graphs, recipe, class names, and the record that certifies them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs import Recipe
from deploy.formats import ALL_FILES, Graph
from deploy.signature import Signature
from runtime.errors import UserError

RECORD, RECIPE, CLASSES = "export.json", "recipe.json", "classes.txt"
LEGACY_FOLDER = "legacy"  # of Paddle 2's graph where Paddle 3's is, too: their weights have one file name
VERSION = 3  # of the record; raise it when its keys change their meaning
KEYS = ("model", "signature", "views", "num_classes", "precision", "versions", "files")  # that it cannot do without


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
    if path.is_file() and sha256(path) != record["files"].get(path.name):
        what = f"{path} ({path.stat().st_size} bytes) is truncated or was changed"
        raise ArtifactError(f"{what}: its sha256 is not the one in {RECORD}; export again")
    return path


def read_record(directory: Path) -> dict[str, Any]:
    """Content of `export.json`; raises ArtifactError if there is none that this version understands."""
    path = directory / RECORD
    if not path.is_file():
        raise ArtifactError(f"{directory} has no {RECORD}: make it with python -m deploy.export --output {directory}")
    try:
        record = _in_this_version(json.loads(path.read_text(encoding="utf-8")))
        version = record["version"]
        if version == VERSION:
            if missing := [key for key in KEYS if key not in record]:
                raise ValueError(f"it lacks {missing[0]}")
            Signature.from_dict(record["signature"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is damaged ({error}): export again") from error
    if version != VERSION:
        raise ArtifactError(f"{path} has version {version}, this code reads {VERSION}: export again")
    return record


def _in_this_version(record: dict[str, Any]) -> dict[str, Any]:
    """A record of version 2, which knew one input and one output, as this version writes it; any other as it is."""
    if record["version"] != 2:
        return record
    signature = Signature.of_clips(record.pop("input")["shape"][1:], record["num_classes"])
    return {**record, "version": VERSION, "signature": signature.to_dict()}


def write_record(directory: Path, record: dict[str, Any]) -> None:
    """Writes `export.json` with the digests of what lies beside it."""
    names = sorted({RECIPE, CLASSES, *ALL_FILES})
    files = {name: sha256(directory / name) for name in names if (directory / name).is_file()}
    text = json.dumps({"version": VERSION, **record, "files": files}, indent=2)
    (directory / RECORD).write_text(text + "\n", encoding="utf-8")


@contextlib.contextmanager
def whole_artifact(output: str | Path) -> Iterator[Path]:
    """Gives a place for a new artifact beside `output`, and moves it there if the block ends without an error.

    Raises:
        ArtifactError: The output holds something that is no artifact.
    """
    target = Path(output).absolute()
    _check_replaceable(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        place = tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent)
    except OSError as error:
        raise ArtifactError(f"cannot write {output}: {error.strerror}") from error
    with place as folder:
        unfinished = Path(folder) / "artifact"  # one level deeper, because the temporary folder is private to its user
        yield unfinished
        older = Path(folder) / "replaced"
        try:
            if target.exists():
                os.replace(target, older)
            os.replace(unfinished, target)
        except BaseException:
            if older.exists() and not target.exists():
                os.replace(older, target)
            raise
    print(f"artifact in {output}: {', '.join(sorted(path.name for path in target.iterdir()))}")


def _check_replaceable(target: Path) -> None:
    """Raises ArtifactError for a place that holds more, or other, than an artifact."""
    if not target.exists():
        return
    found = {path.name for path in target.iterdir()} if target.is_dir() else {target.name}
    unknown = found - {RECORD, RECIPE, CLASSES, LEGACY_FOLDER, *ALL_FILES}
    if found and (RECORD not in found or unknown):
        other = min(unknown or found)
        raise ArtifactError(f"{target} holds something else than an artifact, {other}: name another --output")


def sha256(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
