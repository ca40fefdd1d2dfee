"""A report on disk: JSON for CI, a page, its tensors, the files of the official review; and back."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from alignment.reports import page, reprod_log
from alignment.reports.report import Report
from alignment.sides.pair import Sides
from alignment.verdicts.difference import Difference
from alignment.verdicts.record import Record, Stage
from runtime.errors import UserError

JSON_FILE, PAGE_FILE, TENSORS_FILE = "report.json", "report.html", "tensors.npz"
FORMAT = 1  # of report.json


def write_report(report: Report, directory: str | Path) -> list[Path]:
    """Writes report.json, report.html and, if there are any, the tensors, also as reprod_log has them.

    Args:
        directory: Made if it is not there. Each tensor is in tensors.npz as NAME/reference and NAME/candidate. The
            files of the official review are left out where its package reprod_log is not installed.

    Returns:
        The files.

    Raises:
        UserError: The files cannot be written, or a tensor is no array of numbers.
    """
    directory = Path(directory)
    files = [directory / JSON_FILE, directory / PAGE_FILE]
    arrays = _arrays_by_member(report.tensors)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        files[0].write_text(to_json(report), encoding="utf-8")
        files[1].write_text(page.render(report), encoding="utf-8")
        if arrays or (directory / TENSORS_FILE).exists():  # those of an earlier run belong to no report now
            np.savez(directory / TENSORS_FILE, allow_pickle=False, **arrays)
            files.append(directory / TENSORS_FILE)
    except OSError as error:
        raise UserError(f"cannot write the report to {directory}: {error.strerror or error}") from error
    has_steps = any(name.partition("/")[0] in reprod_log.STEPS for name in report.tensors)
    if not has_steps or importlib.util.find_spec("reprod_log") is None:
        return files
    verdicts = reprod_log.write_official(report.tensors, directory)
    return files + [directory / "log" / f"{step}_diff.log" for step in verdicts]


def read_report(directory: str | Path) -> Report:
    """The report that `write_report` left in a directory, tensors included.

    Raises:
        UserError: There is none, or its files are broken.
    """
    path = Path(directory) / JSON_FILE
    if not path.is_file():
        below = sorted(str(other.parent) for other in path.parent.glob(f"*/{JSON_FILE}"))
        advice = f"there is one in {', '.join(below)}" if below else "python -m alignment --output DIR writes one"
        raise UserError(f"there is no {JSON_FILE} in {path.parent}; {advice}")
    try:
        report = from_json(path.read_text(encoding="utf-8"))
    except (UserError, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if (path.parent / TENSORS_FILE).is_file():
        report.tensors = _read_tensors(path.parent / TENSORS_FILE)
    return report


def to_json(report: Report) -> str:
    """The report without its tensors as strict JSON; numbers that JSON lacks are objects such as {"$float": "nan"}.

    `passed` and `first_divergence` are there for CI, `from_json` computes them anew.
    """
    divergence = report.first_divergence
    content = {
        "format": FORMAT,
        "title": report.title,
        "precision": report.precision,
        "passed": report.passed,
        "first_divergence": dataclasses.asdict(divergence) if divergence else None,
        "settings": _encode(report.settings),
        "environment": report.environment,
        "stages": [_stage_to_json(stage) for stage in report.stages],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def from_json(text: str) -> Report:
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
        return Report(str(content["title"]), str(content["precision"]), stages, dict(facts), dict(settings))
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"it is no whole report of an alignment ({type(error).__name__}: {error})") from error


def _stage_to_json(stage: Stage) -> dict[str, Any]:
    content = {name: _encode(value) for name, value in vars(stage).items() if name != "records"}
    return {**content, "passed": stage.passed, "records": [_fields(record) for record in stage.records]}


def _fields(measured: Record | Difference) -> dict[str, Any]:
    """The fields of a dataclass, tuples as lists: `_stage_from_json` knows which were tuples."""
    content = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(measured).items()}
    return {name: _fields(v) if isinstance(v, Difference) else _encode(v) for name, v in content.items()}


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
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            names = dict.fromkeys(member.rpartition("/")[0] for member in archive.files)
            return {name: Sides(*(archive[f"{name}/{side}"] for side in Sides._fields)) for name in names}
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a whole archive of tensors; run the alignment again ({error})") from error
