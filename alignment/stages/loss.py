"""The losses, on the same logits: value and gradient."""

from __future__ import annotations

import math

import numpy as np

from alignment.sides.run import Listener, Run
from alignment.stages.session import Session
from alignment.verdicts.record import Record, Stage

SPREAD = 2.0  # std of the logits: far from chance level, far from certainty
# So near to 0, or relative to it to chance level, a loss tells nothing. One that reads such logits may come as near as
# 1e-3 by chance.
ZERO, CHANCE = 1e-9, 1e-5


def loss(session: Session) -> Stage:
    """Compares every loss of the pair on logits of a known spread.

    Raises:
        IncomparableError: The pair has no loss.
    """
    stage = Stage("loss")
    shape = session.logits().reference.shape
    logits = np.random.default_rng(session.seed).normal(0.0, SPREAD, shape).astype(np.float32)

    def each(run: Run, values: Listener, gradients: Listener) -> None:
        nest = run.forward(session.pair.inputs)  # the loss may want more of it than its first tensor
        for name, functions in session.losses().items():
            tensor = run.tensor(logits, gradient=True)
            value = run.loss(getattr(functions, run.side), run.with_first(nest, tensor), session.pair.labels)
            run.backward(value)
            values(name, run.array(value))
            gradients(name, run.array(tensor.grad))

    values, gradients = session.each(each, ["loss", "loss gradient"], keep="loss")
    stage.records = values.in_order() + gradients.in_order()
    stage.records += [
        not_trivial(name, float(value), shape[1] if len(shape) > 1 else 1) for name, value in values.reference.items()
    ]
    stage.blame(_explanation)
    return stage


def _explanation(failure: Record) -> str:
    if failure.kind == "guard":
        return failure.reason
    return (
        f"The {failure.kind} '{failure.name}' differs on the same logits: {failure.reason}. "
        "Look at the labels, the smoothing and what it averages over."
    )


def not_trivial(name: str, value: float, classes: int) -> Record:
    """A guard against a loss that cannot tell: zero, or at chance level."""
    chance = math.log(classes) if classes > 1 else math.inf
    trivial = abs(value) < ZERO or abs(value - chance) < CHANCE * chance
    reason = f"the loss is {value:.4g}, chance level {chance:.4g}: it cannot show a mistake" if trivial else ""
    return Record(name, "guard", not trivial, reason)
