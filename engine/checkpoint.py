"""The run directory: checkpoints that a kill or a full disk never leaves half written.

`last.pdparams`, `last.pdopt` and `state.json` belong together. They are first written beside, as `*.new`; replacing
`state.json`, which names the digest of the other two, is the one moment at which the new checkpoint takes effect; then
the others are renamed. `load_last` finishes renames that a kill cut short.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pickle
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn
from paddle.optimizer import Optimizer

from configs import Recipe
from datasets import Annotation
from weights import CheckpointError
from weights.files import read_pickle

_PROTOCOL = 4
_PARTS = ("last.pdparams", "last.pdopt")


def prepare_directory(directory: Path) -> None:
    """Makes the run directory and proves that it can be written.

    Raises:
        CheckpointError: It cannot be made or written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise CheckpointError(f"cannot write to --output_dir {directory}: {error.strerror}; choose another") from error


@contextlib.contextmanager
def run_directory(directory: Path) -> Iterator[None]:
    """Makes the run directory and locks it against other runs; the kernel ends the lock with this process.

    Raises:
        CheckpointError: It cannot be written, or another process has locked it.
    """
    prepare_directory(directory)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise CheckpointError(
            f"another process trains in {directory}: wait for it, end it, or choose another --output_dir"
        ) from None
    except OSError as error:  # some network file systems
        print(f"note: {directory} cannot be locked ({error.strerror}): start no other run in it", file=sys.stderr)
    try:
        yield
    finally:
        os.close(descriptor)


def write_run_files(directory: Path, recipe: Recipe, class_names: Sequence[str]) -> None:
    """Writes `recipe.json` and `classes.txt`, which whoever uses the weights reads."""
    write_atomically(directory / "recipe.json", recipe.to_json().encode())
    write_atomically(directory / "classes.txt", "".join(f"{name}\n" for name in class_names).encode())


@dataclass(frozen=True)
class Sources:
    """Where the data and the weights of a run come from, as the flags of train.py name it; empty if they do not."""

    dataset_root: str = ""
    train_list: str = ""
    val_list: str = ""
    pretrained: str = ""

    def resumed(self, directory: Path) -> Sources:
        """These sources, and those of the resumed run where these are empty.

        Raises:
            CheckpointError: There is no run, or these name weights to start from.
        """
        if self.pretrained:
            raise CheckpointError("--resume goes on with the run's own weights: leave out --pretrained")
        found = read_state(directory).get("provenance", {})
        return Sources(*(value or found.get(name, "") for name, value in asdict(self).items()))


def provenance(sources: Sources, train: Annotation, val: Annotation) -> dict[str, str]:
    """Where a run's data and weights come from, absolute, and the fingerprints of its data, for `state.json`."""
    return {
        "dataset_root": os.path.abspath(sources.dataset_root),
        "train_list": os.path.abspath(train.source) if sources.train_list else "",
        "val_list": os.path.abspath(val.source) if sources.val_list else "",
        "pretrained": os.path.abspath(sources.pretrained) if sources.pretrained else "",
        "train_fingerprint": train.fingerprint,
        "val_fingerprint": val.fingerprint,
    }


def check_provenance(directory: Path, now: dict[str, str]) -> None:
    """Raises CheckpointError if a resumed run would see other videos, labels or classes than before."""
    before = read_state(directory).get("provenance", {})
    for subset in ("train", "val"):
        key = f"{subset}_fingerprint"
        if before.get(key) != now[key]:
            raise CheckpointError(
                f"the {subset} videos in {now['dataset_root']} are not those of the run in {directory} "
                "(names, labels, order or classes differ): name its data set, or start a new run"
            )


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file as a whole: after a kill or an error there is the old content or the new, never a part.

    Raises:
        CheckpointError: The content cannot be written, for instance because the disk is full.
    """
    fresh = _write_beside(path, content)
    _replace({fresh: path})


def save_weights(path: Path, model: nn.Layer) -> None:
    """Writes a model's parameters and buffers in Paddle's own format, so that `paddle.load` reads them too."""
    write_atomically(path, pickled(_arrays(model.state_dict())))


def save_last(directory: Path, model: nn.Layer, optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Writes weights, optimizer and state as one checkpoint.

    Args:
        directory: The run directory.
        model: The model as it is.
        optimizer: Its slots are kept under the parameters' structured names, not Paddle's numbered ones.
        state: What else `load_last` shall give back; JSON values only.

    Raises:
        CheckpointError: Something cannot be written; the previous checkpoint is as it was.
    """
    contents = {
        "last.pdparams": pickled(_arrays(model.state_dict())),
        "last.pdopt": pickled(_slots_by_structured_name(model, optimizer)),
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    try:
        for name, content in contents.items():
            _write_beside(directory / name, content)
        write_atomically(directory / "state.json", json.dumps({**state, "digests": digests}, indent=2).encode())
    except CheckpointError:
        for name in contents:
            _fresh(directory / name).unlink(missing_ok=True)
        raise
    _replace({_fresh(directory / name): directory / name for name in contents})


def read_state(directory: Path) -> dict[str, Any]:
    """The state of the last checkpoint.

    Raises:
        CheckpointError: There is none, or it is damaged.
    """
    path = directory / "state.json"
    if not path.is_file():
        raise CheckpointError(f"there is nothing to resume in {directory}: no state.json")
    try:
        state = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    if not isinstance(state, dict) or "digests" not in state:
        raise CheckpointError(f"{path} is damaged: it is not the state of a run")
    return state


def load_last(directory: Path, model: nn.Layer, optimizer: Optimizer) -> dict[str, Any]:
    """Puts the last checkpoint back into model and optimizer, bit for bit.

    Returns:
        The state that was saved with it.

    Raises:
        CheckpointError: There is no checkpoint, a file of it is damaged, or it belongs to another model.
    """
    state = read_state(directory)
    if not (directory / "best.pdparams").is_file() and state.get("best", -1) >= 0:
        raise CheckpointError(f"{directory}/best.pdparams is missing: put it back, or start a new run")
    for name in _PARTS:
        _finish_rename(directory / name, state["digests"].get(name, ""))
    weights, slots = (read_pickle(directory / name) for name in _PARTS)
    target = model.state_dict()
    if weights.keys() != target.keys():
        raise CheckpointError(f"{directory}/last.pdparams belongs to another model than the recipe's")
    for name, tensor in target.items():
        tensor.set_value(weights[name])
    numbered = {name: parameter.name for name, parameter in model.named_parameters()}
    optimizer.set_state_dict({f"{numbered[name]}_{slot}": array for (name, slot), array in slots.items()})
    return state


def _arrays(tensors: dict[str, Any]) -> dict[str, np.ndarray]:
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise CheckpointError(
                f"{name} is no longer finite and is not saved; what was saved before is kept: lower --lr"
            )
    return arrays


def _slots_by_structured_name(model: nn.Layer, optimizer: Optimizer) -> dict[tuple[str, str], np.ndarray]:
    """Momentum slots as `(parameter, slot): array`; Paddle's own keys depend on what was built before."""
    slots = {}
    state = optimizer.state_dict()
    for name, parameter in model.named_parameters():
        prefix = parameter.name + "_"
        for key, value in state.items():
            if key.startswith(prefix) and hasattr(value, "numpy"):
                slots[name, key.removeprefix(prefix)] = value.numpy()
    return slots


def pickled(content: Any) -> bytes:
    """The content of a `.pdparams` or `.pdopt` file, as `paddle.load` reads it."""
    return pickle.dumps(content, protocol=_PROTOCOL)


def _fresh(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _write_beside(path: Path, content: bytes) -> Path:
    fresh = _fresh(path)
    try:
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise CheckpointError(
            f"cannot write {path}: {error.strerror}; what was saved before is whole, make room and --resume"
        ) from error
    return fresh


def _replace(moves: dict[Path, Path]) -> None:
    """Renames files of one directory and waits until the renames are on disk."""
    directory = next(iter(moves)).parent
    try:
        for source, target in moves.items():
            os.replace(source, target)
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CheckpointError(
            f"cannot write to {directory}: {error.strerror}; what was saved before is whole"
        ) from error


def _finish_rename(path: Path, digest: str) -> None:
    for candidate in (path, _fresh(path)):
        if candidate.is_file() and hashlib.sha256(candidate.read_bytes()).hexdigest() == digest:
            if candidate != path:
                os.replace(candidate, path)
            return
    raise CheckpointError(f"{path} is damaged or missing: it does not match the digest in state.json")
