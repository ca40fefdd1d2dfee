"""One HTML page that needs no network and no script: its frame, tables, and drawings inside it."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

# What matplotlib.rc_context takes for a drawing of a page.
INK: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "actionalign",
    "text.parse_math": False,  # a dollar in a name is a dollar
    "axes.unicode_minus": False,
    "font.size": 9.0,
    "axes.grid": True,
    "grid.alpha": 0.3,
}
COLORS = ("#1f5fbf", "#c05a00", "#1a7f37", "#8e44ad", "#b3261e", "#5b7083")  # that are told apart
STYLE = """
:root { color-scheme: light }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1b1b1f;
  background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
.banner { border-left: .5rem solid; padding: .8rem 1.2rem; font-size: 1.1rem; overflow-wrap: anywhere }
.ok { border-color: #1a7f37; background: #e9f7ed } .bad { border-color: #b3261e; background: #fdeceb }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .85rem }
th, td { text-align: left; padding: .2rem .7rem; border-bottom: 1px solid #ddd; vertical-align: top }
td.n { font-variant-numeric: tabular-nums; white-space: nowrap; text-align: right }
td:first-child { font-family: ui-monospace, monospace; overflow-wrap: anywhere }
tr.bad td { background: #fdeceb }
summary { cursor: pointer; padding: .3rem 0 } details { margin: .4rem 0 }
svg, img { max-width: 100%; height: auto }
svg.bar { vertical-align: middle }
.zoom svg { width: min(100%, var(--side)); max-width: none; min-width: 20rem }
.zoom .wide { max-height: 85vh; overflow: auto; margin: .5rem 0 }
.zoom label { margin: 0 1rem 0 .2rem }
#zoom2:checked ~ .wide svg { width: 200% } #zoom4:checked ~ .wide svg { width: 400% }
p.small { color: #555; font-size: .85rem; margin: .4rem 0 }
"""


class Markup(str):
    """A part of a page that is HTML already, not text."""

    __slots__ = ()


class Figure(Protocol):
    """What draws itself, as matplotlib's figures do."""

    def savefig(self, fname: io.StringIO | io.BytesIO, *, format: str, metadata: Mapping[str, Any] = ...) -> None:
        """Writes the drawing into a file."""


def document(title: str, parts: Iterable[str]) -> str:
    """The whole page of parts that are HTML; empty ones are left out."""
    name = text(title)
    frame = [
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{name}</title>',
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{name}</h1>",
        *parts,
        "</body>\n</html>\n",
    ]
    return "\n".join(part for part in frame if part)


def section(title: str, content: str, legend: str = "") -> str:
    """A part under a title; nothing where there is no content."""
    remark = f'<p class="small">{legend}</p>\n' if legend else ""
    return f"<h2>{title}</h2>\n{remark}{content}" if content else ""


def table(head: Sequence[str], rows: Iterable[str]) -> str:
    """A table that scrolls by itself where it is wide; rows as `row` makes them."""
    titles = "".join(f"<th>{title}</th>" for title in head)
    top = f"<tr>{titles}</tr>\n" if any(head) else ""
    return f'<div class="wide"><table>\n{top}{"".join(rows)}</table></div>'


def row(cells: Iterable[Any], passed: bool = True, numeric: Collection[int] = ()) -> str:
    """A row of a table; one that has not passed stands out, cells that are numeric stand to the right."""
    columns = (f"<td{' class=n' if i in numeric else ''}>{_inside(cell)}</td>" for i, cell in enumerate(cells))
    return f"<tr{'' if passed else ' class=bad'}>{''.join(columns)}</tr>\n"


def _inside(cell: Any) -> str:
    return cell if isinstance(cell, Markup) else text(str(cell))


def bar(share: float, low: float, high: float, words: str) -> Markup:
    """A cell that shows a share, 0 to 1, as a bar with a line over an interval; words for those who do not see it."""
    width = 120
    places = [round(width * part, 1) for part in (share, low, high)]
    return Markup(
        f'<svg class="bar" role="img" aria-label="{text(words)}" width="{width}" height="12">'
        f'<rect width="{width}" height="12" fill="#eee"/><rect width="{places[0]}" height="12" fill="#7aa6e0"/>'
        f'<path d="M{places[1]} 6H{places[2]}" stroke="#1b1b1f" stroke-width="1.5"/></svg>'
    )


def picture(content: bytes, kind: str, words: str) -> Markup:
    """A picture inside a page.

    Args:
        content: Of its file.
        kind: png, webp or jpeg.
        words: For those who do not see it.
    """
    return Markup(f'<img alt="{text(words)}" src="{_data(content, kind)}">')


def _data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def moving(still: bytes, animation: bytes, words: str) -> Markup:
    """A picture that moves, unless the reader has asked for pages that do not: both WebP."""
    shown, first = (_data(content, "webp") for content in (animation, still))
    return Markup(
        f'<picture><source media="(prefers-reduced-motion: reduce)" srcset="{first}">'
        f'<img src="{shown}" alt="{text(words)}" loading="lazy"></picture>'
    )


def svg(figure: Figure) -> str:
    """A drawing as a bare element: the prolog has no place in HTML, the metadata no use."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    drawn = file.getvalue()
    return re.sub(r"<metadata>.*?</metadata>", "", drawn[drawn.index("<svg") :], flags=re.DOTALL)


def png(figure: Figure) -> bytes:
    """A drawing as the content of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def text(content: str) -> str:
    """Text that is safe inside an element or an attribute; letters that no page can hold become escapes."""
    return html.escape("".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in content))
