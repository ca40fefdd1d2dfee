"""Some steps of training: loss, rate, momentum, parameters and statistics after each."""

from __future__ import annotations

import numpy as np

from alignment.sides.pair import IncomparableError, Optimization, Sides
from alignment.sides.parameters import STATISTICS
from alignment.sides.run import Listener, Run
from alignment.stages.session import Session
from alignment.verdicts.judge import REFERENCE_RUNS, Judge
from alignment.verdicts.record import Record, Stage

MUCH = 0.05  # relative error
HINTS = {
    "rate": "Look at the schedule: warm-up, counting from 0 or 1, the step at which it is read.",
    "loss": "If it is that of step 1, see the stages forward and loss; if later, an update before it was wrong.",
    "slot": "Gradients are compared in the stage backward; if they agree, look at clipping, weight decay, momentum.",
    "parameter": "If its momentum agrees, look at the learning rate of its group and at Nesterov.",
    "buffer": "Look at BatchNorm's momentum, at its variance rule, and whether it trains at all.",
}


def train(session: Session) -> Stage:
    """Compares what each of the first steps of the optimizer leaves behind.

    Raises:
        IncomparableError: The pair has no loss or no optimizer.
    """
    if session.pair.optimizer is None:
        raise IncomparableError("the stage train needs optimizer=(reference, candidate), two functions of the model")
    factories, stage = session.pair.optimizer, Stage("train")
    rates: dict[str, list[float]] = {}

    def each(run: Run, losses: Listener, slots: Listener, parameters: Listener, buffers: Listener) -> None:
        run.build_optimizer(getattr(factories, run.side))
        rates[run.side] = []
        for index in range(session.train_steps):
            run.clear_gradients()
            value = session.training_loss(run, gradients=True)
            losses(f"step {index + 1}", run.array(value))
            run.backward(value)
            rates[run.side].append(run.step(index))
            for name, array in run.slots().items():
                slots(f"{name}, step {index + 1}", array)
            for name, array in run.weights().items():
                listener = buffers if name.endswith(tuple(STATISTICS.values())) else parameters
                # An integer buffer, such as an index of offsets, must stay what it is on both sides.
                listener(f"{name}, step {index + 1}", array if array.dtype.kind == "f" else array.astype(run.precision))

    judges = session.each(each, ["loss", "slot", "parameter", "buffer"], reference_runs=REFERENCE_RUNS)
    both = [Sides(*rates_of_step) for rates_of_step in zip(rates["reference"], rates["candidate"], strict=True)]
    records = [_rate(index, *sides) for index, sides in enumerate(both)]
    stage.records = by_step([*records, *(record for judge in judges for record in judge.all_in_order())])
    stage.records += _schedule(session.reference64.optimization, session.candidate.optimization)
    stage.notes += _loose(judges)
    session.tensors |= {f"backward/lr_{index}": Sides(*map(np.asarray, sides)) for index, sides in enumerate(both)}
    stage.blame(
        lambda failure: (
            f"In {session.train_steps} steps of training the {failure.kind} of {failure.name} is the first "
            f"to differ: {failure.reason}. {HINTS[failure.kind]}"
        )
    )
    stage.place = stage.place.split(",")[0]
    return stage


def by_step(records: list[Record]) -> list[Record]:
    """The records of step 1 first; in a step as they were given."""
    return sorted(records, key=lambda record: int(record.name.rpartition(" ")[2]))


def _schedule(reference: Optimization, candidate: Optimization) -> list[Record]:
    """Records of the rates of all steps of a whole run, where both sides have a function of the step."""
    if reference.rate is None or candidate.rate is None:
        return []
    return [_rate(step, reference.rate(step), candidate.rate(step)) for step in range(reference.steps)]


def _loose(judges: list[Judge]) -> list[str]:
    """Notes on kinds in which rounding has grown so far that float32 proves little."""
    return [
        f"rounding alone moves the {judge.kind} of {name} by {error:.1g} of its scale: only float64 can judge it"
        for judge in judges
        for name, error in [max(judge.reference_errors.items(), key=lambda item: item[1], default=("", 0.0))]
        if error > MUCH
    ]


def _rate(index: int, reference: float, candidate: float) -> Record:
    error = abs(candidate - reference) / (abs(reference) or 1.0)
    limit = 1e-7  # Paddle's scheduler-free rate goes through float32 where the default type is float32
    reason = "" if error <= limit else f"{candidate:.8g}, the reference has {reference:.8g}"
    return Record(f"step {index + 1}", "rate", error <= limit, reason, error, limit, values=(reference, candidate))
