"""The folder of a job: `scaling.json`, a file of weights for each descendant, and, while they train, their states.

Weights are safetensors, and `scaling.json` has the SHA-256 of each file; nothing in the folder is executed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import safetensors.numpy

from runtime.errors import UserError
from runtime.owned import Owned
from runtime.records import read_record, shown
from scaling.extract import Block
from scaling.job import Job
from scaling.retrain import Lesson, name_of, restore, state_of
from weights.files import read_file

MANIFEST = "scaling.json"
VERSION = 1


class Descendant(TypedDict):
    """What the manifest says of a descendant.

    Attributes:
        block: Path of the block in the network.
        sparsity: See `derive`.
        file: Of its weights, in the folder.
        sha256: Of the file.
        errors: See `Lesson.errors`.
    """

    block: str
    sparsity: float
    file: str
    sha256: str
    errors: list[float]


class Manifest(TypedDict):
    """What `scaling.json` holds.

    Attributes:
        version: Of this form.
        facts: See `Original.facts`.
        job: See `Job.to_record`; of the run that began.
        blocks: Their paths and groups, in the network's order.
        descendants: Those that are trained.
    """

    version: int
    facts: dict[str, Any]
    job: dict[str, Any]
    blocks: list[dict[str, Any]]
    descendants: list[Descendant]


class Store:
    """The folder of a job, which the caller has locked.

    Args:
        folder: Made when absent.
        job: Its numbers.
        facts: What decides about what comes out.
        blocks: Of the network.

    Raises:
        UserError: The folder is of a job with other facts; the message names the first that differs.
    """

    def __init__(self, folder: Path, job: Job, facts: Mapping[str, Any], blocks: Iterable[Block]) -> None:
        self.folder = folder
        self._owned = Owned(folder)
        described = [{"path": block.path, "groups": [group._asdict() for group in block.groups]} for block in blocks]
        begun = {
            "version": VERSION,
            "facts": facts,
            "job": job.to_record(folder),
            "blocks": described,
            "descendants": [],
        }
        self.manifest: Manifest = json.loads(json.dumps(begun))  # as it is read
        if (folder / MANIFEST).exists():
            self._owned.check(MANIFEST)
            found = read_manifest(folder)
            for name, value in self.manifest["facts"].items():
                if found["facts"].get(name) != value:
                    raise UserError(
                        f"{folder} is of another job: its {name} is {shown(found['facts'].get(name))}, now it is "
                        f"{shown(value)}; name another --output"
                    )
            self.manifest = found
        else:
            self._write_manifest()

    def keep_states(self, states: Mapping[str, bytes]) -> None:
        """Writes states of trainings by the descendants' names, see `packed_states`."""
        self._owned.write({_state_file(name): content for name, content in states.items()})

    def finish(self, lessons: Iterable[Lesson]) -> None:
        """Writes the best weights of descendants and names them in the manifest; their states are removed."""
        lessons = list(lessons)
        contents = {_weights_file(lesson.name): packed(lesson.best) for lesson in lessons}
        self._owned.write(contents)
        for lesson in lessons:
            file = _weights_file(lesson.name)
            self.manifest["descendants"].append({
                "block": lesson.block.path, "sparsity": lesson.sparsity, "file": file,
                "sha256": hashlib.sha256(contents[file]).hexdigest(), "errors": lesson.errors,
            })  # fmt: skip
        self._write_manifest()
        self._owned.remove(_state_file(lesson.name) for lesson in lessons)

    @property
    def finished(self) -> set[str]:
        """Names of the descendants that are trained."""
        return {name_of(one["block"], one["sparsity"]) for one in self.manifest["descendants"]}

    def _write_manifest(self) -> None:
        write_part(self._owned, MANIFEST, self.manifest)


def read_manifest(folder: Path) -> Manifest:
    """Reads `scaling.json`.

    Raises:
        UserError: It is not there, damaged, or of a later version.
    """
    found: Manifest = read_part(folder, MANIFEST, Manifest, "retrain")
    if found["version"] != VERSION:
        raise UserError(f"{folder / MANIFEST} has version {found['version']}, this program reads {VERSION}: update it")
    return found


def write_part(owned: Owned, file: str, content: Any) -> None:
    """Writes a JSON file of a job's folder."""
    owned.write({file: json.dumps(content, indent=1).encode()})


def read_part(folder: Path, file: str, kind: Any, step: str) -> Any:
    """What a step has written, see `records.read_record`; raises UserError if it is not there, or damaged."""
    if not (folder / file).is_file():
        raise UserError(f"no {file} in {folder}: python -m scaling {step} --output {folder} makes one")
    return read_record(folder / file, kind)


def restore_states(folder: Path, lessons: Iterable[Lesson]) -> None:
    """Puts what was kept of trainings into new lessons; those of which nothing was kept stay as they are.

    Raises:
        UserError: A file is damaged or not this program's, or of another descendant.
    """
    owned = Owned(folder)
    for lesson in lessons:
        if owned.check(_state_file(lesson.name)):
            restore(lesson, read_file(folder / _state_file(lesson.name)))


def packed_states(lessons: Iterable[Lesson]) -> dict[str, bytes]:
    """What `Store.keep_states` takes."""
    return {lesson.name: packed(state_of(lesson)) for lesson in lessons}


def packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as the content of a safetensors file."""
    content: bytes = safetensors.numpy.save({name: np.array(array, order="C") for name, array in arrays.items()})
    return content


def _state_file(name: str) -> str:
    return f"training/{name}.safetensors"


def _weights_file(name: str) -> str:
    return f"descendants/{name}.safetensors"
