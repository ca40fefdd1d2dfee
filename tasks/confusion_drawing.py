"""A confusion matrix as a part of a page: three buttons make it larger, and each cell says what it is."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.html_page import text

CELL, MARGIN = 14, 110  # pixels of a cell, and of the names at the sides
LEAST = 420  # pixels of the whole
MOST_NAMED, LETTERS = 60, 22  # classes whose names stand at the sides, and what is shown of one
RIGHT, WRONG = "#1f5fbf", "#b3261e"


def drawn(counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """The matrix as HTML without a script.

    Args:
        counts: K rows of K: row is the label, column what was predicted.
        names: Of the classes.
    """
    margin = MARGIN if len(names) <= MOST_NAMED else 2
    side = CELL * len(names) + margin
    cells = [
        _cell(counts[i], names, i, j, margin) for i in range(len(names)) for j in range(len(names)) if counts[i][j]
    ]
    sides = [_sides(i, name, margin) for i, name in enumerate(names)] if len(names) <= MOST_NAMED else []
    buttons = "".join(
        f'<input type="radio" name="zoom" id="zoom{n}"{" checked" * (n == 1)}><label for="zoom{n}">{n}x</label>'
        for n in (1, 2, 4)
    )
    picture = (
        f'<svg role="img" aria-label="confusion matrix" viewBox="0 0 {side} {side}" '
        f'style="--side: {max(side, LEAST)}px" font-size="9" font-family="sans-serif">'
        f'<rect x="{margin}" y="{margin}" width="{side - margin}" height="{side - margin}" fill="#f4f4f6"/>'
        f"{''.join(cells + sides)}</svg>"
    )
    return f'<div class="zoom">{buttons}<div class="wide" tabindex="0">{picture}</div></div>'


def _cell(counts: Sequence[int], names: Sequence[str], i: int, j: int, margin: int) -> str:
    count, total = counts[j], sum(counts)
    words = (
        f"{names[i]}: {count} of {total} right" if i == j else f"{names[i]}, taken for {names[j]}: {count} of {total}"
    )
    return (
        f'<rect x="{margin + CELL * j}" y="{margin + CELL * i}" width="{CELL}" height="{CELL}" '
        f'fill="{RIGHT if i == j else WRONG}" fill-opacity="{0.15 + 0.85 * count / total:.3g}">'
        f"<title>{text(words)}</title></rect>"
    )


def _sides(i: int, name: str, margin: int) -> str:
    middle, edge = margin + CELL * i + CELL / 2 + 3, margin - 4
    shown = text(name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}")
    return (
        f'<text x="{edge}" y="{middle}" text-anchor="end">{shown}</text>'
        f'<text transform="translate({middle} {edge}) rotate(-90)">{shown}</text>'
    )
