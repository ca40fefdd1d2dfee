"""Every gradient: of each parameter, of each layer's output, of the inputs, in training mode."""

from __future__ import annotations

from alignment.compare import Record, Stage, missing
from alignment.judge import ROUNDINGS, Judge
from alignment.run import Listener, Run
from alignment.session import Session, first_failure, layer_of


def backward(session: Session) -> Stage:
    """Compares the gradients of the first loss, in the order in which they are computed.

    Raises:
        IncomparableError: The pair has no loss.
    """
    stage = Stage("backward")
    function = session.objective()
    untouched: dict[str, set[str]] = {}

    def each(run: Run, losses: Listener, activations: Listener, parameters: Listener) -> None:
        output = run.forward(session.pair.inputs, train=True, gradient_listener=activations)
        value = run.loss(getattr(function, run.side), output, session.pair.labels)
        losses("loss", run.array(value))
        run.backward(value)
        gradients = run.gradients()
        for name, gradient in gradients.items():
            if gradient is not None:
                parameters(name, gradient)
        untouched[run.side] = {name for name, gradient in gradients.items() if gradient is None}

    kinds = ["loss", "activation gradient", "gradient"]
    losses, activations, parameters = session.each(each, kinds, keep="backward", roundings=ROUNDINGS)
    session.gradients, session.activation_gradients = parameters, activations
    absent = _absent(parameters)
    stage.records = losses.in_order() + in_backward_order(activations, parameters) + absent
    if untouched["reference"]:
        names = sorted(untouched["reference"])
        stage.notes.append(f"{len(names)} trainable weights take no part in the loss: {', '.join(names[:3])}")
    _explain(stage, session, activations)
    return stage


def in_backward_order(activations: Judge, parameters: Judge) -> list[Record]:
    """Each output's gradient followed by those of its layer's own parameters, as the backward pass makes them."""
    left = dict(parameters.records)
    ordered = []
    for name in activations.truth:
        if name in activations.records:
            ordered.append(activations.records[name])
        for owned in [own for own in left if own.rpartition(".")[0] == layer_of(name)]:
            ordered.append(left.pop(owned))
    return ordered + list(left.values())[::-1]


def _absent(parameters: Judge) -> list[Record]:
    """Parameters that received a gradient in the reference only."""
    return [missing(name, "gradient", "candidate") for name in parameters.truth if name not in parameters.records]


def _explain(stage: Stage, session: Session, activations: Judge) -> None:
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
    order = list(activations.truth)
    position = order.index(name)
    return layer_of(order[position - 1]) if position else ""
