"""Puts tests of several runs side by side: `python -m tools.compare RUN...`.

A run is the folder of a test, or its test.json. The others are held against the first one, sample by sample. With
--output FILE.html there is a page, too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runtime import command
from runtime.errors import UserError
from runtime.html_page import document, row, section, table
from runtime.owned import Owned
from tasks import TASKS
from tasks.past_test import PastTest, read_test
from tasks.report_page import PAIRED
from tasks.statistics import difference

HEAD = (
    "run", "model", "view", "samples", "{0}", "95 % interval", "against the first", "standard error",
    "better, worse", "p",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, and writes the page."""
    parser = command.parser(__doc__ or "", "python -m tools.compare RUN... [--output FILE.html]")
    parser.add_argument("run", nargs="+", help="folder of a test, or its test.json")
    parser.add_argument("--output", type=Path, help="page to write")
    args = parser.parse_args(argv)
    tests = [read_test(run, [task() for task in TASKS.values()]) for run in args.run]
    other = next((test for test in tests if type(test.task) is not type(tests[0].task)), None)
    if other:
        raise UserError(f"{other.source} is the test of another task than {tests[0].source}")
    title = tests[0].task.title or tests[0].task.metrics[0]
    head = [cell.format(title) for cell in HEAD]
    rows = rows_of(tests)
    command.say(*(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)))
    if args.output:
        parts = [
            section("Runs", table(head, (row(cells, numeric=range(3, len(cells))) for cells in rows)), PAIRED),
            section("Each against each", each(tests), "p, of the run of the row against that of the column."),
            section("Classes", classes(tests)),
        ]
        with Owned(args.output.parent).locked(f"another process writes into {args.output.parent}"):
            Owned(args.output.parent).write({args.output.name: document(f"{len(tests)} tests", parts).encode()})
        command.say(str(args.output))


def rows_of(tests: Sequence[PastTest]) -> list[list[str]]:
    """A row for each run."""
    rows = []
    for name, test in zip(titles_of(tests), tests, strict=True):
        metric, record = test.task.metrics[0], test.record
        interval = record.get("intervals", {}).get(metric)
        shown = f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else ""
        cells = [name, str(record.get("model", "")), str(record.get("view", "")), str(len(test.values)),
                 f"{record[metric]:.4f}", shown]  # fmt: skip
        if test is tests[0]:
            cells += [""] * 4
        else:
            found = difference(*pair(test, tests[0]))
            cells += [f"{found.mean:+.4f}", f"{found.standard_error:.4f}", f"{found.better}, {found.worse}",
                      f"{found.p_value:.3g}"]  # fmt: skip
        rows.append(cells)
    return rows


def pair(test: PastTest, other: PastTest) -> tuple[np.ndarray, np.ndarray]:
    """The values of two tests of the same samples; raises UserError if they are not."""
    names = sorted(other.values)
    return test.of(names, other.record["classes"]), other.of(names, other.record["classes"])


def each(tests: Sequence[PastTest]) -> str:
    """The p-values of all pairs."""
    names = titles_of(tests)
    rows = []
    for name, one in zip(names, tests, strict=True):
        cells = ["" if one is two else f"{difference(*pair(one, two)).p_value:.3g}" for two in tests]
        rows.append(row([name, *cells], numeric=range(1, len(tests) + 1)))
    return table(["", *names], rows)


def classes(tests: Sequence[PastTest]) -> str:
    """Share of each class that is right in each run; empty for a task without a matrix of samples."""
    if any(sum(map(sum, test.record.get("confusion", []))) != len(test.values) for test in tests):
        return ""
    rows = []
    for label, name in enumerate(tests[0].record["classes"]):
        counts = [test.record["confusion"][label] for test in tests]
        cells = [f"{line[label] / sum(line):.1%}" if sum(line) else "" for line in counts]
        rows.append(row([name, *cells], numeric=range(1, len(tests) + 1)))
    return table(["class", *titles_of(tests)], rows)


def titles_of(tests: Sequence[PastTest]) -> list[str]:
    """What tells the runs apart: their folders, without what all have in common."""
    folders = [os.path.abspath(Path(test.source).parent) for test in tests]
    if len(set(folders)) < len(folders) or len(folders) == 1:
        return [test.source for test in tests]
    root = os.path.commonpath([Path(folder).parent for folder in folders])
    return [os.path.relpath(folder, root) for folder in folders]


if __name__ == "__main__":
    with command.clear_errors():
        main()
