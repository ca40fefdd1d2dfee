"""The bar of a long piece of work; it needs no framework."""

from __future__ import annotations

import sys

from tqdm import tqdm


def progress(total: int, description: str, initial: int = 0) -> tqdm:
    """A progress bar with ETA on a terminal and in a notebook's cell, which is one; silent in a file or a pipe.

    It appears after the first update, so that what the first batch has to say stands in a line of its own.
    """
    return tqdm(
        total=total, desc=description, initial=initial, leave=False, dynamic_ncols=True, delay=1e-3,
        disable=not sys.stderr.isatty(),
    )  # fmt: skip
