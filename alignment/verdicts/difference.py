"""How far an array is from the reference's.

What cannot be compared at all (a NaN, another shape, another type) has a problem here, and is never equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

CHUNK = 1 << 20  # elements; keeps the temporaries of one pass inside the cache
QUANTILES = (0.5, 0.9, 0.99, 0.999)
SAMPLE = 1 << 16  # quantiles and histogram of larger arrays are those of evenly spaced elements
DECADES = range(-18, 1)  # of the histogram: error / scale from 1e-18 to 1


@dataclass(frozen=True)
class Difference:
    """The statistics of candidate - reference."""

    shape: tuple[int, ...]  # of the reference, as is the type
    dtype: str
    problem: str = ""  # why the two cannot be compared or agree only by chance; empty if they can be
    scale: float = 0.0  # largest magnitude in the reference
    max_abs: float = math.nan  # largest error
    rel_max: float = math.nan  # the same relative to the scale
    rel_l2: float = math.nan  # Euclidean norm of the error relative to the reference's
    cosine: float = math.nan  # of the angle between the two as vectors
    rms: float = 0.0  # root of the mean square of the reference
    rms_error: float = math.nan  # and of the error
    quantiles: tuple[float, ...] = ()  # errors relative to the scale, at QUANTILES
    histogram: tuple[int, ...] = ()  # elements whose error / scale lies in each of DECADES; exact zeros in the first
    worst_index: tuple[int, ...] = ()  # where the largest error is
    worst_reference: float = math.nan  # both values there
    worst_candidate: float = math.nan


def measure(reference: np.ndarray, candidate: np.ndarray, same_type: bool = True, details: bool = True) -> Difference:
    """Compares two arrays.

    Args:
        reference: Of any shape and type.
        candidate: Must have the same shape and type and hold finite numbers, or the result has a `problem`.
        same_type: Whether the type counts.
        details: Whether quantiles and histogram are wanted.
    """
    shape, dtype = reference.shape, str(reference.dtype)
    problem = _problem(reference, candidate, same_type)
    if problem:
        return Difference(shape, dtype, problem)
    if reference.size == 0:
        return Difference(shape, dtype, "both are empty: nothing was compared")
    return _statistics(reference, candidate, details)


def _problem(reference: np.ndarray, candidate: np.ndarray, same_type: bool) -> str:
    if reference.shape != candidate.shape:
        return f"shape {list(candidate.shape)}, the reference has {list(reference.shape)}"
    if same_type and reference.dtype != candidate.dtype:
        return f"type {candidate.dtype}, the reference has {reference.dtype}"
    for side, array in (("reference", reference), ("candidate", candidate)):
        if array.dtype.kind == "f":
            bad = sum(int(part.size - np.isfinite(part).sum()) for part in _chunks(array))
            if bad:
                return f"{bad} of {array.size} values of the {side} are NaN or infinite"
    return ""


def _chunks(array: np.ndarray) -> list[np.ndarray]:
    flat = np.ascontiguousarray(array).reshape(-1)
    return [flat[start : start + CHUNK] for start in range(0, flat.size, CHUNK)]


def _statistics(reference: np.ndarray, candidate: np.ndarray, details: bool) -> Difference:
    """All statistics in one pass over chunks, in double precision."""
    max_abs, worst, scale, offset = -1.0, 0, 0.0, 0
    squares = np.zeros(4)
    for left, right in zip(_chunks(reference), _chunks(candidate), strict=True):
        a, b = left.astype(np.float64, copy=False), right.astype(np.float64, copy=False)
        error = np.abs(b - a)
        place = int(error.argmax())
        if error[place] > max_abs:
            max_abs, worst = float(error[place]), offset + place
        scale = max(scale, float(a.max()), -float(a.min()))
        squares += error @ error, a @ a, b @ b, a @ b
        offset += left.size
    square_error, square_reference, square_candidate, product = squares.tolist()
    index = tuple(int(i) for i in np.unravel_index(worst, reference.shape))
    relative = _sampled_errors(reference, candidate, scale) if details else np.empty(0)
    norms = math.sqrt(square_reference) * math.sqrt(square_candidate)
    return Difference(
        shape=reference.shape,
        dtype=str(reference.dtype),
        scale=scale,
        max_abs=max_abs,
        rel_max=ratio(max_abs, scale),
        rel_l2=ratio(math.sqrt(square_error), math.sqrt(square_reference)),
        cosine=product / norms if norms else float(square_error == 0),
        quantiles=tuple(float(q) for q in np.quantile(relative, QUANTILES)) if details else (),
        histogram=_histogram(relative) if details else (),
        rms=math.sqrt(square_reference / reference.size),
        rms_error=math.sqrt(square_error / reference.size),
        worst_index=index,
        worst_reference=float(reference[index]),
        worst_candidate=float(candidate[index]),
    )


def _sampled_errors(reference: np.ndarray, candidate: np.ndarray, scale: float) -> np.ndarray:
    """Errors relative to the scale, of SAMPLE evenly spaced elements at most."""
    step = max(1, reference.size // SAMPLE)
    a, b = (np.ascontiguousarray(side).reshape(-1)[::step].astype(np.float64) for side in (reference, candidate))
    return np.abs(b - a) / (scale or 1.0)


def _histogram(relative: np.ndarray) -> tuple[int, ...]:
    with np.errstate(divide="ignore"):
        decades = np.floor(np.log10(relative))
    decades = np.clip(decades, DECADES[0], DECADES[-1]).astype(int) - DECADES[0]
    return tuple(int(n) for n in np.bincount(decades, minlength=len(DECADES)))


def ratio(error: float, scale: float) -> float:
    """An error relative to a scale; where the scale is 0, none or infinite."""
    return error / scale if scale else (0.0 if error == 0 else math.inf)
