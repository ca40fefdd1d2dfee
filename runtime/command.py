"""What every command has in common: how it ends on errors and signals, and how it parses numbers."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.abc import MetaPathFinder
from pathlib import Path

from runtime.errors import UserError


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of a description, and shows the default of each flag that has one and does not speak of it."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        shown = action.default not in (None, "", False, argparse.SUPPRESS) and action.default != []
        if shown and action.help and "default" not in action.help:
            return f"{action.help} (default: %(default)s)"
        return action.help


class Parser(argparse.ArgumentParser):
    """Takes an argument that begins with a hyphen as a file, not as a flag, if it is one: `--video -clip.mp4`."""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]  # overloaded there
        """As argparse has it, which `parse_args` calls."""
        given = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args([f"./{arg}" if self._is_file(arg) else arg for arg in given], namespace)

    def _is_file(self, argument: str) -> bool:
        flag = argument.partition("=")[0]
        known = any(name.startswith(flag) for action in self._actions for name in action.option_strings)
        return argument.startswith("-") and not known and os.path.lexists(argument)


def parser(description: str, usage: str = "") -> argparse.ArgumentParser:
    """A parser whose help is a docstring, line for line, with the defaults of flags."""
    return Parser(description=description, formatter_class=HelpFormatter, usage=usage or None)


def printable(text: str) -> str:
    """Text as a terminal may show it: what is not printable, such as an escape sequence in a name, is written out."""
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text)


def say(*lines: str, error: bool = False) -> None:
    """Prints lines, of which each stays one, to standard output or to standard error.

    What their encoding lacks, such as Chinese where it is ASCII, is written out.
    """
    stream = sys.stderr if error else sys.stdout
    encoding = stream.encoding or "utf-8"
    text = "\n".join(map(printable, lines)).encode(encoding, "backslashreplace").decode(encoding)
    with _output():
        print(text, file=stream, flush=True)


class _OutputError(Exception):
    """Standard output or standard error cannot be written."""


@contextlib.contextmanager
def _output() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _OutputError(error.strerror) from error


class StoppedError(KeyboardInterrupt):
    """SIGTERM or Ctrl-C has come; what has been begun is cleared away while this passes through it."""


_STOPPING = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_running: list[bool] = []  # not empty while a command runs
_deferring: list[bool] = []  # one for each `signals_deferred` around what the main thread does
_came: list[int] = []  # the signal that ends this process, once it has come


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """The end of a command: one line on standard error, and an exit code.

    Bad input and a full disk end with 1, Ctrl-C with 130, SIGTERM with 143, a closed pipe with 141. A signal counts,
    too, where a library has turned its exception into another one.
    """
    _running.append(True)
    _handle_signals()
    try:
        try:
            yield
            if _came:  # and somebody has swallowed it
                raise StoppedError
        finally:
            with _output():
                sys.stdout.flush()
    except BrokenPipeError:  # who reads our lines, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(141)
    except _OutputError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(f"error: cannot write standard output: {error}")
    except BaseException as error:
        if _came or isinstance(error, KeyboardInterrupt):
            sys.exit(_end_of(_came[0] if _came else signal.SIGINT))
        if isinstance(error, OSError) and error.errno in FULL:
            place = error.filename or "standard output, or a file that the system does not name"
            sys.exit(f"error: cannot write {printable(str(place))}: {error.strerror}")
        if isinstance(error, UserError):
            sys.exit(f"error: {printable(str(error))}")
        raise
    finally:
        _running.clear()
        _handle_signals()


@contextlib.contextmanager
def signals_deferred() -> Iterator[None]:
    """Lets the signals that end a command wait for the end of a call which would crash, or would swallow an exception.

    Paddle does when it traces: each operator has Python look for the line that made it, whatever comes of that. A
    second signal ends the process at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    known = len(_came)
    _deferring.append(True)
    try:
        yield
    finally:
        _deferring.pop()
        if len(_came) > known and not _deferring:
            raise StoppedError


@contextlib.contextmanager
def silenced(descriptor: int) -> Iterator[None]:
    """Sends what a library writes to standard output, 1, or standard error, 2, to nowhere; signals wait meanwhile."""
    libc = ctypes.CDLL(None)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    libc.fflush(None)
    with signals_deferred():
        terminal, nowhere = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        try:
            yield
        finally:
            libc.fflush(None)
            os.dup2(terminal, descriptor)
            os.close(terminal)
            os.close(nowhere)


@contextlib.contextmanager
def signals_kept() -> Iterator[None]:
    """Lets signals wait for an import, which may take them, as Paddle takes SIGTERM, or crash of one, as PyTorch does.

    Does nothing outside of a command.
    """
    if not _running:
        yield
        return
    with signals_deferred():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)  # which the threads that it starts inherit
        sys.meta_path.insert(0, _KEEPER)  # for what the threads get that were there before, such as NumPy's
        try:
            yield
        finally:
            sys.meta_path.remove(_KEEPER)
            _handle_signals()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Keeper(MetaPathFinder):
    """Finds no module, but takes the signals back each time when one is looked for."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        _handle_signals()


_KEEPER = _Keeper()


def _handle_signals() -> None:
    """Installs `_stop`, or `_leave` after a command, for the signals that are not ignored, as Ctrl-C is by jobs in the
    background of a script; not once one has come.
    """
    if threading.current_thread() is threading.main_thread() and not (_came and _running):
        _install(_stop if _running else _leave)


def _install(handler: Callable[[int, object], None] | signal.Handlers) -> None:
    for number in _STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _stop(number: int, frame: object) -> None:
    """Raises StoppedError in the main thread, at once or after what defers it; a second signal ends the process."""
    _came.append(number)
    _install(signal.SIG_DFL)
    if not _deferring:
        raise StoppedError


def _leave(number: int, frame: object) -> None:
    """Ends a process whose command is over and which only Python's own end is left of."""
    os._exit(_end_of(number))


def _end_of(number: int) -> int:
    with contextlib.suppress(OSError):
        say(f"stopped by {_STOPPING[signal.Signals(number)]}", error=True)
    return 128 + number


def _whole_number(minimum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"must be {minimum} or more, got {value}")
        return value

    parse.__name__ = "whole number"  # as argparse names what it cannot parse
    return parse


count, positive = _whole_number(0), _whole_number(1)


def file_ending(*suffixes: str) -> Callable[[str], Path]:
    """What takes the name of a file that ends with one of these suffixes."""

    def parse(text: str) -> Path:
        if Path(text).suffix.lower() not in suffixes:
            raise argparse.ArgumentTypeError(f"must end with {' or '.join(suffixes)}, got {text}")
        return Path(text)

    return parse
