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
    folders = [folder for folder in (SHM, tempfile.gettempdir()) if os.path.isdir(folder)]  # macOS has the second alone
    for folder in folders:
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  open until the workers have it
        try:
            _allocate(file.fileno(), size)
        except OSError as error:
            file.close()
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            continue
        if folder != folders[0]:
            say(f"note: {_need(size, SHM)}: clips go through {folder}, which is slower; {WAY_OUT}", error=True)
        return file
    raise UserError(f"{_need(size, *folders)}: {WAY_OUT}")


def _allocate(descriptor: int, size: int) -> None:
    """Raises OSError where the disk has no room, as far as the system can tell before it is written."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)


def _need(size: int, *folders: str) -> str:
    free = " and ".join(f"{folder} has {shutil.disk_usage(folder).free / 2**20:.0f} MB" for folder in folders)
    return f"{free} free, the clips in the workers' hands need {size / 2**20:.0f} MB"
