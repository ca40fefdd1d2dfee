"""The records that stages are made of, and the verdicts that need no judge."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alignment.verdicts.difference import Difference, measure, ratio


@dataclass
class Record:
    """One line of a stage: a tensor, a constant or a figure that was compared.

    Attributes:
        name: Path of a tensor or constant in the reference's names, such as `backbone.layer1.0.bn1.weight`.
        kind: What it is: `activation`, `gradient`, `activation gradient`, `parameter`, `buffer`, `slot`, `loss`,
            `metric`, `constant`, `weight`, `rate`, `indices`, `pixels`, `moments`, `guard`.
        passed: The verdict.
        reason: For a failure, the clause after "differs:".
        required: The smallest tolerance that would pass; NaN where no number is compared.
        tolerance: What the stage allows.
        difference: The statistics; None where no arrays are compared.
        values: For a constant, the reference's value and the candidate's.
    """

    name: str
    kind: str
    passed: bool
    reason: str = ""
    required: float = math.nan
    tolerance: float = math.nan
    difference: Difference | None = None
    values: tuple[Any, Any] | None = None

    @property
    def margin(self) -> float:
        """How many times the tolerance exceeds what is needed; infinite for equal arrays, NaN without numbers."""
        return math.inf if self.required == 0 else self.tolerance / self.required

    @property
    def sentence(self) -> str:
        """What a record that failed says where it is the first to do so."""
        return f"the {self.kind} {self.name} is the first that differs: {self.reason}"


@dataclass(frozen=True)
class Divergence:
    """The first thing that differs."""

    stage: str  # its name
    place: str  # the layer, tensor or constant
    sentence: str  # what that means, for somebody who has never seen this suite


@dataclass
class Stage:
    """What one stage found.

    Attributes:
        name: Its entry in the list of stages.
        records: In the order in which things are computed: the first that fails is the first divergence.
        sentence: On failure, what differs first and what that means, for somebody who has never seen this suite.
        place: On failure, the layer, tensor or constant that the sentence blames.
        notes: Facts to know that are no failures.
        seconds: Time taken.
    """

    name: str
    records: list[Record] = field(default_factory=list)
    sentence: str = ""
    place: str = ""
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failures(self) -> list[Record]:
        """The records that did not pass, in order."""
        return [record for record in self.records if not record.passed]

    @property
    def passed(self) -> bool:
        """Whether something was compared and all of it passed."""
        return bool(self.records) and not self.failures

    @property
    def divergence(self) -> Divergence:
        """What a failed stage says, or its first failing record if it says nothing."""
        first = self.failures[0] if self.failures else None
        sentence = first.sentence if first else "nothing was compared"
        return Divergence(self.name, self.place or (first.name if first else self.name), self.sentence or sentence)

    def blame(self, sentence: Callable[[Record], str]) -> None:
        """Takes the first record that did not pass, if any, for the place, and what is said of it for the sentence."""
        for failure in self.failures[:1]:
            self.place, self.sentence = failure.name, sentence(failure)


def exact(name: str, kind: str, reference: Any, candidate: Any) -> Record:
    """A record of two values that must be equal: constants, indices, names, bits of an array."""
    if isinstance(reference, np.ndarray) or isinstance(candidate, np.ndarray):
        return tensor(name, kind, np.asarray(reference), np.asarray(candidate), 0.0)
    passed = bool(reference == candidate)
    reason = "" if passed else f"{candidate!r}, the reference has {reference!r}"
    return Record(name, kind, passed, reason, values=(reference, candidate))


def tensor(
    name: str, kind: str, reference: np.ndarray, candidate: np.ndarray, tolerance: float, floor: float = 0.0
) -> Record:
    """A record of two arrays whose largest error must stay below a fraction of their scale.

    Args:
        name, kind: See Record.
        reference, candidate: The arrays.
        tolerance: Largest error allowed, relative to the scale.
        floor: Smallest scale: what is smaller than this in all of its elements is noise around zero.
    """
    difference = measure(reference, candidate)
    if difference.problem:
        return Record(name, kind, False, difference.problem, tolerance=tolerance, difference=difference)
    required = ratio(difference.max_abs, max(difference.scale, floor))
    passed = required <= tolerance
    reason = "" if passed else f"off by {required:.2g} of its scale, allowed {tolerance:.2g}"
    return Record(name, kind, passed, reason, required, tolerance, difference)


def missing(name: str, kind: str, side: str) -> Record:
    """A record of something that one side does not have.

    Args:
        side: `candidate` or `reference`: where it is missing.
    """
    return Record(name, kind, False, f"the {side} has none")


def largest(records: Sequence[Record]) -> Record | None:
    """The record nearest to its tolerance or furthest beyond; None if no record has numbers."""
    numeric = [record for record in records if not math.isnan(record.required)]
    return min(numeric, key=lambda record: record.margin, default=None)
