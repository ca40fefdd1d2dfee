"""What the processes of a job do. This file imports no framework before such a process is set up."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from runtime.errors import UserError
from scaling.job import Job


def teach(pipe: Connection, job: Job, folder: Path, paths: list[str], threads: int, checkpoint_iters: int) -> None:
    """Trains all descendants of the blocks at these paths, from where their states in the folder stand.

    Sends ("step", number) after each step, ("states", content by name) at each checkpoint and after the last step, and
    ("end", None); where it cannot go on, ("error", exception).
    """
    from runtime import preparation

    try:
        preparation.prepare("cpu", threads)
        from scaling.original import Original
        from scaling.retrain import retrain
        from scaling.store import packed_states, restore_states

        original = Original(job)
        lessons = [lesson for lesson in original.lessons() if lesson.block.path in paths]
        restore_states(folder, lessons)

        def done(step: int) -> None:
            if step % checkpoint_iters == 0 or step == original.total:
                pipe.send(("states", packed_states(lessons)))
            pipe.send(("step", step))

        retrain(original.model, lessons, original.batches, original.held_out(), original.every, done)
        pipe.send(("end", None))
    except UserError as error:
        pipe.send(("error", error))


def examine(pipe: Connection, job: Job, folder: Path, choices: Sequence[tuple[float, ...]], threads: int) -> None:
    """Evaluates networks; sends ("metrics", (choice, metrics)) of each, ("end", None), or else ("error", exception)."""
    from runtime import preparation

    try:
        preparation.prepare("cpu", threads)
        from scaling.compose import Descendants
        from scaling.evaluate import metrics_of
        from scaling.original import Original

        original = Original(job)
        descendants = Descendants(original.model, original.blocks, folder)
        for choice in choices:
            pipe.send(("metrics", (choice, metrics_of(original, descendants, choice))))
        pipe.send(("end", None))
    except UserError as error:
        pipe.send(("error", error))
