"""Frozen dataclasses of options: each field declares its help text, choices and range, checked when it is made."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, cast

from runtime.errors import UserError


class RecipeError(UserError):
    """A recipe holds a value that no run could use; the message names the field, the value and the way out."""


def option(
    default: Any,
    help: str,
    *,
    flag: str = "",
    of_weights: bool = False,
    choices: tuple[str, ...] = (),
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field with what its flag and its check need.

    Args:
        default: Its type is the field's type; a tuple's first element gives the type of the elements.
        help: Help text of the flag.
        flag: Name of the flag and of the JSON key, where it is not the field's.
        of_weights: Whether it belongs to the weights: with another value they give other numbers.
        choices: Allowed strings; empty allows any.
        at_least, above, at_most, below: Bounds of a number.
    """
    bounds = {"at_least": at_least, "above": above, "at_most": at_most, "below": below}
    return field(
        default=default,
        metadata={"help": help, "flag": flag, "of_weights": of_weights, "choices": choices, "bounds": bounds},
    )


def flag_of(field: dataclasses.Field[Any]) -> str:
    """Name of a field on the command line and in JSON."""
    return str(field.metadata["flag"] or field.name)


def fields_of(group: type[Options]) -> dict[str, dataclasses.Field[Any]]:
    """Flag name -> field of a group of options, in the order of the class."""
    return {flag_of(f): f for f in dataclasses.fields(group)}


@dataclass(frozen=True)
class Options:
    """What all groups of options share: types, choices and bounds are checked field by field, then `check` is called.

    Raises:
        RecipeError: A value has another type than its default, is not among the choices or is out of its range.
    """

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            object.__setattr__(self, f.name, _checked(f, getattr(self, f.name)))
        self.check()

    def check(self) -> None:
        """Raises RecipeError if fields do not fit each other; for subclasses to override."""

    def require(self, name: str, holds: bool, rule: str) -> None:
        """Raises RecipeError unless `holds`; `rule` completes the sentence "<flag> must be ..."."""
        if not holds:
            flags = {f.name: flag_of(f) for f in dataclasses.fields(self)}
            raise RecipeError(f"{flags[name]} must be {rule}, got {getattr(self, name)}")


def _checked(f: dataclasses.Field[Any], value: Any) -> Any:
    """The value in the type of the field's default."""
    value = _as_tuples(value)
    kind: Any = type(f.default)
    name = flag_of(f)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise RecipeError(f"{name} must be {kind.__name__}, got {value!r}")
    choices = f.metadata["choices"]
    if choices and value not in choices:
        raise RecipeError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    if kind is float and not math.isfinite(value):
        raise RecipeError(f"{name} must be a finite number, got {value}")
    if kind is tuple and not _holds_tuples(value):
        return _checked_numbers(name, value, cast("tuple[Any, ...]", f.default))
    if kind in (int, float):
        _check_bounds(name, value, f.metadata["bounds"])
    return value


def _check_bounds(name: str, value: Any, bounds: dict[str, float | None]) -> None:
    at_least, above, at_most, below = bounds.values()
    holds = (
        (at_least is None or value >= at_least)
        and (above is None or value > above)
        and (at_most is None or value <= at_most)
        and (below is None or value < below)
    )
    if holds:
        return
    if at_least is not None and at_most is not None:
        rule = f"between {at_least} and {at_most}"
    elif at_least == 0 and below is None:
        rule = "0 or more"
    else:
        words = {"at_least": "at least", "above": "above", "at_most": "at most", "below": "below"}
        rule = " and ".join(f"{words[key]} {limit}" for key, limit in bounds.items() if limit is not None)
    raise RecipeError(f"{name} must be {rule}, got {value}")


def _checked_numbers(name: str, values: Any, default: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values in the type of the default's elements; raises RecipeError for anything but finite numbers."""
    kind = type(default[0]) if default else int
    for value in values:
        if type(value) not in (int, kind) or not math.isfinite(value):
            raise RecipeError(f"{name} must hold finite numbers ({kind.__name__}), got {value!r}")
    return tuple(kind(value) for value in values)


def _as_tuples(value: Any) -> Any:
    """JSON's lists as tuples, at any depth."""
    return tuple(_as_tuples(v) for v in value) if isinstance(value, list) else value


def _holds_tuples(values: Any) -> bool:
    return any(isinstance(value, tuple) for value in values)
