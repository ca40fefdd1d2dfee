"""Reads texts and records, JSON files, that this program, another version of it or somebody else has written."""

from __future__ import annotations

import codecs
import json
import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints, is_typeddict

from runtime.errors import UserError

MAX_BYTES = 16 * 2**20  # of a file
_WORDS = {
    dict: "an object", list: "a list", str: "a text", int: "a whole number", float: "a number", bool: "true or false",
}  # fmt: skip

_BOM = "\ufeff"
_OTHER_MARKS = {  # those of UTF-32 first: one of them begins as one of UTF-16 does
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16",
}  # fmt: skip


def read_text(path: str | Path, error: type[UserError] = UserError) -> list[str]:
    """The lines of a text, see `decoded` and `lines_of`.

    Args:
        path: The file.
        error: Raised for whatever is wrong.
    """
    try:
        return lines_of(decoded(Path(path).read_bytes()))
    except OSError as cause:
        raise error(f"cannot read {path}: {cause.strerror or cause}") from cause
    except ValueError as cause:
        raise error(f"cannot read {path}: {cause}") from cause


def decoded(content: bytes) -> str:
    """A text in UTF-8, without the byte order mark that editors on Windows begin it with.

    Raises:
        ValueError: It is in another encoding, or holds a NUL character.
    """
    for mark, name in _OTHER_MARKS.items():
        if content.startswith(mark):
            raise ValueError(f"it is in {name}, which Windows calls Unicode: save it as UTF-8")
    if b"\0" in content:
        line = _line_at(content, content.index(b"\0"))
        raise ValueError(f"line {line} holds a NUL character: it is no text, or in UTF-16, and must be UTF-8")
    try:
        return content.decode("utf-8").removeprefix(_BOM)
    except UnicodeDecodeError as cause:
        line = _line_at(content, cause.start)
        raise ValueError(f"line {line} is not UTF-8 (byte {content[cause.start]:#x}): save it as UTF-8") from cause


def lines_of(text: str) -> list[str]:
    """The lines of a text, which end with LF, CR LF or CR.

    What else Unicode calls a line end, such as U+2028 or a form feed, is part of its line. A byte order mark before a
    line, as joining two files leaves it, is not.
    """
    lines = re.split(r"\r\n|\r|\n", text)
    return [line.removeprefix(_BOM) for line in (lines if lines[-1] else lines[:-1])]


def _line_at(content: bytes, place: int) -> int:
    return len(re.findall(rb"\r\n|\r|\n", content[:place])) + 1


def read_record(path: str | Path, kind: Any, error: type[UserError] = UserError, way_out: str = "") -> Any:
    """The content of a JSON file, if it has the type that it should have.

    Args:
        path: The file, UTF-8, of 16 MiB at most.
        kind: `bool`, `int`, `float` (which takes whole numbers, too), `str`, `list[X]`, `dict[str, X]`, `X | None`,
            `Any`, or a TypedDict; further keys than a TypedDict names are let pass.
        error: Raised for whatever is wrong.
        way_out: End of its message.

    Raises:
        UserError: The file cannot be read, is too large or no JSON, or holds another type than `kind` at some place,
            which the message names as `$.key[0]`.
    """
    return _reading(path, lambda content: parse_record(content, kind), error, way_out)


def read_lines(path: str | Path, kind: Any, error: type[UserError] = UserError, way_out: str = "") -> list[Any]:
    """The records of a file that has one in each line, see `read_record`; a last line without its end is not read."""
    records: list[Any] = _reading(
        path, lambda content: [parse_record(line, kind) for line in content.split(b"\n")[:-1]], error, way_out
    )
    return records


def _reading(path: str | Path, parse: Callable[[bytes], Any], error: type[UserError], way_out: str) -> Any:
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES // 2**20} MiB")
        return parse(content)
    except OSError as cause:
        raise error(f"cannot read {path}: {cause.strerror or cause}") from cause
    except ValueError as cause:
        raise error(f"{path} is damaged ({cause}){way_out}") from cause


def parse_record(content: bytes, kind: Any) -> Any:
    """The value of a JSON text, see `read_record`; raises ValueError if it is none, or has another type."""
    try:
        value = json.loads(decoded(content), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    check_type(value, kind)
    return value


def check_type(value: Any, kind: Any, place: str = "$") -> None:
    """Raises ValueError unless a value of JSON has a type, see `read_record`; the message names the place."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any or (value is None and types.NoneType in parts):
        return
    if origin in (Union, types.UnionType):
        check_type(value, parts[0], place)
        return
    _require(value, dict if is_typeddict(kind) else origin or kind, place)
    if is_typeddict(kind):
        _check_keys(value, kind, place)
    elif origin is dict:
        for name, item in value.items():
            check_type(item, parts[1], f"{place}.{name}")
    elif origin is list:
        for index, item in enumerate(value):
            check_type(item, parts[0], f"{place}[{index}]")


def _check_keys(value: dict[str, Any], kind: Any, place: str) -> None:
    for name in sorted(kind.__required_keys__ - value.keys()):
        raise ValueError(f"{place} lacks {name}")
    for name, part in get_type_hints(kind).items():
        if name in value:
            check_type(value[name], part, f"{place}.{name}")


def _require(value: Any, kind: type, place: str) -> None:
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise ValueError(f"{place} must be {_WORDS[kind]}, got {shown(value)}")


def shown(value: Any) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
