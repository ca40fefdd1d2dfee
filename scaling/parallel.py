"""Trains a job's descendants in several processes. Each opens the job anew and teaches blocks of its own, whole ones.

What a process gives depends on its blocks alone, so that any number of them gives the same bits. They write nothing:
this process keeps the states that they send, and is told at once when one of them fails or dies.
"""

from __future__ import annotations

from pathlib import Path

from engine.progress import progress
from runtime.owned import Owned
from runtime.parallel import heard, processes_of
from scaling.job import Job
from scaling.original import Original
from scaling.retrain import retrain
from scaling.store import Store, packed_states, restore_states
from scaling.teacher import teach


def train_all(job: Job, folder: Path, processes: int = 1, threads: int = 1, checkpoint_iters: int = 25) -> Store:
    """Trains what is not trained yet, and leaves the weights of all descendants in the folder.

    Args:
        job: The numbers.
        folder: See `Store`; a job that was ended there goes on.
        processes: That share the blocks; 1 trains in this one.
        threads: Of each, where they are several.
        checkpoint_iters: Steps between two states that are kept.

    Raises:
        UserError: A descendant cannot be trained, a process died, or another one works in the folder.
    """
    with Owned(folder).locked(f"another process scales in {folder}"):
        original = Original(job)
        store = Store(folder, job, original.facts(), original.blocks)
        left = [lesson for lesson in original.lessons() if lesson.name not in store.finished]
        if not left:
            return store
        restore_states(folder, left)
        begin = min(lesson.step for lesson in left)
        paths = list(dict.fromkeys(lesson.block.path for lesson in left))
        shares = [paths[i::processes] for i in range(min(processes, len(paths)))]
        with progress(original.total * len(shares), "retrain", begin * len(shares)) as bar:

            def done(step: int) -> None:
                bar.update()
                if step % checkpoint_iters == 0:
                    store.keep_states(packed_states(left))

            if len(shares) == 1:
                retrain(original.model, left, original.batches, original.held_out(), original.every, done)
            else:
                arguments = [(job, folder, paths, threads, checkpoint_iters) for paths in shares]
                with processes_of(teach, arguments) as pipes:
                    for kind, content in heard(pipes):
                        if kind == "states":
                            store.keep_states(content)
                        bar.update(kind == "step")
                restore_states(folder, left)
        store.finish(left)
        return store
