"""The default initializations: two fresh models must draw their weights from the same distributions."""

from __future__ import annotations

import math

import numpy as np

from alignment.stages.session import Session
from alignment.verdicts.record import Record, Stage, missing

LIMIT = 6.0  # standard errors
ENOUGH = 64  # elements from which on a spread is measured
SHAPE_KNOWN = 1000  # elements from which on a normal and a uniform distribution are told apart


def init(session: Session) -> Stage:
    """Compares mean, spread and shape of each weight's distribution in the two models as they were given."""
    stage = Stage("init")
    reference, candidate = session.fresh
    for name, array in reference.items():
        if name in candidate:
            stage.records += moments(name, array, candidate[name])
        else:
            stage.records.append(missing(name, "moments", "candidate"))
    stage.blame(
        lambda failure: (
            f"The two models draw {failure.name} differently: {failure.reason}. "
            "Look at the initializer of this layer (the defaults of the frameworks differ)."
        )
    )
    stage.place = stage.place.split(",")[0]
    stage.notes.append(f"one draw of each model, judged by {LIMIT:g} standard errors")
    return stage


def moments(name: str, reference: np.ndarray, candidate: np.ndarray) -> list[Record]:
    """Records of one weight's mean, standard deviation and, where there is enough of it, kurtosis."""
    a, b = reference.astype(np.float64).ravel(), candidate.astype(np.float64).ravel()
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        same = np.ptp(a) == np.ptp(b) == 0 and a[0] == b[0]
        reason = "" if same else f"{_shown(b)}, the reference has {_shown(a)}"
        return [Record(f"{name}, value", "moments", same, reason)]
    if a.size < ENOUGH:
        return []
    n = a.size
    spread = math.hypot(a.std(), b.std())
    flatness = max(_kurtosis(a), _kurtosis(b))
    found = [
        _record(f"{name}, mean", a.mean(), b.mean(), spread / math.sqrt(n)),
        _record(f"{name}, standard deviation", a.std(), b.std(), spread * math.sqrt((flatness - 1) / (4 * n))),
    ]
    if n >= SHAPE_KNOWN:
        found.append(_record(f"{name}, kurtosis", _kurtosis(a), _kurtosis(b), math.sqrt(2 * 24 / n)))
    return found


def _record(name: str, reference: float, candidate: float, standard_error: float) -> Record:
    errors = abs(candidate - reference) / standard_error
    reason = (
        ""
        if errors <= LIMIT
        else f"{candidate:.4g}, the reference has {reference:.4g}, {errors:.0f} standard errors apart"
    )
    return Record(name, "moments", errors <= LIMIT, reason, errors, LIMIT, values=(float(reference), float(candidate)))


def _kurtosis(values: np.ndarray) -> float:
    squares = np.square(values - values.mean())
    return float(np.square(squares).mean() / squares.mean() ** 2)


def _shown(values: np.ndarray) -> str:
    return f"all {values[0]:.4g}" if np.ptp(values) == 0 else f"values of std {values.std():.2g}"
