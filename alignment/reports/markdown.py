"""Many reports as the table of a README."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from alignment.reports.report import Report
from alignment.reports.text import number, plain, worst
from alignment.verdicts.record import Stage
from runtime.errors import UserError

LEGEND = "Each cell: what came nearest to its limit, mostly an error relative to its tensor's scale, and that limit."
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


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


def write_table(path: str | Path, reports: Sequence[Report], command: str) -> None:
    """Puts the table between the lines BEGIN and END of a Markdown file, with the command that makes it again.

    Raises:
        UserError: The file is not there or does not have the two lines once each, in this order.
    """
    before, _, after = between_marks(path, BEGIN, END)
    facts = [report.environment for report in reports]
    date = " / ".join(sorted({fact.get("date", "unknown date")[:10] for fact in facts}))
    versions = [f"{name} {_joined(facts, name)}" for name in ("paddle", "torch", "numpy", "opencv", "python")]
    head = f"{date}, {', '.join(versions)}; {_joined(facts, 'cpu')}. Written by `{command}`."
    Path(path).write_text(f"{before}{head}\n{LEGEND}\n\n{table(reports)}{after}", encoding="utf-8")


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
