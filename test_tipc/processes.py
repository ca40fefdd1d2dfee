"""Processes that do not outlive the one that has started them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from runtime.command import signals_deferred

_DYING = 10.0  # seconds that a process may take to be gone once it is killed


@contextlib.contextmanager
def contained(
    argv: Sequence[str], environment: Mapping[str, str] | None = None, folder: Path | None = None,
    output: IO[bytes] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:  # fmt: skip
    """A process in a group of its own, of which nothing is left at the end.

    Paddle's launcher gives each of its processes another group: they are known by a variable, which they inherit. Each
    call has its own, so that a process in another's care keeps the mark of both.

    Args:
        argv: The command.
        environment: Variables besides those of this process.
        folder: Where it runs; here if None.
        output: Gets what it prints, errors too; None leaves both where ours go.
    """
    mark = f"TIPC_{uuid.uuid4().hex}"
    with contextlib.ExitStack() as stack:
        with signals_deferred():
            process = subprocess.Popen(
                argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output and subprocess.STDOUT,
                start_new_session=True, env={**os.environ, **(environment or {}), mark: ""},
            )  # fmt: skip
            stack.callback(_kill, process, f"{mark}=".encode())
        yield process


def call(argv: Sequence[str]) -> int:
    """The exit code of a command; if this process has to end first, it asks the command to, and waits until it has.

    The command clears away what it has begun, and in a group of its own it is not asked twice: Ctrl-C goes to a group.
    """
    with contained(argv) as process:
        try:
            return process.wait()
        finally:
            process.terminate()  # does nothing once it is over
            process.wait()


def _kill(process: subprocess.Popen[bytes], mark: bytes) -> None:
    """Ends a process, its group, and the processes that have this variable."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + _DYING
    while _kill_marked(mark) and time.monotonic() < deadline:  # again, for what they were just about to start
        time.sleep(0.02)


def _kill_marked(mark: bytes) -> int:
    """Kills the processes that have this variable; how many were there."""
    count = 0
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # of another user, or over
            if mark in path.read_bytes().split(b"\0"):
                os.kill(int(path.parent.name), signal.SIGKILL)
                count += 1
    return count
