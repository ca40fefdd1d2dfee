"""Calls a function in a fresh interpreter, which takes its imports, its memory and its crash with it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from configs import UserError

Result = TypeVar("Result")


def in_fresh_process(function: Callable[..., Result], *arguments: object, **environment: str) -> Result:
    """What `function(*arguments)` returns in a process of its own.

    Args:
        function: Of a module, so that the other process finds it.
        arguments: Anything that can be pickled.
        environment: Variables that the other process gets besides.

    Raises:
        UserError: The process died. Exceptions of the function are raised as they are.
    """
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            task = pool.submit(function, *arguments)
            try:
                return task.result()
            except BrokenProcessPool as error:
                raise UserError(f"the process of {function.__module__}.{function.__name__} died") from error
    finally:
        os.environ.clear()
        os.environ.update(before)
