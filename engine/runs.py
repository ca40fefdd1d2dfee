"""Whether a run directory holds a run, and in which state; known before Paddle is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from runtime import command
from runtime.errors import UserError
from runtime.owned import Owned
from runtime.records import read_lines

STATE = "state.json"
PARTS = ("last.pdparams", "last.pdopt")  # of a checkpoint, beside its state
LOGS = ("train.log", "metrics.jsonl")
WEIGHTS = ("best.pdparams", "last.pdparams")
FILES = ("recipe.json", "classes.txt", "best.pdparams", *PARTS, STATE)


class Epoch(TypedDict):
    """What is read of every line of `metrics.jsonl`; metrics of the task are beside it."""

    epoch: int
    loss: float
    train_acc: float


def read_epochs(directory: Path) -> list[dict[str, Any]]:
    """The epochs of a run; raises UserError if there is no `metrics.jsonl`, or it is damaged."""
    return read_lines(directory / LOGS[1], Epoch)


def history(directory: Path) -> list[dict[str, Any]]:
    """The epochs of a run; none where there is no run, or what lies there is not one's."""
    if not (directory / STATE).exists():
        return []
    try:
        return read_epochs(directory)
    except UserError as error:
        command.say(f"note: no curves: {error}", error=True)
        return []


def check_start(directory: Path, resume: bool) -> None:
    """Raises an error unless a run can start, or be resumed, in a directory, which need not exist.

    A run that ended before its first checkpoint is none, and may be written over; weights never are.

    Raises:
        UserError: There is a run and it is not to be resumed, or there is none to resume, or there are weights alone.
        ForeignError: A file that the run would write is somebody else's.
    """
    has_checkpoint = (directory / STATE).exists()
    weights = [name for name in WEIGHTS if (directory / name).exists()]
    if weights and not has_checkpoint:
        raise UserError(
            f"{directory} holds {weights[0]} without the {STATE} of its run, so that it can neither be resumed nor "
            "written over: move it, or choose another --output_dir"
        )
    if has_checkpoint and not resume:
        raise UserError(f"{directory} holds a run already: add --resume, or choose another --output_dir")
    if resume and not has_checkpoint:
        raise UserError(f"there is nothing to resume in {directory}: no {STATE}; leave out --resume")
    if not has_checkpoint:
        run = Owned(directory)
        for name in (*FILES, *LOGS):
            run.check(name)
