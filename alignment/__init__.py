"""Proof that a Paddle model equals a PyTorch one.

`align` compares any two live models; `python -m alignment` compares those of this repository.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["IncomparableError", "Optimization", "Rule", "align", "write_report"]

ROOMS = {
    "IncomparableError": "sides.pair", "Optimization": "sides.pair", "Rule": "sides.parameters",
    "align": "suite", "write_report": "reports.files",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Loads the frameworks only when they are asked for, so that `--help` answers at once."""
    if name not in ROOMS:
        raise AttributeError(f"module 'alignment' has no attribute {name!r}")
    return getattr(importlib.import_module(f"alignment.{ROOMS[name]}"), name)
