"""Tells a bug from rounding.

Everything is measured against the float64 reference. In float64 the candidate must equal it to 1e-12 of each tensor's
scale: with constants that float32 holds, Paddle and PyTorch agree to 1e-15 for many steps, so what is larger is a bug,
unless the reference moves as far when its own weights are perturbed by a unit in their last place. In float32 the error
of the float32 reference is the yardstick: a candidate that errs a few times as much rounds in another order, one that
errs more computes something else.

Source: the rule of a double-precision judge is that of `torch._dynamo.utils.same`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from alignment.sides.pair import OUTPUT, IncomparableError
from alignment.verdicts.difference import Difference, measure, ratio
from alignment.verdicts.record import Record, missing
from alignment.verdicts.tape import Tape

EXACT = 1e-12  # of a tensor's scale, in float64
RATIO = 8.0  # errors of the candidate per error of the reference, in float32: sums run in another order
FLOOR = 2.0**-22  # relative error that float32 may always have: four roundings
REFERENCE_RUNS = 2  # of the float32 reference where errors jump: in gradients and over steps of training
RERUNS = 3  # of a perturbed reference, before such a verdict counts as a difference
NOISE = 2.0**-10  # gradients this much smaller than the largest of their kind are judged by that size
SINGLE = (1e-10, 1.5e-7)  # errors that a constant makes when it is rounded to float32
ROUNDING_AT_MOST = 1e-6  # larger errors of float64 are no matter of rounding, whatever the reference does


@dataclass
class Judge:
    """Judges the tensors of one kind in one pass against the float64 reference."""

    kind: str  # see Record
    precision: str  # of the candidate
    reference: Tape = field(default_factory=Tape)  # the tensors of the float64 reference, in order
    # By name, relative errors of the float32 or perturbed reference; in float64 measured only where one exceeds EXACT.
    reference_errors: dict[str, float] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)  # the verdicts so far, by name
    largest: tuple[float, float] = (0.0, 0.0)  # scale and root mean square in the float64 reference
    _usual: dict[str, float] | None = None

    def learn(self, name: str, array: np.ndarray) -> None:
        """Takes a tensor of the float64 reference; a Listener.

        Raises:
            IncomparableError: It is not finite.
        """
        scale = max(float(array.max()), -float(array.min())) if array.size else 0.0
        if not np.isfinite(scale):
            raise IncomparableError(
                f"the reference itself gives NaN or infinity: {self.kind} {name}; repair its weights or the inputs"
            )
        rms = float(np.sqrt(np.vdot(array, array) / array.size)) if array.size else 0.0
        self.largest = max(self.largest[0], scale), max(self.largest[1], rms)
        self.reference.add(name, array)

    def calibrate(self, name: str, array: np.ndarray) -> None:
        """Takes a tensor of a float32 or perturbed reference; of several runs the largest error counts; a Listener."""
        if name in self.reference:
            difference = measure(self.reference[name], array, same_type=False, details=False)
            if not difference.problem:
                self.reference_errors[name] = max(self._relative(difference), self.reference_errors.get(name, 0.0))
                self._usual = None

    def __call__(self, name: str, array: np.ndarray) -> None:
        """Judges a tensor of the candidate; a Listener. A layer that the reference does not have is passed over."""
        if name in self.reference:
            self.records[name] = self._judged(name, array)
        elif name.startswith(OUTPUT):
            self.records[name] = missing(name, self.kind, "reference")

    def _judged(self, name: str, array: np.ndarray) -> Record:
        reference = self.reference[name]
        if str(array.dtype) != self.precision:
            return Record(name, self.kind, False, f"type {array.dtype} where {self.precision} is computed")
        difference = measure(reference, array, same_type=False)
        if difference.problem:
            return Record(name, self.kind, False, difference.problem, difference=difference)
        return self._verdict(name, self._relative(difference), difference)

    def _verdict(self, name: str, required: float, difference: Difference | None) -> Record:
        tolerance = self._tolerance(name)
        passed = required <= tolerance
        reason = "" if passed else f"off by {required:.2g} of its scale, {tolerance:.2g} is allowed"
        if not passed and self.precision == "float64" and SINGLE[0] < required < SINGLE[1]:
            reason += " (the size of a constant that Paddle keeps in float32)"
        return Record(name, self.kind, passed, reason, required, tolerance, difference)

    @property
    def doubtful(self) -> bool:
        """Whether tensors fail by so little that rounding might be the reason."""
        return any(map(self._in_doubt, self.records.values()))

    def _in_doubt(self, record: Record) -> bool:
        if record.passed or record.difference is None or record.difference.problem:
            return False
        # The second: where every true value is zero, as of a pooling after an InstanceNorm, all that there is is
        # rounding of what went in.
        return (
            self.precision == "float32"
            or record.required < ROUNDING_AT_MOST
            or record.difference.max_abs <= EXACT * self.largest[0]
        )

    def judge_again(self) -> None:
        """Gives the records that failed by a number their verdict anew, after further runs of `calibrate`."""
        for name, record in self.records.items():
            if self._in_doubt(record):
                self.records[name] = self._verdict(name, record.required, record.difference)

    def in_order(self) -> list[Record]:
        """The verdicts in the order of the reference."""
        found = [self.records[name] for name in self.reference if name in self.records]
        absent = [name for name in self.reference if name not in self.records and name.startswith(OUTPUT)]
        found += [missing(name, self.kind, "candidate") for name in absent]
        return found + [record for name, record in self.records.items() if name not in self.reference]

    def all_in_order(self) -> list[Record]:
        """As `in_order`, with a failure for every tensor that the candidate has not shown."""
        return [self.records.get(name) or missing(name, self.kind, "candidate") for name in self.reference]

    def _tolerance(self, name: str) -> float:
        allowed = RATIO * max(self.reference_errors.get(name, 0.0), self._usual_error(step_of(name)))
        return max(allowed, EXACT if self.precision == "float64" else RATIO * FLOOR)

    def _usual_error(self, step: str) -> float:
        """What tensors lose by the depth of the network, where what a single one loses is chance.

        In one pass that is the median. Over steps of training a rounding error in one tensor reaches all others, at a
        ReLU or a maximum it grows in jumps, and so it is the largest error of the step.
        """
        if self._usual is None:
            groups: dict[str, list[float]] = defaultdict(list)
            for name, error in self.reference_errors.items():
                groups[step_of(name)].append(error)
            self._usual = {key: max(errors) if key else float(np.median(errors)) for key, errors in groups.items()}
        return self._usual.get(step, 0.0)

    def _relative(self, difference: Difference) -> float:
        """The error relative to the tensor's scale: the largest in float64, the root mean square in float32."""
        scale, rms = (0.0, 0.0) if "activation" in self.kind and "gradient" not in self.kind else self.largest
        if self.precision == "float64":
            return ratio(difference.max_abs, max(difference.scale, NOISE * scale))
        return ratio(difference.rms_error, max(difference.rms, NOISE * rms))


def step_of(name: str) -> str:
    """The step of training in the name of a tensor: `fc.weight, step 2` -> `step 2`; empty outside of training."""
    return name[name.index("step ") :] if "step " in name else ""
