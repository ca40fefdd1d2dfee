"""The stages of a comparison: their one list, which imports none of them, so that `--help` answers at once.

A stage is the function of its name in the file of its name. It takes the Session and returns its Stage.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """What there is to know of a stage before it runs."""

    needs: tuple[str, ...] = ()  # fields of the Pair that it cannot do without
    computes: bool = True  # whether models run in it, for which their weights must be equal
    on_request: bool = False  # whether it runs only where it is asked for by name


# In the order in which they run.
STAGES: dict[str, Entry] = {
    "config": Entry(computes=False),
    "weights": Entry(computes=False),
    "forward": Entry(),
    "metric": Entry(needs=("metric",)),
    "loss": Entry(needs=("losses",)),
    "backward": Entry(needs=("losses",)),
    "train": Entry(needs=("losses", "optimizer")),
    "init": Entry(computes=False, on_request=True),  # it needs two fresh models
    "guards": Entry(),
}


def find_stage(name: str) -> Callable[[Any], Any]:
    """The function of a stage: Session -> Stage."""
    return getattr(importlib.import_module(f"{__name__}.{name}"), name)
