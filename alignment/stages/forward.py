"""Every layer's output, in evaluation and in training, in one go and each layer alone."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from alignment.sides.pair import OUTPUT, Sides
from alignment.sides.run import Listener, Run
from alignment.stages.session import Session, first_failure, layer_of
from alignment.verdicts.difference import measure
from alignment.verdicts.judge import Judge
from alignment.verdicts.record import Stage


def forward(session: Session) -> Stage:
    """Compares the outputs of all layers.

    A layer whose output differs may have been given inputs that differ. So the candidate runs once more with each
    layer's output replaced by the reference's as soon as it has been judged: what differs then is wrong by itself.
    """
    stage = Stage("forward")
    session.require_repeatable()
    for mode in ("eval", "train"):
        outputs: dict[str, np.ndarray] = {}

        def each(run: Run, listen: Listener, train: bool = mode == "train", found: dict = outputs) -> None:
            output = run.forward(session.pair.inputs, listen, train=train)
            if run in (session.reference, session.candidate):
                found[run.side] = run.first_array(output)

        judge = session.compare(f"{mode} activation", each)
        alone = judge_alone(session, judge, mode)
        stage.records += judge.in_order() + alone.in_order()
        session.tensors[f"forward/{mode}"] = Sides(**outputs)
        if mode == "eval":
            session.activations = judge
            stage.notes += _unseen(session, judge)
        if not stage.place and first_failure(judge.in_order()):
            _explain(stage, session, judge, alone, mode)
    return stage


def judge_alone(session: Session, judge: Judge, mode: str) -> Judge:
    """Judges each layer of the candidate on the reference's inputs.

    Alone a layer rounds little, so that the float32 or perturbed reference runs only where that is in doubt.
    """
    alone = Judge(f"{mode} activation alone", session.precision, judge.reference, largest=judge.largest)
    session.candidate.reset()
    run_isolated(session.candidate, session.pair.inputs, judge.reference, alone, mode)
    if alone.doubtful:
        run = session.reference
        run.reset()
        if session.reference32:
            run_isolated(run, session.pair.inputs, judge.reference, alone.calibrate, mode)
        else:
            run.perturb(0, halves=2)
            run.forward(session.pair.inputs, alone.calibrate, train=mode == "train")
            run.reset()
        alone.judge_again()
    return alone


def run_isolated(
    run: Run, inputs: tuple[np.ndarray, ...], reference: Mapping[str, np.ndarray], listener: Listener, mode: str
) -> None:
    """A forward pass in which each output, after the listener has seen it, is replaced by the reference's.

    So every layer works on the reference's activations, whatever the layers before it have done.
    """

    def replace(name: str, array: np.ndarray) -> np.ndarray | None:
        listener(name, array)
        replacement = reference.get(name)
        return replacement if replacement is not None and replacement.shape == array.shape else None

    run.forward(inputs, replace, train=mode == "train")


def _explain(stage: Stage, session: Session, judge: Judge, alone: Judge, mode: str) -> None:
    record = first_failure(judge.in_order())
    assert record is not None
    stage.place = layer_of(record.name)
    guilty = [layer_of(r.name) for r in alone.in_order() if not r.passed]
    layer = session.candidate.layers.get(stage.place)
    kind = "" if layer is None else f" ({type(layer).__name__})"
    what = "the model's output" if stage.place == OUTPUT else f"the output of {stage.place}{kind}"
    stage.sentence = (
        f"In {mode} mode {what} is the first to differ: {record.reason}. {_inputs(session, stage.place, mode)}"
    )
    others = [path for path in dict.fromkeys(guilty) if path != stage.place]
    if others:
        shown = ", ".join(others[:6]) + (", ..." if len(others) > 6 else "")
        stage.notes.append(f"also wrong by themselves, given the reference's inputs ({mode}): {shown}")


def _inputs(session: Session, path: str, mode: str) -> str:
    """Whether the inputs of a layer agree, as a sentence."""
    if path == OUTPUT:
        return "All layers before it agree: look at what the model's forward does after its last layer."
    seen = []
    for run in (session.reference, session.candidate):
        run.reset()
        run.inputs_of = path
        run.forward(session.pair.inputs, train=mode == "train")
        run.inputs_of = ""
        seen.append(run.seen_inputs)
    worst = _worst(*seen)
    limit = 1e-12 if session.precision == "float64" else 1e-3
    if worst <= limit:
        return f"Its inputs agree (to {worst:.1g}), so the mistake is in it: its code, its constants or its weights."
    return f"Its inputs differ already (by {worst:.1g}), and no layer before it: look at the code that feeds it."


def _worst(reference: list[np.ndarray], candidate: list[np.ndarray]) -> float:
    if len(reference) != len(candidate):
        return float("inf")
    differences = [measure(a, b) for a, b in zip(reference, candidate, strict=True)]
    return max((float("inf") if d.problem else d.rel_max for d in differences), default=0.0)


def _unseen(session: Session, judge: Judge) -> list[str]:
    """Layers with weights that ran on one side only: their work is judged by the layer around them."""
    seen = {layer_of(name) for name in judge.records}
    owners = {layer for name in session.candidate.weights() for layer in itertools.islice(session.around(name), 1)}
    unseen = sorted(owners - seen)
    if not unseen:
        return []
    shown = ", ".join(unseen[:3]) + (f" and {len(unseen) - 3} more" if len(unseen) > 3 else "")
    return [f"not called as layers on both sides, judged by what is around them: {shown}"]
