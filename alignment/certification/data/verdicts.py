"""Verdicts of the stage `data`: when indices, frames and views count as equal, and what a difference looks like.

The tolerances are those that two correct implementations need, as measured (OpenCV 5.0 against PyTorch 2.13).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from alignment.verdicts.difference import measure
from alignment.verdicts.record import Record, tensor
from configs import Recipe

Judge = Callable[[str, str, Any, Any], Record]


@dataclass(frozen=True)
class Tolerance:
    """How far pixels may be apart: by so many levels of 255, and in so large a fraction of the values at all."""

    levels: float
    fraction: float


SLACK = 0.01  # levels: what float32 may lose when normalized values are turned back into levels
# Decoding: PyAV and OpenCV agree bit for bit (H.264, H.265, VP9, MPEG-4, MJPEG; 4:2:0 and 4:4:4; both ranges).
EQUAL = Tolerance(0, 0)
# OpenCV's bilinear resize has weights of 11 bits and cuts off between its two passes. Against exact arithmetic,
# 300 random sizes of noise: one level at most, in 13.5 % of the values. Rounding down would be 34 % and more.
RESIZED = Tolerance(1, 0.2)
# A clip is resized twice: two levels at most, in 27.5 % of the values.
RESIZED_TWICE = Tolerance(2, 0.4)
# Colors are float32 on one side and float64 on the other, then cut off to whole levels. For a factor such as 1.4,
# which no float holds, that is one level wherever the product is whole, a fifth of all values; the cases take factors
# that floats hold.
COLORED = Tolerance(1, 0.05)
# OpenCV's hue comes from a table: one step of 180 off in 1.7 % of all colors, which is up to 8.5 levels, and the
# steps that follow stretch it: 6 levels at most, in 3.7 % of the values of the demo's clips, one level in nearly all.
HUED = Tolerance(18, 0.1)
# The same after two resizes: 7 levels at most, in 37 % of the values.
RESIZED_AND_HUED = Tolerance(24, 0.6)
# Normalized values, relative to the largest: our table holds float32 roundings of 1 / std. Measured: 9e-8.
NORMALIZED = 2.0**-21


def same_by_situation(name: str, kind: str, reference: Mapping[str, Any], candidate: Mapping[str, Any]) -> Record:
    """All situations must give equal values; the reason names the first that does not."""
    for situation, expected in reference.items():
        reason = _unequal(expected, candidate[situation])
        if reason:
            return Record(name, kind, False, f"with {situation} {reason}", values=(expected, candidate[situation]))
    return Record(name, kind, True, values=(f"{len(reference)} situations", f"{len(candidate)} situations"))


def _unequal(expected: Any, found: Any) -> str:
    if not isinstance(expected, np.ndarray):
        return "" if expected == found else f"it is {found}, the reference has {expected}"
    found = np.asarray(found)
    if found.shape != expected.shape or found.dtype.kind != "i":
        return f"it is {found.dtype} {list(found.shape)}, the reference has whole numbers {list(expected.shape)}"
    if np.array_equal(expected, found):
        return ""
    place = tuple(int(i) for i in np.argwhere(expected != found)[0])
    view = f"of view {place[0]} " if len(place) > 1 else ""
    wrong = f"frame {place[-1]} {view}is {found[place]}, the reference takes {expected[place]}"
    return wrong + _pattern(expected, found)


def _pattern(expected: np.ndarray, found: np.ndarray) -> str:
    """What a whole array of wrong indices looks like."""
    if np.array_equal(found, expected[..., ::-1]):
        return " (all in reverse order)"
    if np.array_equal(found, expected[::-1]):
        return " (the views are in reverse order)"
    steps = np.unique(found - expected)
    if len(steps) == 1:
        return f" (all are off by {steps[0]:+d})"
    if np.abs(steps).max() == 1:
        return " (none is off by more than one frame: look at the rounding)"
    return ""


def pixels(tolerance: Tolerance) -> Judge:
    """The verdict over uint8 frames [..., H, W, 3]."""
    return partial(_levels, tolerance=tolerance)


def views(recipe: Recipe, tolerance: Tolerance) -> Judge:
    """The verdict over normalized views [V, T, 3, H, W], in levels of 255 before normalization."""

    def judge(name: str, kind: str, reference: np.ndarray, candidate: np.ndarray) -> Record:
        if reference.shape != candidate.shape or reference.dtype != candidate.dtype:
            return _levels(name, kind, reference, candidate, tolerance)
        std, mean = (np.array(values, np.float32) for values in (recipe.pixels.std, recipe.pixels.mean))
        left, right = (np.round(np.moveaxis(side, -3, -1) * std + mean, 3) for side in (reference, candidate))
        return _levels(name, kind, left, right, tolerance)

    return judge


def labeled(judge: Judge) -> Judge:
    """The verdict over pairs (views, label), of which `judge` looks at the views."""

    def judge_both(name: str, kind: str, reference: tuple[Any, int], candidate: tuple[Any, int]) -> Record:
        record = judge(name, kind, reference[0], candidate[0])
        if record.passed and reference[1] != candidate[1]:
            reason = f"the pixels agree, but the label is {candidate[1]}, the reference has {reference[1]}"
            return replace(record, passed=False, reason=reason)
        return record

    return judge_both


def _levels(name: str, kind: str, reference: np.ndarray, candidate: np.ndarray, tolerance: Tolerance) -> Record:
    difference = measure(reference, candidate)
    if difference.problem:
        return Record(name, kind, False, difference.problem, difference=difference)
    distance = np.abs(reference.astype(np.float64) - candidate)
    fraction = float((distance > SLACK).mean())
    allowed = (tolerance.levels + SLACK) / (difference.scale or 1.0)
    # A fraction that is twice too large counts like an error that is twice too large.
    required = max(difference.rel_max, allowed * fraction / tolerance.fraction if tolerance.fraction else 0.0)
    passed = required <= allowed
    excess = (
        f"off by up to {difference.max_abs:.3g} levels of 255 in {fraction:.1%} of the values "
        f"(allowed {tolerance.levels:g} in {tolerance.fraction:.0%})"
    )
    reason = "" if passed else excess + _look(reference, candidate, tolerance)
    return Record(name, kind, passed, reason, required, allowed, difference)


def _look(reference: np.ndarray, candidate: np.ndarray, tolerance: Tolerance) -> str:
    """What turns the reference [..., T, H, W, 3] into the candidate, if it is something simple."""
    if np.abs(reference.astype(np.float64) - candidate).max() <= tolerance.levels + SLACK:
        return ": in too many places, but nowhere by more than that: look at the rounding"
    changes = {
        "the channels are B, G, R": reference[..., ::-1],
        "left and right are exchanged": reference[..., ::-1, :],
        "up and down are exchanged": reference[..., ::-1, :, :],
        "the frames run backwards": np.flip(reference, -4),
        "the views run backwards": np.flip(reference, 0),
    }
    for sentence, changed in changes.items():
        if np.abs(changed.astype(np.float64) - candidate).max() <= tolerance.levels + SLACK:
            return f": {sentence}"
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1)):
        moved = np.roll(reference, (dy, dx), (-3, -2))
        inside = np.abs(moved.astype(np.float64) - candidate)[..., 1:-1, 1:-1, :]
        if inside.size and inside.max() <= tolerance.levels + SLACK:
            return f": the picture is moved by {dx:+d} pixels in x and {dy:+d} in y"
    return ""


def normalized(name: str, kind: str, reference: np.ndarray, candidate: np.ndarray) -> Record:
    """The verdict over normalized frames [T, 3, H, W]; a failure says by which line each channel follows."""
    record = tensor(name, kind, reference, candidate, NORMALIZED)
    if record.passed or np.isnan(record.required):
        return record
    return replace(record, reason=record.reason + _lines(reference, candidate))


def _lines(reference: np.ndarray, candidate: np.ndarray) -> str:
    parts = []
    for channel, letter in enumerate("RGB"):
        x, y = (side[:, channel].astype(np.float64).ravel() for side in (reference, candidate))
        slope, offset = np.polyfit(x, y, 1)
        if np.abs(slope * x + offset - y).max() > 1e-5 * np.abs(x).max():
            return "; it is no line of the reference's values in its channels: look at their order"
        if abs(slope - 1) > 1e-5 or abs(offset) > 1e-5:
            parts.append(f"{letter} is {slope:.6g} times the reference's plus {offset:.3g}")
    return "; " + ", ".join(parts) + ": another std changes the factor, another mean only the rest"
