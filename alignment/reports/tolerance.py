"""A report judged again, by another tolerance."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

from alignment.reports.files import read_report
from alignment.reports.report import Report
from alignment.verdicts.record import Record, Stage
from runtime.errors import UserError

# Records whose numbers are no errors relative to a scale, so that another tolerance has no meaning for them.
UNSCALED = ("guard", "moments")


def rejudge(directory: str | Path, rtol: float | None = None, pattern: str | None = None) -> Report:
    """The report of a directory, judged by another tolerance if one is given; the files stay as they are.

    Args:
        directory: Where `write_report` wrote.
        rtol: See `with_tolerance`; without it the report is as it was judged.
        pattern: See `with_tolerance`.

    Raises:
        UserError: There is no report, its files are broken, or the tolerance or pattern is not possible.
    """
    if rtol is None and pattern is not None:
        raise UserError(f"--only {pattern} needs --rtol: it says which records the new tolerance is for")
    report = read_report(directory)
    return report if rtol is None else with_tolerance(report, rtol, pattern)


def with_tolerance(report: Report, rtol: float, pattern: str | None = None) -> Report:
    """The same measurements, judged by another tolerance.

    What failed without a number (a shape, a NaN, a missing tensor, a constant) stays failed, what must be equal
    must still be equal, and guards and moments keep their own rules.

    Args:
        rtol: Largest error allowed, relative to the scale.
        pattern: Regular expression to be found in `STAGE/KIND/NAME` of the records concerned, such as
            `forward/eval activation/backbone.conv1`; None for all.

    Raises:
        UserError: rtol is not a number above 0, or the pattern is not valid or fits no record with numbers.
    """
    if not 0 < rtol < math.inf:
        raise UserError(f"--rtol must be a number above 0, got {rtol}")
    wanted = _pattern(pattern)
    names = [_full_name(stage, record) for stage in report.stages for record in stage.records if _is_judged(record)]
    count = sum(bool(wanted.search(name)) for name in names)
    if pattern is not None and not count:
        example = f"the first is {names[0]}" if names else "there is none at all"
        raise UserError(f"--only {pattern} fits no record with a tolerance; {example}")
    stages = [_judge_again(stage, wanted, rtol) for stage in report.stages]
    judged = f"{count} records at {rtol:g}" + ("" if pattern is None else f" ({pattern})")
    return dataclasses.replace(report, stages=stages, settings={**report.settings, "judged again": judged})


def _is_judged(record: Record) -> bool:
    """Whether the tolerance alone decided: equality was not what was asked for, nor did anything else fail."""
    decided = record.tolerance > 0 and record.passed == (record.required <= record.tolerance)
    return decided and not math.isnan(record.required) and record.kind not in UNSCALED


def _full_name(stage: Stage, record: Record) -> str:
    return f"{stage.name}/{record.kind}/{record.name}"


def _pattern(pattern: str | None) -> re.Pattern[str]:
    try:
        return re.compile(pattern or "")
    except re.error as error:
        raise UserError(f"--only {pattern} is no regular expression: {error}") from error


def _judge_again(stage: Stage, wanted: re.Pattern[str], rtol: float) -> Stage:
    """A stage whose wanted records have another tolerance; its sentence is rewritten unless it is still true."""
    records = []
    for record in stage.records:
        chosen = _is_judged(record) and wanted.search(_full_name(stage, record))
        records.append(_judged(record, rtol) if chosen else record)
    again = dataclasses.replace(stage, records=records)
    if not again.failures:
        return dataclasses.replace(again, sentence="", place="")
    first = again.failures[0]
    if stage.failures and first is stage.failures[0]:
        return again
    return dataclasses.replace(again, sentence=first.sentence, place=first.name)


def _judged(record: Record, rtol: float) -> Record:
    passed = record.required <= rtol
    reason = "" if passed else f"off by {record.required:.2g} of its scale, allowed {rtol:.2g}"
    return dataclasses.replace(record, passed=passed, reason=reason, tolerance=rtol)
