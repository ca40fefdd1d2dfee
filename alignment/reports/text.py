"""What an alignment found, as text for a terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from alignment.verdicts.record import Record, Stage, largest

COLUMNS = 120
NAME_COLUMNS = 48  # of the longest name in the terminal's table


def terminal_text(headline: str, settings: Mapping[str, Any], stages: Sequence[Stage]) -> str:
    """A table of at most COLUMNS ASCII characters a line: one line a stage, then what differs, then the notes."""
    shown = ", ".join(f"{name} {value}" for name, value in settings.items())
    lines = [*_wrapped(headline), *_wrapped(shown), "", *_stage_table(stages)]
    differing = [stage.divergence for stage in stages if not stage.passed]
    for first in differing[:1]:
        lines += ["", *_wrapped(f"First divergence: {first.stage}, {first.place}:"), *_wrapped(first.sentence, "  ")]
    for other in differing[1:]:
        line = plain(f"Also differs: {other.stage}, {other.place}: {other.sentence}")
        lines.append(line if len(line) <= COLUMNS else f"{line[: COLUMNS - 3]}...")
    notes = [line for stage in stages for note in stage.notes for line in _wrapped(f"{stage.name}: {note}")]
    return "\n".join(lines + (["", "Notes", *notes] if notes else [])) + "\n"


def worst(stage: Stage) -> Record | None:
    """The record that says most: a failure without a number, or else the one nearest to its tolerance or beyond."""
    unmeasured = [record for record in stage.failures if math.isnan(record.required)]
    return unmeasured[0] if unmeasured else largest(stage.records)


def worst_cells(stage: Stage) -> tuple[str, str, str, str]:
    """Of the worst record: name, kind, what it requires and what is allowed; `-` where there is none."""
    record = worst(stage)
    return (record.name, record.kind, number(record.required), number(record.tolerance)) if record else ("-",) * 4


def number(value: float) -> str:
    """An error or tolerance in two digits; `-` where there is none."""
    return "-" if math.isnan(value) else f"{value:.2g}"


def plain(text: str) -> str:
    """Everything but printable ASCII as escapes: a terminal may know no more, and names may hold anything."""
    return "".join(letter if " " <= letter <= "~" else ascii(letter)[1:-1] for letter in text)


def _stage_table(stages: Sequence[Stage]) -> list[str]:
    """The lines of the table, its columns aligned."""
    rows = [["stage", "verdict", "compared", "differ", "worst record", "required", "allowed", "seconds"]]
    for stage in stages:
        name, _, *numbers = worst_cells(stage)
        verdict = "passed" if stage.passed else "DIFFERS"
        counts = str(len(stage.records)), str(len(stage.failures))
        cells = [_shortened(stage.name, 12), verdict, *counts, _shortened(name, NAME_COLUMNS), *numbers]
        rows.append([*cells, f"{stage.seconds:.1f}"])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    signs = "<<>><>>>"
    return ["  ".join(f"{cell:{s}{w}}" for cell, s, w in zip(row, signs, widths, strict=True)).rstrip() for row in rows]


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(plain(text), COLUMNS, initial_indent=indent, subsequent_indent="  ")


def _shortened(name: str, columns: int) -> str:
    """Of a longer name the middle goes, since the ends of a path say most."""
    name = plain(name)
    if len(name) <= columns:
        return name
    tail = (columns - 3) * 2 // 3
    return f"{name[: columns - 3 - tail]}...{name[-tail:]}"
