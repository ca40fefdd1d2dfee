"""Proof that a Paddle model equals a PyTorch one.

`align` compares any two live models; `python -m alignment` compares those of this repository.
"""

from __future__ import annotations

from typing import Any

__all__ = ["IncomparableError", "Optimization", "align", "write_report"]


def __getattr__(name: str) -> Any:
    """Loads the frameworks only when they are asked for, so that `--help` answers at once."""
    if name == "align":
        from alignment.suite import align

        return align
    if name == "write_report":
        from alignment.reports.files import write_report

        return write_report
    if name in ("IncomparableError", "Optimization"):
        from alignment.sides import pair

        return getattr(pair, name)
    raise AttributeError(f"module 'alignment' has no attribute {name!r}")
