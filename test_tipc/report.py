"""Writes the table of README.md and `results/` from what the chains have left: `python -m test_tipc.report`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypedDict

from alignment.reports.markdown import OWN, between_marks, markdown_table, table_rows
from runtime import command
from runtime.errors import UserError
from runtime.records import read_record
from tasks import titles
from test_tipc.compare_results import precision_of
from test_tipc.session import FAILED, OUTPUT, PASSED, SKIPPED

README = Path("test_tipc/README.md")
RESULTS = Path("test_tipc/results")
COLUMNS = ("model", "mode", "verdict", "passed / failed / skipped", "measured", "seconds", "date, machine")


class StepRecord(TypedDict):
    """One step in `results.json`."""

    name: str
    status: str
    log: str
    reason: str
    numbers: dict[str, Any]


class ChainRecord(TypedDict):
    """What `results.json` holds, see `session.Session.finish`."""

    model: str
    mode: str
    passed: bool
    seconds: float
    date: str
    versions: dict[str, str]
    cpu: str
    steps: list[StepRecord]


def read_results(output: Path = OUTPUT) -> list[ChainRecord]:
    """What all chains that have run left, by model and mode; raises UserError if that is nothing, or damaged."""
    paths = sorted(output.glob("*/*/results.json"))
    if not paths:
        raise UserError(f"{output} has no results: bash test_tipc/certify.sh makes them")
    return [read_record(path, ChainRecord) for path in paths]


def table(records: Sequence[ChainRecord]) -> str:
    """A Markdown table with a row for each chain."""
    rows = []
    for record in records:
        steps = record["steps"]
        counts = (sum(step["status"] == status for step in steps) for status in (PASSED, FAILED, SKIPPED))
        rows.append([
            record["model"], record["mode"], _verdict(record), " / ".join(map(str, counts)), "; ".join(measured(steps)),
            f"{record['seconds']:.0f}", f"{record['date']}, {record['cpu']}",
        ])  # fmt: skip
    return markdown_table(COLUMNS, rows)


def _verdict(record: ChainRecord) -> str:
    """A chain of which every step is skipped has neither passed nor failed."""
    if record["passed"]:
        return PASSED
    steps = record["steps"]
    if steps and all(step["status"] == SKIPPED for step in steps):
        return f"{SKIPPED}: {steps[0]['reason']}"
    failed = ", ".join(step["name"] for step in steps if step["status"] == FAILED)
    return f"**FAILED**: {failed or 'no step passed'}"


def measured(steps: Sequence[StepRecord]) -> list[str]:
    """The numbers of a chain in words: of several steps the worst."""

    def all_of(name: str) -> list[float]:
        return [step["numbers"][name] for step in steps if name in step["numbers"]]

    parts = []
    evaluations = [step["numbers"] for step in steps if step["name"] == "evaluation"]
    for metric, title in titles().items():
        if evaluated := [f"{numbers[metric]:.1%}" for numbers in evaluations if metric in numbers]:
            parts.append(f"{title} {', '.join(evaluated)}")
    if parity := [value for step in steps for name, value in step["numbers"].items() if name.endswith("_relative")]:
        parts.append(f"export off by {max(parity):.2g} of the largest logit")
    for precision, compared in _by_precision(steps).items():
        agreement = f"{sum(numbers['same_top1'] for numbers in compared)} of {sum(n['videos'] for n in compared)}"
        worst = max(numbers["difference"] for numbers in compared)
        parts.append(f"{precision} probabilities off by {worst:.2g}, top-1 agreement {agreement}")
    parts += _drops(all_of)
    if losses := all_of("first_difference"):
        parts.append(f"first losses off by {max(losses):.2g}")
    if programs := [step["numbers"] for step in steps if "of_largest_logit" in step["numbers"]]:
        worst = max(numbers["of_largest_logit"] for numbers in programs)
        parts.append(f"logits off by {worst:.2g} of the largest, {programs[0]['clips']} clips")
    if counts := all_of("nodes_losses"):
        parts.append(f"several nodes equal one to the bit, {counts[0]} losses")
    if speeds := all_of("avg_ips"):
        parts.append(", ".join(f"{speed:.1f} clips/s" for speed in speeds))
    return parts


def _drops(all_of: Callable[[str], list[float]]) -> Iterator[str]:
    """What int8 costs."""
    for metric, title in titles().items():
        if int8 := all_of(f"int8_{metric}"):
            yield f"{title} int8 {int8[0]:.1%}, fp32 {all_of(f'fp32_{metric}')[0]:.1%}"


def _by_precision(steps: Iterable[StepRecord]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for step in steps:
        if "difference" in step["numbers"]:
            found.setdefault(precision_of(step["log"]), []).append(step["numbers"])
    return found


def write_table(records: Sequence[ChainRecord], path: Path = README) -> None:
    """Puts the rows of these chains into the table between the marks of a Markdown file, and their origin before it.

    All rows of their models are replaced, those of others stay as they are.
    """
    before, inside, after = between_marks(path, *OWN)
    models = {record["model"] for record in records}
    kept = [row for row in table_rows(inside) if row["model"] not in models]
    rows = sorted([*kept, *table_rows(table(records))], key=lambda row: (row["model"], row["mode"]))
    cells = markdown_table(COLUMNS, ([row.get(name, "") for name in COLUMNS] for row in rows))
    origin = f"The last run: {_origin(records)} Written by `python -m test_tipc.report`."
    path.write_text(f"{before}{origin}\n\n{cells}{after}", encoding="utf-8")


def _origin(records: Sequence[ChainRecord]) -> str:
    """When, with what, and on which machine."""
    dates, cpus = ({record[name] for record in records} for name in ("date", "cpu"))
    versions = {f"{name} {version}" for record in records for name, version in record["versions"].items()}
    return f"{' / '.join(sorted(dates))}, {', '.join(sorted(versions))}; {' / '.join(sorted(cpus))}."


def write_results(records: Sequence[ChainRecord], folder: Path = RESULTS) -> None:
    """Writes the top-1 class and score of each video under TIPC's names, from inference logs that are certified.

    Source: test_tipc/results of PaddleVideo.
    """
    for record in records:
        if record["mode"] != "whole_infer" or not record["passed"]:
            continue
        logs = [Path(step["log"]) for step in record["steps"] if "inference_ms" in step["numbers"]]
        for precision, log in {precision_of(log): log for log in logs}.items():
            path = folder / record["model"] / f"python_{record['model']}_results_{precision}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = [f"# {_origin([record])} Written by python -m test_tipc.report.", *_result_rows(log)]
            path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def _result_rows(log: Path) -> list[str]:
    """Of each video its name, its top-1 class and score."""
    rows = log.read_text(encoding="utf-8").splitlines()
    names = [Path(before).name for before, row in pairwise(rows) if row.startswith("Top1 class:")]
    tops = [row for row in rows if row.startswith("top-1 ")]
    return [
        line
        for name, label, score in zip(names, tops[::2], tops[1::2], strict=True)
        for line in (f"Current video file: {name}", label, score)
    ]


def main() -> None:
    """Writes the table and the files."""
    command.parser(__doc__).parse_args()
    records = read_results()
    write_table(records)
    write_results(records)
    command.say(*table(records).splitlines())


if __name__ == "__main__":
    with command.clear_errors():
        main()
