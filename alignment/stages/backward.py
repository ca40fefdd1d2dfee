"""Every gradient: of each parameter, of each layer's output, of the inputs, in training mode."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from alignment.sides.run import Listener, Run
from alignment.stages.session import Session, first_failure, layer_of
from alignment.verdicts.judge import REFERENCE_RUNS, Judge
from alignment.verdicts.record import Record, Stage, missing


def backward(session: Session) -> Stage:
    """Compares the gradients of the first loss, in the order in which they are computed.

    Raises:
        IncomparableError: The pair has no loss.
    """
    stage = Stage("backward")
    untouched: dict[str, set[str]] = {}

    def each(run: Run, losses: Listener, activations: Listener, parameters: Listener) -> None:
        value = session.training_loss(run, gradient_listener=activations)
        losses("loss", run.array(value))
        run.backward(value)
        gradients = run.gradients()
        for name, gradient in gradients.items():
            if gradient is not None:
                parameters(name, gradient)
        untouched[run.side] = {name for name, gradient in gradients.items() if gradient is None}

    kinds = ["loss", "activation gradient", "gradient"]
    losses, activations, parameters = session.each(each, kinds, keep="backward", reference_runs=REFERENCE_RUNS)
    session.gradients, session.activation_gradients = parameters, activations
    absent = _one_sided(untouched, parameters, activations)
    stage.records = losses.in_order() + in_backward_order(activations, parameters) + absent
    if untouched["reference"]:
        names = sorted(untouched["reference"])
        stage.notes.append(f"{len(names)} trainable weights take no part in the loss: {', '.join(names[:3])}")
    _explain(stage, activations)
    wrong = [record for record in stage.failures if record.kind == "gradient" and record.difference is not None]
    if wrong and session.precision == "float64":
        stage.notes.append(arbitrate(session, max(wrong, key=lambda record: record.required).name))
    return stage


def arbitrate(session: Session, name: str) -> str:
    """Which side's gradient of a parameter is right, by finite differences of the reference's own loss.

    The parameter is moved along the difference of the two gradients, where they disagree most.
    """

    def loss(run: Run, gradients: bool = False) -> float:
        value = session.training_loss(run, gradients=True)
        if gradients:
            run.backward(value)
        return float(run.array(value))

    found: dict[str, np.ndarray] = {}
    for run in (session.reference64, session.candidate):
        run.reset()
        loss(run, gradients=True)
        gradient = run.gradients()[name]
        assert gradient is not None  # a parameter without one has no record with a difference
        found[run.side] = gradient
        run.reset()
    direction = found["reference"] - found["candidate"]
    direction /= np.linalg.norm(direction)
    weight = session.reference64.weights()[name]
    step = 1e-6 * max(1.0, float(np.linalg.norm(weight)))
    values = []
    for sign in (1, -1):
        session.reference64.set_weights({name: weight + sign * step * direction})
        values.append(loss(session.reference64))
        session.reference64.reset()
    slope = (values[0] - values[1]) / (2 * step)
    slopes = {side: float(np.vdot(gradient, direction)) for side, gradient in found.items()}
    nearer = min(slopes, key=lambda side: abs(slopes[side] - slope))
    return (
        f"finite differences: along the difference of the two gradients of {name} the reference's loss rises by "
        f"{slope:.4g}; its own gradient says {slopes['reference']:.4g}, the candidate's {slopes['candidate']:.4g}: "
        f"the {nearer}'s is right"
    )


def in_backward_order(activations: Judge, parameters: Judge) -> list[Record]:
    """Each output's gradient followed by those of its layer's own parameters, as the backward pass makes them.

    A parameter in a layer that is not called on both sides, as in an attention, belongs to the layer around that.
    """
    left = dict(parameters.records)
    shown = {layer_of(name) for name in activations.reference}
    ordered = []
    for name in activations.reference:
        if name in activations.records:
            ordered.append(activations.records[name])
        for owned in [own for own in left if _owner(own, shown) == layer_of(name)]:
            ordered.append(left.pop(owned))
    return ordered + list(left.values())[::-1]


def _owner(parameter: str, shown: Collection[str]) -> str:
    """The innermost layer around a parameter whose output's gradient is shown."""
    path = parameter.rpartition(".")[0]
    while path and path not in shown:
        path = path.rpartition(".")[0]
    return path


def _one_sided(untouched: dict[str, set[str]], parameters: Judge, activations: Judge) -> list[Record]:
    """Parameters and inputs that received a gradient on one side only."""
    records = [
        missing(name, "gradient", "candidate") for name in parameters.reference if name not in parameters.records
    ]
    records += [missing(name, "gradient", "reference") for name in untouched["reference"] - untouched["candidate"]]
    inputs = [name for name in activations.reference if name.startswith("input ") and name not in activations.records]
    return records + [missing(name, "activation gradient", "candidate") for name in inputs]


def _explain(stage: Stage, activations: Judge) -> None:
    failure = first_failure(stage.records)
    if failure is None:
        return
    stage.place = layer_of(failure.name)
    if failure.kind == "loss":
        stage.sentence = f"The loss differs in train mode: {failure.reason}. See the stages forward and loss."
    elif failure.kind == "gradient":
        stage.place = failure.name
        stage.sentence = (
            f"The gradient of {failure.name} is the first to differ: {failure.reason}. What reaches its layer from "
            "behind agrees, so look at this layer: a detached or frozen tensor, a shared weight, its own backward."
        )
    else:
        behind = _behind(activations, failure.name)
        stage.place = behind or stage.place
        stage.sentence = (
            f"On the way back the gradient of the output of {layer_of(failure.name)} is the first to differ: "
            f"{failure.reason}. It is made by what uses that output, last by {behind or 'the loss'}: look there."
        )


def _behind(activations: Judge, name: str) -> str:
    """The layer whose backward ran just before the gradient of that name came out."""
    order = list(activations.reference)
    position = order.index(name)
    return layer_of(order[position - 1]) if position else ""
