"""Memory that worker processes write into, reserved as a whole before the first of them starts.

A file in /dev/shm may be larger than what is free there: the write that finds no page ends its process with SIGBUS.
Containers have 64 MB there if nothing else is said.
"""

from __future__ import annotations

import errno
import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable
from multiprocessing import reduction
from typing import Any

import numpy as np

from runtime.command import say
from runtime.errors import UserError

SHM = "/dev/shm"
FULL, FORBIDDEN = (errno.ENOSPC, errno.EDQUOT), (errno.EROFS, errno.EACCES, errno.EPERM)
WAY_OUT = "--num_workers 0 needs none, a smaller --batch_size less; for a container, docker run --shm-size"


class SharedArray:
    """Zeros, float32, in pages that are this array's until it is closed; an argument of a spawned process is an array.

    Args:
        shape: Of the array.

    Raises:
        UserError: Neither /dev/shm nor the temporary folder has room.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._file = _reserve(math.prod(shape) * np.dtype(np.float32).itemsize)
        self.array = _map(self._file.fileno(), shape)

    def close(self) -> None:
        """Ends the starting of processes with it; `array` stays."""
        self._file.close()

    def __reduce__(self) -> tuple[Callable[..., np.ndarray], tuple[Any, ...]]:
        return _attach, (reduction.DupFd(self._file.fileno()), self.array.shape)


def _attach(handle: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The array in a process that got it; the file is closed, the memory stays."""
    descriptor = handle.detach()
    try:
        return _map(descriptor, shape)
    finally:
        os.close(descriptor)


def _map(descriptor: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(mmap.mmap(descriptor, 0), np.float32).reshape(shape)


def _reserve(size: int) -> Any:
    """A file without a name in the first folder that has `size` bytes for it."""
    reasons: list[str] = []
    for folder in (SHM, tempfile.gettempdir()):
        if not os.path.isdir(folder):
            continue  # macOS has the second alone
        try:
            file = _allocated(folder, size)
        except OSError as error:
            if error.errno not in (*FULL, *FORBIDDEN):
                raise
            free = f"{shutil.disk_usage(folder).free / 2**20:.0f} MB free"
            reasons.append(f"{folder} has {free}" if error.errno in FULL else f"{folder}: {error.strerror}")
            continue
        if reasons:
            say(f"note: {_need(size, reasons)}: clips go through {folder}, which is slower; {WAY_OUT}", error=True)
        return file
    raise UserError(f"{_need(size, reasons)}: {WAY_OUT}")


def _allocated(folder: str, size: int) -> Any:
    """A file without a name; raises OSError where the disk has no room, as far as the system tells before a write."""
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  open until the workers have it
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            os.ftruncate(file.fileno(), size)
    except OSError:
        file.close()
        raise
    return file


def _need(size: int, reasons: list[str]) -> str:
    return f"{' and '.join(reasons)}, the clips in the workers' hands need {size / 2**20:.0f} MB"
