"""A page of labels: for each video its parts on a line of time, the best classes over time, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deploy.timeline.labels import Prediction
from deploy.timeline.segments import moments
from runtime.html_page import COLORS, INK, document, row, section, svg, table, text

SHOWN = 6  # classes that have a color
OTHERS = "#c9ced6"
WIDTH = 1000  # of a line of time


def page(found: Sequence[Prediction], count: int) -> bytes:
    """The whole page.

    Args:
        found: Of each video.
        count: Classes in the tables.
    """
    parts = [section(text(one.source), _video(one, count)) for one in found]
    title = Path(found[0].source).name if len(found) == 1 else f"{len(found)} videos"
    return document(f"Labels of {title}", parts).encode()


def _video(one: Prediction, count: int) -> str:
    best = table(
        ("the whole video", "probability"), (row((name, f"{p:.4f}"), numeric=(1,)) for name, p in one.top(count))
    )
    return over_time(one) + best


def over_time(one: Prediction) -> str:
    """The parts on a line of time, the best classes as curves, and a table of the parts; empty for one window."""
    if len(one.windows) == 1:
        return ""
    shown = [int(label) for label in np.argsort(one.scores, kind="stable")[::-1][:SHOWN]]
    parts = one.segments()
    rows = (
        row((_clock(part.start), _clock(part.end), one.names[part.label], f"{part.probability:.1%}"), numeric=(0, 1, 3))
        for part in parts
    )
    return line_of_time(one, shown) + _curves(one, shown) + table(("from", "to", "label", "probability"), rows)


def line_of_time(one: Prediction, shown: Sequence[int]) -> str:
    """The parts as a strip, each of which says what it is, and what the colors are."""
    parts = one.segments()
    begin, length = parts[0].start, parts[-1].end - parts[0].start
    strips = []
    for part in parts:
        color = COLORS[shown.index(part.label)] if part.label in shown else OTHERS
        words = f"{_clock(part.start)} to {_clock(part.end)}: {one.names[part.label]}, {part.probability:.1%}"
        left, right = (WIDTH * (time - begin) / length for time in (part.start, part.end))
        strips.append(
            f'<rect x="{left:.2f}" width="{right - left:.2f}" height="28" fill="{color}">'
            f"<title>{text(words)}</title></rect>"
        )
    names = [one.names[label] for label in shown] + ["others"] * (len(one.names) > len(shown))
    legend = "".join(
        f'<span style="white-space:nowrap"><svg width="12" height="12" aria-hidden="true"><rect width="12" height="12" '
        f'fill="{color}"/></svg> {text(name)}</span>&emsp;'
        for name, color in zip(names, [*COLORS[: len(shown)], OTHERS], strict=False)
    )
    words = f"labels over time: {len(parts)} parts"
    return (
        f'<svg role="img" aria-label="{words}" viewBox="0 0 {WIDTH} 28" width="100%" preserveAspectRatio="none" '
        f'style="height:28px">{"".join(strips)}</svg><p class="small">{legend}</p>'
    )


def _curves(one: Prediction, shown: Sequence[int]) -> str:
    """The probabilities of the best classes over time."""
    import matplotlib
    from matplotlib.figure import Figure

    parts = moments(one.windows)
    times = [time for part in parts for time in (part.start, part.end)]
    with matplotlib.rc_context(INK):
        figure = Figure(figsize=(10, 2.6), layout="constrained")
        axes = figure.subplots()
        for label, color in zip(shown, COLORS, strict=False):
            shares = [part.scores[label] for part in parts for _ in range(2)]
            axes.plot(times, shares, color=color, linewidth=1, label=one.names[label])
        axes.set(xlabel="seconds", ylabel="probability", ylim=(0, 1), xlim=(times[0], times[-1]))
        return svg(figure)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{int(minutes // 60)}:{int(minutes % 60):02d}:{rest:04.1f}"
