"""What every command has in common: how it ends on errors and signals, and how it parses numbers."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

from runtime.errors import UserError


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of a description, and shows the default of each flag that has one and does not speak of it."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        shown = action.default not in (None, "", False, argparse.SUPPRESS) and action.default != []
        if shown and action.help and "default" not in action.help:
            return f"{action.help} (default: %(default)s)"
        return action.help


def parser(description: str, usage: str = "") -> argparse.ArgumentParser:
    """A parser whose help is a docstring, line for line, with the defaults of flags."""
    return argparse.ArgumentParser(description=description, formatter_class=HelpFormatter, usage=usage or None)


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Turns bad input into one line on standard error and exit code 1, Ctrl-C into 130, a closed pipe into 141."""
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # who reads our lines, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(141)


def end_on_sigterm() -> None:
    """Lets SIGTERM end the command like an error, so that what it has begun to write or to run is cleared away."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def _whole_number(minimum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"must be {minimum} or more, got {value}")
        return value

    parse.__name__ = "whole number"  # as argparse names what it cannot parse
    return parse


count, positive = _whole_number(0), _whole_number(1)
