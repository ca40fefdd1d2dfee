"""The one exception type whose message is meant for the person at the terminal, and what others say in one line."""


class UserError(ValueError):
    """Bad input: the message is one line that names the value, the place and the way out."""


def last_line(error: Exception) -> str:
    """What the error of a framework, which may be pages long, says at its end."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
