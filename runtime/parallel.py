"""Processes that share some work and tell this one what they find, as it comes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any

from runtime.errors import UserError
from runtime.fresh_process import start_undisturbed

GOODBYE_S = 60  # that a process which has said its last may take to clear up


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
    """What processes send, a kind and a content each, until each has sent ("end", None).

    Raises:
        UserError: One has died, or sent ("error", exception).
    """
    open_ones = list(pipes)
    while open_ones:
        for pipe in wait(open_ones):
            assert isinstance(pipe, Connection)  # `wait` returns what it was given
            try:
                kind, content = pipe.recv()
            except EOFError:
                raise UserError(
                    "a process of this job died; is there enough memory? The same command goes on where it was"
                ) from None
            if kind == "error":
                raise content
            if kind == "end":
                open_ones.remove(pipe)
            yield kind, content
