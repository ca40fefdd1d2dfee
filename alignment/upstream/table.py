"""The table of comparisons with third-party code, which grows by one run at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alignment.reports.markdown import between_marks, markdown_table, table
from alignment.reports.report import Report
from alignment.stages import STAGES

BEGIN, END = "<!-- third-party: begin -->", "<!-- third-party: end -->"
KEY = ("model", "precision")
Row = dict[str, str]


def update_table(path: str | Path, reports: Sequence[Report]) -> None:
    """Puts each report's row into the table between the lines BEGIN and END of a Markdown file.

    A row of the same model, reference and precision is replaced, all others stay as they are.

    Raises:
        UserError: The file is not there or does not have the two lines once each, in this order.
    """
    before, inside, after = between_marks(path, BEGIN, END)
    rows = {_key(row): row for row in _rows(inside)}
    for report in reports:
        row = _rows(table([report]))[0]
        shape = " x ".join(map(str, report.settings["inputs"][0]))
        row["clips, date"] = f"{shape}, {report.environment.get('date', '')[:10]}"
        rows[_key(row)] = row
    Path(path).write_text(before + _written(sorted(rows.values(), key=_order)) + after, encoding="utf-8")


def _rows(text: str) -> list[Row]:
    """The rows of a Markdown table, by the names of its columns."""
    lines = [
        [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return [dict(zip(lines[0], line, strict=False)) for line in lines[2:]]


def _written(rows: Sequence[Row]) -> str:
    found = {name for row in rows for name in row}
    columns = [name for name in (*KEY, *STAGES, "verdict", "clips, date") if name in found]
    return markdown_table(columns, ([row.get(name, "") for name in columns] for row in rows))


def _key(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in KEY)


def _order(row: Row) -> tuple[str, ...]:
    """By reference, then by model, float64 first."""
    model, _, reference = row["model"].partition("_vs_")
    return reference, model, {"float64": "0"}.get(row["precision"], "1")
