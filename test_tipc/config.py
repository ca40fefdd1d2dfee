"""Reads TIPC's config files exactly: each line by its number, as PaddleOCR, PaddleVideo and PaddleMVF lay them out.

The shell readers of those repositories drop blank lines, so that every line after one is taken for its neighbor, cut a
value at its second colon, and expand a `*`. Here a line is one key, one colon and the rest, and a file that is not laid
out as its form says is refused with the number of the line.

Source: PaddleVideo, test_tipc/docs and test_tipc/configs; PaddleMVF, test_tipc/configs/mvf/train_infer_python.txt.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import UserError

ANY = ""  # where the form leaves the key to the repository: it is the flag that its commands know
MODES = (
    "lite_train_lite_infer", "lite_train_whole_infer", "whole_train_whole_infer", "whole_infer", "klquant_whole_infer",
)  # fmt: skip
# A program that takes clips and gives logits; TIPC has no form for it.
_PROGRAM = (
    ("model_name", "model_name"), ("python", "python"), ("trans_model", "trans_model"), ("model_dir", ANY),
    ("save_dir", ANY), ("inference", "inference"), ("model", ANY), ("clips", ANY), ("logits", ANY), ("input", ANY),
)  # fmt: skip
CONVERSIONS = ("onnx", "mnn", "ncnn")  # TIPC has a form for the first; the others have the same lines


def _conversion(key: str) -> tuple[tuple[str, str], ...]:
    """A graph for another engine, and inference with it."""
    return (
        ("model_name", "model_name"), ("python", "python"), ("converter", key), ("model_dir", ANY),
        ("model_file", ANY), ("params_file", ANY), ("save_file", ANY), ("opset", ANY), ("checker", ANY),
        ("inference", "inference"), ("config", ANY), ("onnx_file", ANY), ("input", ANY),
    )  # fmt: skip


# Form -> the lines in order, each (our name for it, the key it must have); a name alone stands for a fixed line.
FORMS: dict[str, tuple[tuple[str, str] | str, ...]] = {
    "train_params": (
        "=train_params", ("model_name", "model_name"), ("python", "python"), ("gpu_list", "gpu_list"),
        ("device", ANY), ("amp", ANY), ("epochs", ANY), ("save_dir", ANY), ("batch_size", ANY), ("pretrained", ANY),
        ("train_model_name", "train_model_name"), ("train_data", ANY), ("train_param", ANY), "##",
        ("trainer", "trainer"), ("norm_train", "norm_train"), ("pact_train", "pact_train"),
        ("fpgm_train", "fpgm_train"), ("distill_train", "distill_train"), ("train_5", ANY), ("train_6", ANY), "##",
        "=eval_params", ("eval", "eval"), ("eval_weights", ANY), "##",
        "=infer_params", ("export_dir", ANY), ("export_weights", ANY), ("norm_export", "norm_export"),
        ("quant_export", "quant_export"), ("fpgm_export", "fpgm_export"), ("distill_export", "distill_export"),
        ("export1", "export1"), ("export2", "export2"), ("inference_dir", "inference_dir"),
        ("infer_model", "infer_model"), ("infer_export", "infer_export"), ("infer_quant", "infer_quant"),
        ("inference", "inference"), ("use_gpu", ANY), ("mkldnn", ANY), ("cpu_threads", ANY),
        ("infer_batch_size", ANY), ("tensorrt", ANY), ("precision", ANY), ("model_file", ANY), ("input", ANY),
        ("save_log", ANY), ("benchmark", ANY), ("params_file", ANY),
    ),
    **{f"paddle2{name}_params": (f"=paddle2{name}_params", *_conversion(f"2{name}")) for name in CONVERSIONS},
    "serving_params": (
        "=serving_params", ("model_name", "model_name"), ("python", "python"), ("trans_model", "trans_model"),
        ("model_dir", ANY), ("model_file", ANY), ("params_file", ANY), ("server_dir", ANY), ("client_dir", ANY),
        ("serving_dir", "serving_dir"), ("web_service", "web_service"), ("pipline", "pipline"), ("input", ANY),
    ),
    "cpp_infer_params": ("=cpp_infer_params", *_PROGRAM),
    "lite_infer_params": ("=lite_infer_params", *_PROGRAM),
    "node_infer_params": ("=node_infer_params", *_PROGRAM),
}  # fmt: skip
# Sections that may follow the 51 lines: PaddleVideo's three, and ours: ground truth, required accuracy.
SECTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "infer_benchmark_params": (("random_infer_input", "random_infer_input"),),
    "train_benchmark_params": (
        ("bench_batch_size", "batch_size"), ("bench_precision", "fp_items"), ("bench_epoch", "epoch"),
        ("bench_profiler", ANY), ("bench_flags", "flags"), ("bench_iters", "max-iters"),
    ),
    "to_static_train_benchmark_params": (("to_static", "to_static_train"),),
    "certification_params": (("ground_truth", "ground_truth"), ("accuracy", ANY), ("int8_drop", "int8_drop")),
}  # fmt: skip
TRAINERS = ("norm_train", "pact_train", "fpgm_train", "distill_train", "train_5", "train_6")
_BANNER = re.compile(r"=+(\w+?)=+")
_LIST_OF = r"(?:{0})(?:\|(?:{0}))*"
_BY_MODE = r"null|{0}|\w+={0}(?:\|\w+={0})*"
_FRACTION = r"(?:0(?:\.\d+)?|1(?:\.0+)?)"
# What a value must look like where the chains depend on it.
_VALUES = {
    "model_name": (r"\w[\w.-]*", "the name of a folder"),
    "python": (r"\S+", "one executable"),
    "gpu_list": (
        _LIST_OF.format(r"(?:127\.0\.0\.1(?:,127\.0\.0\.1)+;)?-1(?:,-1)*|\d+(?:,\d+)*"),
        "entries separated by |: cards such as 0 or 0,1, or one -1 for each process without a card, and in front of it "
        "127.0.0.1,127.0.0.1; for two nodes, both of this machine",
    ),
    "trainer": (_LIST_OF.format(r"\w+"), "names of the lines that follow, separated by |"),
    "infer_quant": ("True|False|null", "True or False"),
    "use_gpu": (_LIST_OF.format("True|False") + "|null", "True, False or True|False"),
    "mkldnn": (_LIST_OF.format("True|False") + "|null", "True, False or True|False"),
    "cpu_threads": (_LIST_OF.format(r"\d+") + "|null", "numbers separated by |"),
    "infer_batch_size": (_LIST_OF.format(r"\d+") + "|null", "numbers separated by |"),
    "precision": (_LIST_OF.format("fp32|fp16|bf16|int8") + "|null", "fp32, fp16, bf16 or int8, separated by |"),
    "benchmark": ("True|False|null", "True or False"),
    "epochs": (_BY_MODE.format(r"\d+"), "a number, or mode=number separated by |"),
    "batch_size": (_BY_MODE.format(r"\d+"), "a number, or mode=number separated by |"),
    "accuracy": (_BY_MODE.format(_FRACTION), "a fraction from 0 to 1, or mode=fraction separated by |"),
    "int8_drop": (_FRACTION, "a fraction from 0 to 1"),
    "bench_flags": (r"null|\w+=[^;]+(?:;\w+=[^;]+)*", "NAME=VALUE separated by ;"),
    "bench_batch_size": (_LIST_OF.format(r"\d+"), "numbers separated by |"),
    "bench_iters": (r"\d+", "a number"),
}


class ConfigError(UserError):
    """A config file that cannot be read exactly, or that lacks what a chain needs."""


@dataclass(frozen=True)
class Line:
    """One line: `key:value`, with its number in the file."""

    number: int
    key: str
    value: str


@dataclass(frozen=True)
class Config:
    """A config file.

    Attributes:
        path: Where it was read.
        form: The banner of its first line, a key of FORMS.
        lines: Our name -> the line.
    """

    path: Path
    form: str
    lines: dict[str, Line]

    def __getitem__(self, name: str) -> str:
        """Value of a line; empty for `null`, for nothing, and for a section that is not there."""
        line = self.lines.get(name)
        return "" if line is None or line.value == "null" else line.value

    def need(self, name: str) -> str:
        """Value of a line that a chain cannot do without; raises ConfigError if there is none."""
        if self[name]:
            return self[name]
        if name not in self.lines:
            section = next(title for title, rows in SECTIONS.items() if name in dict(rows))
            raise ConfigError(f"{self.path} has no section {section}: this chain needs its line {name}")
        line = self.lines[name]
        raise self.error(name, f"{line.key} is {line.value or 'empty'}, this chain needs a value")

    @property
    def metric(self) -> str:
        """The figure of a test that a chain looks at: what the line of the required accuracy calls it."""
        return self.lines["accuracy"].key if "accuracy" in self.lines else "top1_acc"

    def argv(self, name: str) -> list[str]:
        """The argv of a command, split as by a shell with nothing expanded; empty for `null`."""
        return self._split(name, self[name])

    def _split(self, name: str, text: str) -> list[str]:
        try:
            return shlex.split(text)
        except ValueError as error:
            raise self.error(name, f"a quotation mark is not closed ({error})") from error

    def choices(self, name: str) -> list[str]:
        """The values of a list `a|b`; none for `null`."""
        return self[name].split("|") if self[name] else []

    def first(self, name: str) -> str:
        """The first value of a list `a|b`; empty for `null`."""
        return self[name].partition("|")[0]

    def by_mode(self, name: str, mode: str) -> str:
        """The value of a mode in `mode_a=1|mode_b=2`, or the value itself where it names no modes.

        Raises:
            ConfigError: It names modes, but not this one.
        """
        if "=" not in self[name]:
            return self[name]
        values = {part.partition("=")[0]: part.partition("=")[2] for part in self.choices(name)}
        if not values.get(mode):
            raise self.error(name, f"{self[name]} names no value for the mode {mode}")
        return values[mode]

    def flag(self, name: str, *values: str) -> list[str]:
        """A flag as TIPC writes it, `key=value`, and further values after it; nothing where key or value is null."""
        key = self.lines[name].key
        if key == "null" or not values or values[0] in ("", "null"):
            return []
        argv = self._split(name, key)
        return [*argv[:-1], f"{argv[-1]}={values[0]}"] if len(values) == 1 else [*argv, *values]

    def training(
        self, command: Sequence[str], run: Path, epochs: str, batch_size: str, device: str = "", amp: str = ""
    ) -> list[str]:
        """The argv of a training, without what stands in front of its script: a command and flags of lines 5 to 13."""
        flags = {
            "device": device, "amp": amp, "epochs": epochs, "save_dir": str(run), "batch_size": batch_size,
            **{name: self[name] for name in ("pretrained", "train_data", "train_param")},
        }  # fmt: skip
        return [*command, *(word for name, value in flags.items() for word in self.flag(name, value))]

    def trainer(self, name: str) -> list[str]:
        """The argv of the training that line 15 calls by this name; raises ConfigError if no line does it."""
        for line in TRAINERS:
            if self.lines[line].key == name and self[line]:
                return self.argv(line)
        raise self.error("trainer", f"no line from 16 to 21 has a command for {name}")

    def error(self, name: str, what: str) -> ConfigError:
        """A ConfigError that names the line."""
        return ConfigError(f"{self.path}, line {self.lines[name].number}: {what}")


def read_config(path: str | Path, *forms: str) -> Config:
    """Reads a config file.

    Args:
        path: The file.
        forms: Keys of FORMS that the caller takes; none takes all.

    Raises:
        ConfigError: There is no such file, or a line is not what its number says; the message names it.
    """
    path = Path(path)
    try:
        rows = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    while rows and not rows[-1].strip():
        rows.pop()
    form = _form_of(path, rows[0] if rows else "", forms or tuple(FORMS))
    layout = FORMS[form]
    lines: dict[str, Line] = {}
    for number, expected in enumerate(layout, start=1):
        if number > len(rows):
            raise ConfigError(f"{path} ends after line {len(rows)}; line {number} must be {_spelled(expected)}")
        _read_line(path, number, rows[number - 1], expected, lines)
    _read_sections(path, rows, len(layout), lines, allowed=form == "train_params")
    return Config(path, form, lines)


def _form_of(path: Path, row: str, forms: Sequence[str]) -> str:
    banner = _BANNER.fullmatch(row.strip())
    if banner is None or banner[1] not in forms:
        wanted = " or ".join(f"====={form}=====" for form in forms)
        raise ConfigError(f"{path}, line 1: must be {wanted}, found {row.strip() or 'nothing'!r}")
    return banner[1]


def _read_sections(path: Path, rows: list[str], start: int, lines: dict[str, Line], allowed: bool) -> None:
    seen: set[str] = set()
    while start < len(rows):
        banner = _BANNER.fullmatch(rows[start].strip())
        title = banner[1] if banner and allowed else ""
        if title not in SECTIONS or title in seen:
            known = f"known: {', '.join(SECTIONS)}, once each" if allowed else "the form ends above"
            raise ConfigError(f"{path}, line {start + 1}: {rows[start]!r} cannot stand here; {known}")
        seen.add(title)
        for expected in SECTIONS[title]:
            start += 1
            if start >= len(rows):
                raise ConfigError(f"{path} ends after line {start}; line {start + 1} must be {_spelled(expected)}")
            _read_line(path, start + 1, rows[start], expected, lines)
        start += 1


def _read_line(path: Path, number: int, row: str, expected: tuple[str, str] | str, lines: dict[str, Line]) -> None:
    """Checks a line and files it under our name."""
    where, row = f"{path}, line {number}", row.strip()
    banner = _BANNER.fullmatch(row)
    if isinstance(expected, str):
        if row != expected and not (banner and expected == f"={banner[1]}"):
            raise ConfigError(f"{where}: must be {_spelled(expected)}, found {row!r}{_HINT if not row else ''}")
        return
    name, key = expected
    found, colon, value = (part.strip() for part in row.partition(":"))
    if not colon or not found or banner:
        raise ConfigError(f"{where}: must be {_spelled(expected)}, found {row!r}{_HINT if not row else ''}")
    if key not in (ANY, found):
        raise ConfigError(f"{where}: the key must be {key}, found {found!r}: is a line missing above, or one too many?")
    rule = _VALUES.get(name)
    if rule and not re.fullmatch(rule[0], value):
        raise ConfigError(f"{where}: the value of {found} must be {rule[1]}, found {value!r}")
    if found == "null" and "|" in value:
        raise ConfigError(f"{where}: the values {value} have no flag: the key is null")
    lines[name] = Line(number, found, value)


_HINT = ": readers of this format drop a blank line and take every later one for its neighbor"


def _spelled(expected: tuple[str, str] | str) -> str:
    if isinstance(expected, str):
        return f"the banner ====={expected[1:]}=====" if expected.startswith("=") else expected
    return f"{expected[1] or 'a key'}:value ({expected[0]})"
