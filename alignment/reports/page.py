"""The report as one HTML page that needs no network and no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from alignment.reports.report import Report
from alignment.reports.text import number, plain, worst_cells
from alignment.verdicts.difference import DECADES
from alignment.verdicts.record import Record, Stage
from runtime import html_page
from runtime.html_page import INK, row, section, svg, table, text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 200  # passing records of a stage; all failures are shown besides
CURVES = ("forward", "backward", "train")  # the stages whose records are a way through the network
VALUE_LETTERS = 200  # of a constant's value
NO_ERROR = 1e-16  # sets the height of a plot in which all arrays are equal
LEGEND = "Dashed: what is allowed. Crosses: failures, on the upper edge if without a number. At the bottom: no error."
FAILED = "#b3261e"


def render(report: Report) -> str:
    """The whole page: verdict, stages, plots, the constants that differ, the records, settings and environment."""
    return html_page.document(
        f"{report.title}, {report.precision}",
        [
            _banner(report),
            section("Stages", _stages(report.stages)),
            section("Error by layer", growth_plot(report.stages), LEGEND),
            section("How large the errors are", histogram_plot(report.stages)),
            section("Configuration", _configuration(report.stages)),
            section("Records", "\n".join(_records(stage) for stage in report.stages)),
            section("Settings", _facts(report.settings)),
            section("Environment", _facts(report.environment)),
        ],
    )


def growth_plot(stages: Sequence[Stage]) -> str:
    """An SVG with one panel for each stage of CURVES: each record's error, in order, over its tolerance.

    Returns an empty string if no such stage measured anything.
    """
    panels = [(stage, curves) for stage in stages if stage.name in CURVES and (curves := _curves(stage))]
    if not panels:
        return ""
    with matplotlib.rc_context(INK):
        figure = Figure(figsize=(10, 2.9 * len(panels)), layout="constrained")
        for axes, (stage, curves) in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
            _draw_curves(axes, stage.name, curves)
        return svg(figure)


def histogram_plot(stages: Sequence[Stage]) -> str:
    """An SVG with one panel for each stage that compared arrays: how many elements are off by which power of ten."""
    counts = {stage.name: bars for stage in stages if sum(bars := _histogram(stage))}
    if not counts:
        return ""
    columns, rows = min(3, len(counts)), math.ceil(len(counts) / 3)
    with matplotlib.rc_context(INK):
        figure = Figure(figsize=(10 / 3 * columns, 2.2 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels[len(counts) :]:
            axes.remove()
        for axes, (name, bars) in zip(panels, counts.items(), strict=False):
            axes.bar(list(DECADES), bars, width=0.9)
            axes.set(title=plain(name), yscale="log", xlabel=f"log10 of error / scale (equal: {DECADES[0]})")
            axes.yaxis.set_major_formatter("{x:,.0f}")
            axes.yaxis.set_minor_locator(NullLocator())  # over many decades they are most of the drawing
            axes.set_xlim(DECADES[0] - 1, DECADES[-1] + 1)
        return svg(figure)


# ---------------------------------------------------------------------------------------------------------------------
# Plots


def _curves(stage: Stage) -> dict[str, list[Record]]:
    """The records of a stage that compared arrays, by kind, in order; kinds without a single number are left out."""
    curves: dict[str, list[Record]] = {}
    for record in stage.records:
        if record.difference is not None:
            curves.setdefault(record.kind, []).append(record)
    return {kind: records for kind, records in curves.items() if any(math.isfinite(r.required) for r in records)}


def _draw_curves(axes: Axes, title: str, curves: dict[str, list[Record]]) -> None:
    """Equal arrays lie a decade below the smallest error; failures without a finite number on the upper edge."""
    axes.set(title=plain(title), yscale="log", xlabel="record, in the order of computation", ylabel="error / scale")
    positive = [r.required for records in curves.values() for r in records if 0 < r.required < math.inf]
    bottom = min(positive, default=NO_ERROR) / 10
    for kind, records in curves.items():
        errors = [max(r.required, bottom) if math.isfinite(r.required) else math.nan for r in records]
        (line,) = axes.plot(errors, linewidth=1, marker=".", markersize=2, label=plain(kind))
        allowed = [r.tolerance if r.tolerance > 0 else math.nan for r in records]
        axes.plot(allowed, color=line.get_color(), linewidth=1, linestyle="--")
        failures = [i for i, r in enumerate(records) if not r.passed]
        measured = [i for i in failures if math.isfinite(errors[i])]
        axes.plot(measured, [errors[i] for i in measured], "x", color=FAILED, markersize=5)
        beyond = [i for i in failures if not math.isfinite(errors[i])]
        upper_edge = axes.get_xaxis_transform()
        (marks,) = axes.plot(beyond, [1.0] * len(beyond), "x", color=FAILED, transform=upper_edge, clip_on=False)
        marks.set_in_layout(False)  # they may reach out of the panel, which the layout would make room for
    axes.yaxis.set_major_formatter("{x:.0e}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def _histogram(stage: Stage) -> list[int]:
    """Elements in each decade, over all arrays of a stage."""
    found = [r.difference.histogram for r in stage.records if r.difference is not None and r.difference.histogram]
    return [sum(bars) for bars in zip(*found, strict=True)]


# ---------------------------------------------------------------------------------------------------------------------
# Sections


def _banner(report: Report) -> str:
    divergence = report.first_divergence
    lines = [f"<b>{text(report.headline)}</b>"]
    if divergence:
        lines.append(f"First divergence: {text(divergence.stage)}, <code>{text(divergence.place)}</code>")
        lines.append(text(divergence.sentence))
    return f'<div class="banner {"ok" if report.passed else "bad"}">{"<br>".join(lines)}</div>'


def _stages(stages: Sequence[Stage]) -> str:
    rows, notes = [], []
    for stage in stages:
        counts = ("passed" if stage.passed else "differs", len(stage.records), len(stage.failures))
        cells = (stage.name, *counts, *worst_cells(stage), f"{stage.seconds:.1f}")
        rows.append(row(cells, stage.passed, numeric={2, 3, 6, 7, 8}))
        lines = [f"{stage.name}: {stage.sentence}"] if stage.sentence else []
        lines += [f"Note on {stage.name}: {note}" for note in stage.notes]
        notes += [f'<p class="small">{text(line)}</p>' for line in lines]
    head = ("stage", "verdict", "compared", "differ", "worst record", "kind", "required", "allowed", "seconds")
    return "\n".join([table(head, rows), *notes])


def _configuration(stages: Sequence[Stage]) -> str:
    """The constants that differ, with both values."""
    constants = [r for stage in stages for r in stage.records if r.kind == "constant" or stage.name == "config"]
    if not constants:
        return ""
    differ = [record for record in constants if not record.passed]
    count = f'<p class="small">{len(constants)} constants compared, {len(differ)} differ.</p>'
    if not differ:
        return count
    rows = [row((r.name, *(_value(v) for v in r.values or ("", "")), r.reason), False) for r in differ]
    return count + table(("constant", "reference", "candidate", "why"), rows)


def _records(stage: Stage) -> str:
    """All failures of a stage and those that came nearest to failing, behind a line to click on."""
    margins = [math.inf if math.isnan(record.margin) else record.margin for record in stage.records]
    nearest = sorted(range(len(margins)), key=lambda i: (stage.records[i].passed, margins[i]))  # failures first
    chosen = sorted(nearest[: len(stage.failures) + SHOWN])
    left_out = len(stage.records) - len(chosen)
    remark = f"; shown are all failures and the {SHOWN} others nearest to their tolerance, report.json has all"
    count = f"{len(stage.records)} records, {len(stage.failures)} differ{remark if left_out else ''}"
    head = ("name", "kind", "required", "allowed", "margin", "relative L2", "cosine", "worst at", "reference",
            "candidate", "why")  # fmt: skip
    body = table(head, (_record_row(stage.records[i]) for i in chosen))
    opened = "" if stage.passed else " open"
    return f"<details{opened}><summary><b>{text(stage.name)}</b>: {count}</summary>\n{body}\n</details>"


def _record_row(record: Record) -> str:
    numbers = (number(value) for value in (record.required, record.tolerance, record.margin))
    cells = (record.name, record.kind, *numbers, *_statistics(record), record.reason)
    return row(cells, record.passed, numeric={2, 3, 4, 5, 6, 8, 9})


def _statistics(record: Record) -> tuple[str, ...]:
    """Relative L2, cosine, worst index and both values there; for a constant, both values."""
    found = record.difference
    if found is None or found.problem:
        return ("", "", "", *(_value(value) for value in record.values or ("", "")))
    digits = 17 if found.dtype == "float64" else 9
    values = (f"{value:.{digits}g}" for value in (found.worst_reference, found.worst_candidate))
    return number(found.rel_l2), f"{found.cosine:.9g}", str(list(found.worst_index)), *values


def _facts(facts: dict[str, Any]) -> str:
    return table(("", ""), [row((name, _value(value)), True) for name, value in facts.items()]) if facts else ""


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= VALUE_LETTERS else f"{text[:VALUE_LETTERS]}..."
