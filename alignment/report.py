"""What an alignment found: as a table for the terminal, as JSON for CI, as a page, and judged again at will."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import re
import textwrap
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alignment.compare import Difference, Record, Stage, largest
from alignment.pair import Sides
from runtime.errors import UserError

COLUMNS = 120
NAME_COLUMNS = 48  # of the longest name in the terminal's table
JSON_FILE, PAGE_FILE, TENSORS_FILE = "report.json", "report.html", "tensors.npz"
FORMAT = 1  # of report.json
# Records whose numbers are no errors relative to a scale, so that another tolerance has no meaning for them.
UNSCALED = ("guard", "moments")
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


@dataclass(frozen=True)
class Divergence:
    """The first thing that differs.

    Attributes:
        stage: Name of the stage.
        place: The layer, tensor or constant.
        sentence: What that means, for somebody who has never seen this suite.
    """

    stage: str
    place: str
    sentence: str


@dataclass
class Report:
    """All that one alignment found.

    Attributes:
        title: What was compared.
        precision: `float32` or `float64`.
        stages: In the order in which they ran.
        environment: What `environment` returned when they ran.
        settings: Model, seed, shape and whatever else was chosen; plain values, lists, tuples and dicts.
        tensors: Arrays of both sides worth keeping, by names such as `forward/logits`.
    """

    title: str
    precision: str
    stages: list[Stage]
    environment: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Sides] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether at least one stage ran and all passed."""
        return bool(self.stages) and not self.failed_stages

    @property
    def failed_stages(self) -> list[Stage]:
        """The stages that found a difference or nothing to compare, in order."""
        return [stage for stage in self.stages if not stage.passed]

    @property
    def first_divergence(self) -> Divergence | None:
        """What differs first; None if nothing does."""
        return _divergence(self.failed_stages[0]) if self.failed_stages else None

    def text(self) -> str:
        """A table of at most COLUMNS ASCII characters a line: one line a stage, then what differs, then the notes."""
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        lines = [*_wrapped(headline(self)), *_wrapped(settings), "", *_stage_table(self.stages)]
        first = self.first_divergence
        if first:
            lines += [
                "",
                *_wrapped(f"First divergence: {first.stage}, {first.place}:"),
                *_wrapped(first.sentence, "  "),
            ]
        for other in map(_divergence, self.failed_stages[1:]):
            lines.append(_one_line(f"Also differs: {other.stage}, {other.place}: {other.sentence}"))
        notes = [line for stage in self.stages for note in stage.notes for line in _wrapped(f"{stage.name}: {note}")]
        return "\n".join(lines + (["", "Notes", *notes] if notes else [])) + "\n"

    def to_json(self) -> str:
        """The report without its tensors as strict JSON; numbers that JSON lacks are objects such as {"$float": "nan"}.

        `passed` and `first_divergence` are there for CI, `from_json` computes them anew.
        """
        divergence = self.first_divergence
        content = {
            "format": FORMAT,
            "title": self.title,
            "precision": self.precision,
            "passed": self.passed,
            "first_divergence": dataclasses.asdict(divergence) if divergence else None,
            "settings": _encode(self.settings),
            "environment": self.environment,
            "stages": [_stage_to_json(stage) for stage in self.stages],
        }
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Report:
        """The report that `to_json` wrote; what is no plain value or container has become its `repr`.

        Raises:
            UserError: The text is not such a report.
        """
        try:
            content = json.loads(text)
            if content["format"] != FORMAT:
                raise UserError(f"its format is {content['format']}, this version reads {FORMAT}; align once more")
            stages = [_stage_from_json(stage) for stage in content["stages"]]
            settings, facts = _decode(content["settings"]), content["environment"]
            return cls(str(content["title"]), str(content["precision"]), stages, dict(facts), dict(settings))
        except UserError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise UserError(f"it is no whole report of an alignment ({type(error).__name__}: {error})") from error

    def write(self, directory: str | Path) -> list[Path]:
        """Writes report.json, report.html and, if there are any, the tensors, also as reprod_log has them.

        Args:
            directory: Made if it is not there. Each tensor is in tensors.npz as NAME/reference and NAME/candidate. The
                files of the official review are left out where its package reprod_log is not installed.

        Returns:
            The files.

        Raises:
            UserError: The files cannot be written, or a tensor is no array of numbers.
        """
        from alignment import page  # draws with matplotlib, which takes a second to import

        directory = Path(directory)
        files = [directory / JSON_FILE, directory / PAGE_FILE]
        arrays = _arrays_by_member(self.tensors)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            files[0].write_text(self.to_json(), encoding="utf-8")
            files[1].write_text(page.render(self), encoding="utf-8")
            (directory / TENSORS_FILE).unlink(missing_ok=True)  # those of an earlier run belong to no report now
            if arrays:
                np.savez(directory / TENSORS_FILE, allow_pickle=False, **arrays)
                files.append(directory / TENSORS_FILE)
        except OSError as error:
            raise UserError(f"cannot write the report to {directory}: {error.strerror or error}") from error
        return files + self._write_official(directory)

    def _write_official(self, directory: Path) -> list[Path]:
        """Writes the files of the official review; returns their logs."""
        from alignment import official  # needs reprod_log

        has_steps = any(name.partition("/")[0] in official.STEPS for name in self.tensors)
        if not has_steps or importlib.util.find_spec("reprod_log") is None:
            return []
        return [directory / "log" / f"{step}_diff.log" for step in official.write_official(self.tensors, directory)]

    @classmethod
    def read(cls, directory: str | Path) -> Report:
        """The report that `write` left in a directory, tensors included.

        Raises:
            UserError: There is none, or its files are broken.
        """
        path = Path(directory) / JSON_FILE
        if not path.is_file():
            raise UserError(_no_report(Path(directory)))
        try:
            report = cls.from_json(path.read_text(encoding="utf-8"))
        except (UserError, OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read: {error}") from error
        if (path.parent / TENSORS_FILE).is_file():
            report.tensors = _read_tensors(path.parent / TENSORS_FILE)
        return report

    def with_tolerance(self, rtol: float, pattern: str | None = None) -> Report:
        """The same measurements, judged by another tolerance.

        What failed without a number (a shape, a NaN, a missing tensor, a constant) stays failed, what must be equal
        must still be equal, and guards and moments keep their own rules.

        Args:
            rtol: Largest error allowed, as a part of the scale.
            pattern: Regular expression to be found in `STAGE/KIND/NAME` of the records concerned, such as
                `forward/eval activation/backbone.conv1`; None for all.

        Raises:
            UserError: rtol is not a number above 0, or the pattern is not valid or fits no record with numbers.
        """
        if not 0 < rtol < math.inf:
            raise UserError(f"--rtol must be a number above 0, got {rtol}")
        wanted = _pattern(pattern)
        names = [_full_name(stage, record) for stage in self.stages for record in stage.records if _is_judged(record)]
        count = sum(bool(wanted.search(name)) for name in names)
        if pattern is not None and not count:
            example = f"the first is {names[0]}" if names else "there is none at all"
            raise UserError(f"--only {pattern} fits no record with a tolerance; {example}")
        stages = [_judge_again(stage, wanted, rtol) for stage in self.stages]
        judged = f"{count} records at {rtol:g}" + ("" if pattern is None else f" ({pattern})")
        return dataclasses.replace(self, stages=stages, settings={**self.settings, "judged again": judged})


def rejudge(directory: str | Path, rtol: float | None = None, pattern: str | None = None) -> Report:
    """Prints the report of a directory, judged by another tolerance if one is given.

    Args:
        directory: Where `Report.write` wrote.
        rtol, pattern: See `Report.with_tolerance`; without rtol the report is printed as it was judged.

    Returns:
        What was printed.

    Raises:
        UserError: There is no report, its files are broken, or the tolerance or pattern is not possible.
    """
    if rtol is None and pattern is not None:
        raise UserError(f"--only {pattern} needs --rtol: it says which records the new tolerance is for")
    report = Report.read(directory)
    if rtol is not None:
        report = report.with_tolerance(rtol, pattern)
    print(report.text(), end="")
    return report


def headline(report: Report) -> str:
    """Title, precision and verdict in one line."""
    compared = sum(len(stage.records) for stage in report.stages)
    counts = f"{compared} comparisons in {len(report.stages)} stages"
    failed = f"{len(report.failed_stages)} of {len(report.stages)} stages" if report.stages else "nothing was compared"
    verdict = f"passed ({counts})" if report.passed else f"DIFFERS ({failed})"
    return f"{report.title}, {report.precision}: {verdict}"


def worst(stage: Stage) -> Record | None:
    """The record that says most: a failure without a number, or else the one nearest to its tolerance or beyond."""
    unmeasured = [record for record in stage.failures if math.isnan(record.required)]
    return unmeasured[0] if unmeasured else largest(stage.records)


def number(value: float) -> str:
    """An error or tolerance in two digits; `-` where there is none."""
    return "-" if math.isnan(value) else f"{value:.2g}"


def plain(text: str) -> str:
    """Everything but printable ASCII as escapes: a terminal may know no more, and names may hold anything."""
    return "".join(letter if " " <= letter <= "~" else ascii(letter)[1:-1] for letter in text)


# ---------------------------------------------------------------------------------------------------------------------
# Many reports: the table of a README


def table(reports: Sequence[Report]) -> str:
    """A Markdown table with one row a report: the worst value of each stage over its tolerance, and the verdict."""
    names = list(dict.fromkeys(stage.name for report in reports for stage in report.stages))
    rows = [["model", "precision", *names, "verdict"], ["---"] * (len(names) + 3)]
    for report in reports:
        cells = {stage.name: _cell(stage) for stage in report.stages}
        verdict = "passed" if report.passed else "**DIFFERS**"
        rows.append([_markdown(report.title), report.precision, *(cells.get(name, "") for name in names), verdict])
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def write_table(path: str | Path, reports: Sequence[Report], command: str) -> None:
    """Puts the table between the lines BEGIN and END of a Markdown file, with date, versions and command.

    Args:
        path: The file.
        reports: The rows.
        command: What makes them again, as one types it.

    Raises:
        UserError: The file is not there or does not have the two lines once each, in this order.
    """
    before, _, after = between_marks(path, BEGIN, END)
    facts = [report.environment for report in reports]
    date = " / ".join(sorted({fact.get("date", "unknown date")[:10] for fact in facts}))
    versions = [f"{name} {_joined(facts, name)}" for name in ("paddle", "torch", "numpy", "opencv", "python")]
    head = f"{date}, {', '.join(versions)}; {_joined(facts, 'processor')}. Written by `{command}`."
    legend = (
        "Each cell: what came nearest to its limit, mostly an error as a part of its tensor's scale, and that limit."
    )
    Path(path).write_text(f"{before}{head}\n{legend}\n\n{table(reports)}{after}", encoding="utf-8")


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
        return f"**DIFFERS**: `{_markdown(_divergence(stage).place)}`"
    if record is None or record.required == 0:
        return f"{len(stage.records)} {'passed' if record is None else 'equal'}"
    return f"{number(record.required)} / {number(record.tolerance)}"


def _joined(facts: Sequence[dict[str, str]], name: str) -> str:
    return " / ".join(sorted({fact.get(name, "unknown") for fact in facts}))


def _markdown(text: str) -> str:
    return plain(text).replace("|", "\\|").replace("`", "'")


# ---------------------------------------------------------------------------------------------------------------------
# Text


def _divergence(stage: Stage) -> Divergence:
    """What a failed stage says, or its first failing record if it says nothing."""
    failures = stage.failures
    place = stage.place or (failures[0].name if failures else stage.name)
    sentence = stage.sentence or (_sentence(failures[0]) if failures else "nothing was compared")
    return Divergence(stage.name, place, sentence)


def _sentence(record: Record) -> str:
    return f"the {record.kind} {record.name} is the first that differs: {record.reason}"


def _stage_table(stages: Sequence[Stage]) -> list[str]:
    """The lines of the table, its columns aligned."""
    rows = [("stage", "verdict", "compared", "differ", "worst record", "required", "allowed", "seconds")]
    for stage in stages:
        record = worst(stage)
        numbers = (number(record.required), number(record.tolerance)) if record else ("-", "-")
        name = _shortened(record.name, NAME_COLUMNS) if record else "-"
        verdict = "passed" if stage.passed else "DIFFERS"
        counts = str(len(stage.records)), str(len(stage.failures))
        rows.append((_shortened(stage.name, 12), verdict, *counts, name, *numbers, f"{stage.seconds:.1f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    signs = "<<>><>>>"
    return ["  ".join(f"{cell:{s}{w}}" for cell, s, w in zip(row, signs, widths, strict=True)).rstrip() for row in rows]


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(plain(text), COLUMNS, initial_indent=indent, subsequent_indent="  ")


def _one_line(text: str) -> str:
    text = plain(text)
    return text if len(text) <= COLUMNS else f"{text[: COLUMNS - 3]}..."


def _shortened(name: str, columns: int) -> str:
    """Of a longer name the middle goes, since the ends of a path say most."""
    name = plain(name)
    if len(name) <= columns:
        return name
    tail = (columns - 3) * 2 // 3
    return f"{name[: columns - 3 - tail]}...{name[-tail:]}"


# ---------------------------------------------------------------------------------------------------------------------
# Another tolerance


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
    return dataclasses.replace(again, sentence=_sentence(first), place=first.name)


def _judged(record: Record, rtol: float) -> Record:
    passed = record.required <= rtol
    reason = "" if passed else f"off by {record.required:.2g} of its scale, allowed {rtol:.2g}"
    return dataclasses.replace(record, passed=passed, reason=reason, tolerance=rtol)


# ---------------------------------------------------------------------------------------------------------------------
# Files


def _stage_to_json(stage: Stage) -> dict[str, Any]:
    content = {name: _encode(value) for name, value in vars(stage).items() if name != "records"}
    return {**content, "passed": stage.passed, "records": [_fields(record) for record in stage.records]}


def _fields(measured: Record | Difference) -> dict[str, Any]:
    """The fields of a dataclass, tuples as lists: `_stage_from_json` knows which were tuples."""
    content = {}
    for name, value in vars(measured).items():
        if isinstance(value, Difference):
            content[name] = _fields(value)
        else:
            content[name] = _encode(list(value) if isinstance(value, tuple) else value)
    return content


def _stage_from_json(content: dict[str, Any]) -> Stage:
    fields = {name: _decode(value) for name, value in content.items() if name not in ("records", "passed")}
    return Stage(**{**fields, "records": [_record_from_json(record) for record in content["records"]]})


def _record_from_json(content: dict[str, Any]) -> Record:
    fields = {name: _decode(value) for name, value in content.items() if name != "difference"}
    fields["values"] = None if fields["values"] is None else tuple(fields["values"])
    if content["difference"] is not None:
        found = {name: _decode(value) for name, value in content["difference"].items()}
        tuples = {name: tuple(value) for name, value in found.items() if isinstance(value, list)}
        fields["difference"] = Difference(**{**found, **tuples})
    record = Record(**fields)
    if not isinstance(record.passed, bool) or not isinstance(record.margin, float):
        raise TypeError(f"record {record.name} has no verdict or no numbers")
    return record


def _encode(value: Any) -> Any:
    """A value as JSON; what JSON does not know is an object with one key that begins with `$`."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, list):
        return [_encode(item) for item in value]
    if isinstance(value, tuple):
        return {"$tuple": [_encode(item) for item in value]}
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: _encode(item) for key, item in value.items()}
        return {"$dict": [[_encode(key), _encode(item)] for key, item in value.items()]}
    return repr(value)


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$float" in value:
        return float(value["$float"])
    if "$tuple" in value:
        return tuple(_decode(item) for item in value["$tuple"])
    if "$dict" in value:
        return {_decode(key): _decode(item) for key, item in value["$dict"]}
    return {key: _decode(item) for key, item in value.items()}


def _arrays_by_member(tensors: dict[str, Sides]) -> dict[str, np.ndarray]:
    """The arrays by their names in the archive."""
    arrays = {}
    for name, sides in tensors.items():
        for side, value in zip(Sides._fields, sides, strict=True):
            array = arrays[f"{name}/{side}"] = np.asarray(value)
            if array.dtype.hasobject:
                raise UserError(f"tensor {name} of the {side} is a {type(value).__name__}, not an array of numbers")
    return arrays


def _read_tensors(path: Path) -> dict[str, Sides]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = dict.fromkeys(member.rpartition("/")[0] for member in archive.files)
            return {name: Sides(*(archive[f"{name}/{side}"] for side in Sides._fields)) for name in names}
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a whole archive of tensors; run the alignment again ({error})") from error


def _no_report(directory: Path) -> str:
    """The line for a directory without a report, which names those below it."""
    below = sorted(str(path.parent) for path in directory.glob(f"*/{JSON_FILE}"))
    advice = f"there is one in {', '.join(below)}" if below else "python -m alignment --output DIR writes one"
    return f"there is no {JSON_FILE} in {directory}; {advice}"
