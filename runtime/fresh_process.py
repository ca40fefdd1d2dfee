"""Calls a function in a fresh interpreter: its imports, its memory and a crash do not touch this process."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from runtime.command import signals_deferred
from runtime.errors import UserError

Result = TypeVar("Result")


def in_fresh_process(function: Callable[..., Result], *arguments: object) -> Result:
    """Returns `function(*arguments)`, computed in a process of its own, which is ended before this returns or raises.

    Args:
        function: Of a module, so that the other process finds it.
        arguments: Anything that can be pickled.

    Raises:
        UserError: The process died. Exceptions of the function are raised as they are.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_send_result, args=(there, function, arguments))
    try:
        start_undisturbed(process)
        there.close()
        result: Result
        result, error = here.recv()
    except EOFError:
        raise UserError(f"the process of {function.__module__}.{function.__name__} died") from None
    finally:
        if process.pid is not None:
            process.kill()
            process.join()
    if error is not None:
        raise error
    return result


def start_undisturbed(process: BaseProcess) -> None:
    """Starts a process that is told its whole work whatever signal comes, and which Ctrl-C on a terminal is not for."""
    resource_tracker.ensure_running()  # which else is started now, and then lets Ctrl-C through
    with signals_deferred():
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _send_result(connection: Connection, function: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    try:
        connection.send((function(*arguments), None))
    except Exception as error:
        connection.send((None, error))
