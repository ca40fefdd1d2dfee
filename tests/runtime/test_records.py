"""JSON that this program reads: of the right type, or one error that names the place."""

import json
from typing import Any, TypedDict

import pytest

from runtime.errors import UserError
from runtime.records import MAX_BYTES, lines_of, read_lines, read_record, read_text


class Inner(TypedDict):
    size: float


class Outer(Inner, total=False):
    names: list[str]
    inner: dict[str, Inner]
    maybe: str | None


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    "content",
    [
        {"size": 1.5}, {"size": 1}, {"size": 0.0, "names": [], "inner": {}, "maybe": None},
        {"size": -1, "names": ["a"], "inner": {"x": {"size": 2, "more": [1]}}, "maybe": "b", "unknown": {"x": 1}},
    ],
)  # fmt: skip
def test_what_has_the_type_comes_back(tmp_path, content):
    assert read_record(write(tmp_path / "a.json", content), Outer) == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"\$ must be an object, got \[\]"),
        ({}, r"\$ lacks size"),
        ({"size": "1"}, r"\$\.size must be a number, got '1'"),
        ({"size": True}, r"\$\.size must be a number, got True"),
        ({"size": None}, r"\$\.size must be a number, got None"),
        ({"size": 1, "names": "abc"}, r"\$\.names must be a list, got 'abc'"),
        ({"size": 1, "names": ["a", 2]}, r"\$\.names\[1\] must be a text, got 2"),
        ({"size": 1, "inner": {"x": {}}}, r"\$\.inner\.x lacks size"),
        ({"size": 1, "inner": {"x": {"size": []}}}, r"\$\.inner\.x\.size must be a number, got \[\]"),
        ({"size": 1, "maybe": 3}, r"\$\.maybe must be a text, got 3"),
        ({"size": "x" * 10_000}, r"\$\.size must be a number, got 'x{56}\.\.\."),
    ],
)
def test_what_has_another_type_is_named_by_its_place(tmp_path, content, message):
    with pytest.raises(UserError, match=rf"a\.json is damaged \({message}"):
        read_record(write(tmp_path / "a.json", content), Outer)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "Expecting value"), ("{", "Expecting property name"), ("[" * 100_000, "nested too deep"),
        ('{"a":' * 100_000, "nested too deep"), ("1" * 5000, "Exceeds the limit"),
        ('{"size": NaN}', "NaN is no number"),
        ('{"size": -Infinity}', "-Infinity is no number"), ("\0", "holds a NUL character"),
        (" " * (MAX_BYTES + 1), "16 MiB"),
    ],
)  # fmt: skip
def test_what_is_no_json_is_one_error(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read_record(write(tmp_path / "a.json", content), Any)


def test_bytes_that_are_no_text_and_files_that_are_not_there(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"size":\n"\xff"}')
    with pytest.raises(UserError, match=r"a\.json is damaged \(line 2 is not UTF-8 \(byte 0xff\)"):
        read_record(tmp_path / "a.json", Any)
    with pytest.raises(UserError, match=r"cannot read .*b\.json: No such file"):
        read_record(tmp_path / "b.json", Any)
    with pytest.raises(UserError, match=r"cannot read .*: Is a directory"):
        read_record(tmp_path, Any)


def test_a_file_of_lines_is_read_as_far_as_it_is_written(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"size": 1}\n{"size": 2.5}\n{"si')
    assert read_lines(path, Inner) == [{"size": 1}, {"size": 2.5}]
    for damaged in ('{"size": 1}\n{"size": "x"}\n', '{"size": NaN}\n', "[" * 100_000 + "\n", "\n"):
        with pytest.raises(UserError, match=r"a\.jsonl is damaged"):
            read_lines(write(path, damaged), Inner)


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path):
    (tmp_path / "a").write_bytes(b'\xef\xbb\xbf{"size": 1}\n')
    assert read_record(tmp_path / "a", Outer) == {"size": 1}
    assert read_lines(tmp_path / "a", Outer) == [{"size": 1}]
    assert read_text(tmp_path / "a") == ['{"size": 1}']
    with pytest.raises(UserError, match=r"cannot read .*absent: No such file"):
        read_text(tmp_path / "absent")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []), ("a", ["a"]), ("a\n", ["a"]), ("a\n\n", ["a", ""]), ("a\r\nb\rc\n\rd", ["a", "b", "c", "", "d"]),
        ("a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei", ["a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei"]),
        ("\ufeffa\n\ufeffb\ufeffc", ["a", "b\ufeffc"]),
    ],
)  # fmt: skip
def test_only_line_ends_end_lines(text, lines):
    assert lines_of(text) == lines
