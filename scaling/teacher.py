"""A process that trains some blocks of a job. This file imports no framework before the process is set up."""

from __future__ import annotations

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
