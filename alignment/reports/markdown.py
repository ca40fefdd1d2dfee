"""Reports as rows of a table in a README, which grows by one run at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from alignment.reports.report import Report
from alignment.reports.text import number, plain, worst
from alignment.verdicts.record import Stage
from runtime.errors import UserError

# Lines around the table of comparisons with our twins, and around that of comparisons with third-party code.
OWN = ("<!-- results: begin -->", "<!-- results: end -->")
THIRD_PARTY = ("<!-- third-party: begin -->", "<!-- third-party: end -->")
KEY = ("model", "precision")
Row = dict[str, str]


def table(reports: Sequence[Report]) -> str:
    """A Markdown table with one row a report: the worst value of each stage over its tolerance, and the verdict."""
    names = list(dict.fromkeys(stage.name for report in reports for stage in report.stages))
    rows = []
    for report in reports:
        cells = {stage.name: _cell(stage) for stage in report.stages}
        verdict = "passed" if report.passed else "**DIFFERS**"
        rows.append([_markdown(report.title), report.precision, *(cells.get(name, "") for name in names), verdict])
    return markdown_table(["model", "precision", *names, "verdict"], rows)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells that need no more escaping."""
    return "".join("| " + " | ".join(row) + " |\n" for row in (head, ["---"] * len(head), *rows))


def update_table(path: str | Path, reports: Sequence[Report], marks: tuple[str, str], steps: Sequence[str]) -> None:
    """Puts each report's row into the table between two lines of a Markdown file, and the facts of this run before it.

    A row of the same model, reference and precision is replaced, all others stay as they are.

    Args:
        path: The file.
        reports: Of one run.
        marks: The two lines, such as OWN.
        steps: Of all reports there may be, in the order of the columns.

    Raises:
        UserError: The file is not there or does not have the two lines once each, in this order.
    """
    before, inside, after = between_marks(path, *marks)
    rows = {_key(row): row for row in table_rows(inside)}
    for report in reports:
        row = table_rows(table([report]))[0]
        shape = " x ".join(map(str, report.settings["inputs"][0]))
        row["clips, date"] = f"{shape}, {report.environment.get('date', '')[:10]}"
        rows[_key(row)] = row
    facts = [report.environment for report in reports]
    versions = [f"{name} {_joined(facts, name)}" for name in ("paddle", "torch", "numpy", "opencv", "python")]
    head = f"The last run: {', '.join(versions)}; {_joined(facts, 'cpu')}.\n\n" if reports else ""
    Path(path).write_text(before + head + _written(sorted(rows.values(), key=_order), steps) + after, encoding="utf-8")


def table_rows(text: str) -> list[Row]:
    """The rows of the one Markdown table in a text, by the names of its columns."""
    lines = [
        [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return [dict(zip(lines[0], line, strict=False)) for line in lines[2:]]


def _written(rows: Sequence[Row], steps: Sequence[str]) -> str:
    found = {name for row in rows for name in row}
    columns = [name for name in (*KEY, *steps, "verdict", "clips, date") if name in found]
    return markdown_table(columns, ([row.get(name, "") for name in columns] for row in rows))


def _key(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in KEY)


def _order(row: Row) -> tuple[str, ...]:
    """By reference, then by model, float64 first."""
    model, _, reference = row["model"].partition("_vs_")
    return reference, model, {"float64": "0"}.get(row["precision"], "1")


def between_marks(path: str | Path, begin: str, end: str) -> tuple[str, str, str]:
    """A file's text up to the line `begin`, which is included, from there to the line `end`, and from that on.

    Raises:
        UserError: The file is not there or does not have the two lines once each, in this order.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, first, rest = text.partition(f"{begin}\n")
    inside, last, after = rest.partition(f"{end}\n")
    if not (first and last) or text.count(begin) != 1 or text.count(end) != 1:
        raise UserError(f"{path} must have the lines {begin} and {end} once each: the table goes between them")
    return before + first, inside, last + after


def _cell(stage: Stage) -> str:
    record = worst(stage)
    if not stage.passed:
        return f"**DIFFERS**: `{_markdown(stage.divergence.place)}`"
    if record is None or record.required == 0:
        return f"{len(stage.records)} {'passed' if record is None else 'equal'}"
    return f"{number(record.required)} / {number(record.tolerance)}"


def _joined(facts: Sequence[dict[str, str]], name: str) -> str:
    return " / ".join(sorted({fact.get(name, "unknown") for fact in facts}))


def _markdown(text: str) -> str:
    return plain(text).replace("|", "\\|").replace("`", "'")
