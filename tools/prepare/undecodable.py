"""The list of media that do not decode, which --leave_out reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from runtime.errors import UserError
from runtime.owned import Owned
from tools.prepare.lists import FOLDER, left_out_by

NAME = f"{FOLDER}/undecodable.txt"


def refuse(owned: Owned, errors: Mapping[str, str], what: str) -> NoReturn:
    """Adds media to the list, and raises UserError.

    Args:
        owned: The data set, which is locked.
        errors: Path below `videos/` or `rawframes/` -> why it does not decode; there is one.
        what: For the message.
    """
    path = owned.folder / NAME
    before = left_out_by(str(path)) if path.exists() else set()  # they are looked at no more
    owned.write({NAME: "".join(f"{name}\n" for name in sorted(before | errors.keys())).encode()})
    raise UserError(
        f"unusable: {len(errors)} {what} do not decode, such as {next(iter(errors.values()))}; test.py would stop at "
        f"one: prepare again with --leave_out {path}"
    )
