"""One process at a time: a lock that ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from runtime.errors import UserError


class LockedError(UserError):
    """Another process holds the lock."""


@contextlib.contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Holds a lock while the block runs.

    The kernel ends it with this process. On a disk that knows no locks, as some network disks, the file says who holds
    it: a holder of this machine that no longer lives is passed over, one of another machine is believed.

    Args:
        path: The lock file; its folder exists. It is left behind, as removing it would let two processes in.
        busy: What another holder does, as the beginning of the message: "another process trains in DIR".

    Raises:
        LockedError: Another process holds it; the message names that process.
        UserError: The file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; name a folder of your own") from error
    try:
        if not _acquire(descriptor):
            holder = _holder(descriptor) or "it has not said which"
            raise LockedError(f"{busy} ({holder}): wait for it, or end it; if it is gone, remove {path}")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _acquire(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        return not _lives(_holder(descriptor))  # the disk knows no locks
    return True


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 200, 0).decode(errors="replace")


def _lives(holder: str) -> bool:
    """Whether the process that a lock file names lives; one of another machine is taken to."""
    pid, _, host = holder.removeprefix("process ").partition(" on ")
    if not pid.isdigit():
        return False
    return host != socket.gethostname() or Path(f"/proc/{pid}").exists()
