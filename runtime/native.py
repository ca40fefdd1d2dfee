"""C++ sources of ours, compiled for this machine when they are first used, and kept in the user's cache."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from runtime import cpu
from runtime.cache import cached
from runtime.command import signals_deferred
from runtime.errors import UserError, last_line
from runtime.owned import temporary_folder

COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-fno-math-errno")
LIBRARY = "library.so"
LIMIT = 64 * 2**20  # bytes of all that was compiled; a library of ours has 0.1 MB
PATIENCE = 300  # seconds
_refusal = ""


class _NativeError(UserError):
    """There is no compiled library."""


def refuse(reason: str) -> None:
    """Lets this process do without compiled libraries, for this reason; an empty one lets it have them again."""
    global _refusal
    _refusal = reason


def library(sources: tuple[Path, ...], openmp: Path | None = None) -> tuple[ctypes.CDLL | None, str]:
    """A library, compiled if the cache has none from these sources, this compiler and this CPU.

    Args:
        sources: C++ files, and the headers that they include.
        openmp: The OpenMP runtime that the process has already, to share its threads; without one, one thread works.

    Returns:
        The library and what has compiled it; or None, and why it is not there: what it would compute must be computed
        otherwise. The process asks once.
    """
    return (None, _refusal) if _refusal else _library(sources, openmp)


@functools.cache
def _library(sources: tuple[Path, ...], openmp: Path | None) -> tuple[ctypes.CDLL | None, str]:
    try:
        return _compiled(sources, openmp)
    except _NativeError as error:
        return None, str(error)


def _compiled(sources: Sequence[Path], openmp: Path | None) -> tuple[ctypes.CDLL, str]:
    compiler, version = _compiler()
    flags = [*FLAGS, *(["-fopenmp"] if openmp else [])]
    code = [source.read_bytes() for source in sources]
    parts: list[str | bytes] = [version, *flags, str(openmp), cpu.identity(), *code]

    def make(folder: Path) -> None:
        with temporary_folder() as objects:  # -fopenmp must not bring another runtime along when they are linked
            units = [source for source in sources if source.suffix != ".h"]
            made = [f"{objects}/{unit.stem}.o" for unit in units]
            for unit, target in zip(units, made, strict=True):
                _run([compiler, *flags, "-c", str(unit), "-o", target], objects)
            shared = [str(openmp)] if openmp else []
            _run([compiler, "-shared", *made, *shared, "-o", f"{folder}/{LIBRARY}"], objects)

    try:
        return ctypes.CDLL(str(cached("native", parts, make, LIMIT) / LIBRARY)), version
    except OSError as error:
        raise _NativeError(f"what was compiled cannot be kept or loaded: {last_line(error)}") from error


def _run(command: Sequence[str], temporary: str | Path) -> None:
    """Runs the compiler, whose own files go into the folder `temporary`; ends all of its processes if we end."""
    with contextlib.ExitStack() as stack:
        try:
            with signals_deferred():
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                    start_new_session=True, env={**os.environ, "TMPDIR": str(temporary)},
                )  # fmt: skip
                stack.callback(_end, process)
            _, written = process.communicate(timeout=PATIENCE)
        except OSError as error:
            raise _NativeError(f"{command[0]} does not run: {last_line(error)}") from error
        except subprocess.TimeoutExpired as error:
            raise _NativeError(f"{command[0]} has not ended within {PATIENCE} s") from error
    if process.returncode:
        errors = [line for line in written.splitlines() if "error" in line.lower()]
        raise _NativeError(f"{command[0]} fails: {errors[0] if errors else f'code {process.returncode}'}")


def _end(process: subprocess.Popen[str]) -> None:
    """Ends a process and those that it has started, which have its group."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _compiler() -> tuple[str, str]:
    """Path and version of the C++ compiler: $CXX, or the first of COMPILERS."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else COMPILERS
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        raise _NativeError(f"no C++ compiler is found ({', '.join(names)})")
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise _NativeError(f"{path} does not run: {last_line(error)}") from error
    return path, done.stdout.partition("\n")[0]
