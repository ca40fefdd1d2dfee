"""The run directory: checkpoints that a kill or a full disk never leaves half written.

`last.pdparams`, `last.pdopt` and `state.json` belong together. They are first written beside; replacing `state.json`,
which names the digest of the other two, is the one moment at which the new checkpoint takes effect; then the others
take their places. `load_last` finishes what a kill cut short.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import pickle
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from paddle import nn
from paddle.optimizer import Optimizer

from configs import Recipe
from datasets import Annotation
from engine.average import Average
from engine.runs import FILES, LOGS, PARTS, STATE, check_start
from runtime.owned import Owned, digest_of
from runtime.records import read_record
from weights import CheckpointError
from weights.files import read_pickle

_PROTOCOL = 4
AVERAGE = "average"  # among the slots of a parameter in last.pdopt


class Saved(TypedDict):
    """What every `state.json` holds of its checkpoint."""

    digests: dict[str, str]


class State(Saved, total=False):
    """The rest of `state.json`, see `Trainer`."""

    epoch: int
    batch: int
    best: float
    best_epoch: int
    bad_samples: int
    meter: list[float]  # sum of losses, correct predictions, samples
    scaler: dict[str, float]
    metrics_size: int
    provenance: dict[str, str]
    processes: int
    boards: dict[str, int]  # name -> bytes, see `Watch.sizes`


def prepare_directory(directory: Path) -> None:
    """Makes a directory and proves that it can be written.

    Raises:
        CheckpointError: It cannot be made or written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise CheckpointError(f"cannot write to --output_dir {directory}: {error.strerror}; choose another") from error


@contextlib.contextmanager
def run_directory(directory: Path, resume: bool = False) -> Iterator[None]:
    """Makes the run directory, locks it against other runs, and clears what a run without a checkpoint has left there.

    Raises:
        CheckpointError: It cannot be written.
        LockedError: Another process has locked it.
        UserError: See `runs.check_start`.
    """
    prepare_directory(directory)
    with Owned(directory).locked(f"another process trains in {directory}"):
        run = Owned(directory)
        check_start(directory, resume)
        if not resume:
            run.remove((*FILES, *LOGS))
        elif not run.is_marked:  # a run of a version that kept no record
            run.seal(FILES, LOGS)
        else:
            run.seal((*PARTS, STATE))  # perhaps put back from elsewhere; the state has the digests of the other two
            for name in (*FILES, *LOGS):
                run.check(name)
        yield


def write_run_files(directory: Path, recipe: Recipe, class_names: Sequence[str]) -> None:
    """Writes `recipe.json` and `classes.txt`, which whoever uses the weights reads."""
    names = "".join(f"{name}\n" for name in class_names)
    write_atomically(directory, {"recipe.json": recipe.to_json().encode(), "classes.txt": names.encode()})


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
        before = read_state(directory).get("provenance", {})
        found = {name: os.path.join(directory, path) if path else "" for name, path in before.items()}  # if relative
        return Sources(*(value or found.get(name, "") for name, value in asdict(self).items()))


def provenance(sources: Sources, train: Annotation, val: Annotation, relative_to: Path | None = None) -> dict[str, str]:
    """Where a run's data and weights come from, and the fingerprints of its data, for `state.json`.

    Paths are absolute, or relative to the run directory where that is given, so that they name nothing above both.
    """
    places = {
        "dataset_root": sources.dataset_root,
        "train_list": train.source if sources.train_list else "",
        "val_list": val.source if sources.val_list else "",
        "pretrained": sources.pretrained,
    }
    place_of = functools.partial(os.path.relpath, start=relative_to) if relative_to else os.path.abspath
    return {
        **{name: place_of(path) if path else "" for name, path in places.items()},
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


def write_atomically(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Writes files, each as a whole: after a kill or an error there is the old content or the new, never a part.

    Raises:
        CheckpointError: Something cannot be written, for instance because the disk is full.
        ForeignError: A file of that name is not this program's.
    """
    with errors_named():
        Owned(directory).write(contents)


def save_weights(path: Path, model: nn.Layer) -> None:
    """Writes a model's parameters and buffers in Paddle's own format, so that `paddle.load` reads them too."""
    write_atomically(path.parent, {path.name: pickled(_arrays(model.state_dict()))})


def save_last(
    directory: Path, model: nn.Layer, optimizer: Optimizer, state: dict[str, Any], average: Average | None = None
) -> None:
    """Writes weights, optimizer and state as one checkpoint.

    Args:
        directory: The run directory.
        model: The model as it is.
        optimizer: Its slots are kept under the parameters' structured names, not Paddle's numbered ones.
        state: What else `load_last` shall give back; JSON values only.
        average: Of the model, if the run has one.

    Raises:
        CheckpointError: Something cannot be written; the previous checkpoint is as it was.
    """
    contents = {
        "last.pdparams": pickled(_arrays(model.state_dict())),
        "last.pdopt": pickled(_slots_by_structured_name(model, optimizer) | _averaged(average)),
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    run = Owned(directory)
    with errors_named():
        run.prepare(contents)
        run.write({STATE: json.dumps({**state, "digests": digests}, indent=2).encode()})
        run.publish(contents)


def read_state(directory: Path) -> State:
    """The state of the last checkpoint.

    Raises:
        UserError: There is none.
        CheckpointError: It is damaged.
    """
    check_start(directory, resume=True)
    state: State = read_record(directory / STATE, State, CheckpointError)
    return state


def load_last(directory: Path, model: nn.Layer, optimizer: Optimizer, average: Average | None = None) -> State:
    """Puts the last checkpoint back into model and optimizer, bit for bit.

    Returns:
        The state that was saved with it.

    Raises:
        CheckpointError: There is no checkpoint, a file of it is damaged, or it belongs to another model.
    """
    state = read_state(directory)
    if not (directory / "best.pdparams").is_file() and state.get("best", -1) >= 0:
        raise CheckpointError(f"{directory}/best.pdparams is missing: put it back, or start a new run")
    for name in PARTS:
        _finish_rename(Owned(directory), name, state["digests"].get(name, ""))
    weights, slots = (read_pickle(directory / name) for name in PARTS)
    target = model.state_dict()
    if weights.keys() != target.keys():
        raise CheckpointError(f"{directory}/last.pdparams belongs to another model than the recipe's")
    for name, tensor in target.items():
        tensor.set_value(weights[name])
    averaged = {name: slots.pop((name, AVERAGE)) for name in target if (name, AVERAGE) in slots}
    if average:
        if averaged.keys() != target.keys():
            raise CheckpointError(f"{directory}/last.pdopt has no average of the model: start a new run")
        average.restore(averaged)
    numbered = {name: parameter.name for name, parameter in model.named_parameters()}
    optimizer.set_state_dict({f"{numbered[name]}_{slot}": array for (name, slot), array in slots.items()})
    return state


def _averaged(average: Average | None) -> dict[tuple[str, str], np.ndarray]:
    """The average in the form of slots."""
    return {(name, AVERAGE): array for name, array in (average.arrays() if average else {}).items()}


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


@contextlib.contextmanager
def errors_named(path: Path | None = None) -> Iterator[None]:
    """Turns an error of writing into a CheckpointError, which names the file of the error, or else the path."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"cannot write {error.filename or path}: {error.strerror}; what was saved before is whole, make room and "
            "--resume"
        ) from error


def _finish_rename(run: Owned, name: str, digest: str) -> None:
    """Moves a file of a checkpoint to its place, if a kill has left it beside."""
    path = run.folder / name
    if path.is_file() and digest_of(path) == digest:
        return
    unfinished = run.unfinished(name)
    if not (unfinished.is_file() and digest_of(unfinished) == digest):
        raise CheckpointError(f"{path} is damaged or missing: it does not match the digest in {STATE}")
    with errors_named():
        run.publish([name])
