"""The one exception type whose message is meant for the person at the terminal."""


class UserError(ValueError):
    """Bad input: the message is one line that names the value, the place and the way out."""
