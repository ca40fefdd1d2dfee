"""Trains a job's descendants in several processes. Each opens the job anew and teaches blocks of its own, whole ones.

What a process gives depends on its blocks alone, so that any number of them gives the same bits. They write nothing:
this process keeps the states that they send, and is told at once when one of them fails or dies.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from engine.log import progress
from runtime.fresh_process import start_undisturbed
from runtime.owned import Owned
from scaling.job import Job
from scaling.original import Original
from scaling.retrain import RetrainError, retrain
from scaling.store import Store, packed_states, restore_states
from scaling.teacher import teach

GOODBYE_S = 60  # that a process which has said its last may take to clear up


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


@contextmanager
def processes_of(work: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> Iterator[list[Connection]]:
    """Processes that do some work, by the pipes that they send through; ended with the block.

    Args:
        work: Of a module that imports no framework; called with a pipe and the arguments of the process.
        arguments: Of each process.
    """
    context = multiprocessing.get_context("spawn")
    pipes, started = [], []
    try:
        for given in arguments:
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=work, args=(there, *given), daemon=True)
            start_undisturbed(process)
            started.append(process)
            pipes.append(here)
            there.close()
        yield pipes
        for process in started:
            process.join(timeout=GOODBYE_S)
    finally:
        for process in started:
            process.kill()
            process.join()


def heard(pipes: Sequence[Connection]) -> Iterator[tuple[str, Any]]:
    """What processes send, until each has come to its end.

    Raises:
        UserError: One has failed or died.
    """
    open_ones = list(pipes)
    while open_ones:
        for pipe in wait(open_ones):
            assert isinstance(pipe, Connection)  # `wait` returns what it was given
            try:
                kind, content = pipe.recv()
            except EOFError:
                raise RetrainError(
                    "a process of this job died; is there enough memory? The same command goes on where it was"
                ) from None
            if kind == "error":
                raise content
            if kind == "end":
                open_ones.remove(pipe)
            yield kind, content
