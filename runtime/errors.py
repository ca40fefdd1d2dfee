"""The one exception type whose message is meant for the person at the terminal, and what others say in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class UserError(ValueError):
    """Bad input: the message is one line that names the value, the place and the way out."""


@contextlib.contextmanager
def errors_called(name: str, path: str) -> Iterator[None]:
    """Lets messages speak of a name, where they would of a path that the user does not know."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace(path, name)) from error


def last_line(error: Exception) -> str:
    """What the error of a framework, which may be pages long, says at its end."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
