"""Proof that the other stages could have failed: every weight, every sample and every loss makes a difference."""

from __future__ import annotations

import numpy as np

from alignment.compare import Record, Stage
from alignment.judge import Judge
from alignment.session import Session, first_failure, layer_of
from alignment.stages.forward import isolated

NUDGE = 2.0**-6  # of the root mean square of a weight
SUFFIXES = ("weight", "bias", "_mean", "_variance")


def guards(session: Session) -> Stage:
    """Perturbs what was compared and demands that the comparison notices."""
    stage = Stage("guards")
    judge = session.compare("eval activation", lambda run, listen: run.forward(session.pair.inputs, listen))
    names = session.candidate.weights().keys()
    kinds = [suffix for suffix in SUFFIXES if any(name.endswith(suffix) for name in names)]
    for suffix in kinds:
        stage.records += _noticed(session, judge, suffix)
    if session.gradients is not None and session.activation_gradients is not None:
        stage.records += [_reached(name, array) for name, array in session.gradients.truth.items()]
        stage.records += _samples(session.activation_gradients)
    failure = first_failure(stage.records)
    if failure:
        stage.place = failure.name
        stage.sentence = f"The comparison proves nothing about {failure.name}: {failure.reason}."
    return stage


def _noticed(session: Session, judge: Judge, suffix: str) -> list[Record]:
    """Nudges all weights of a suffix at once; each owner, fed with the reference's activations, must differ."""
    rng = np.random.default_rng(session.seed)
    weights = session.candidate.weights()
    chosen = {name: array for name, array in weights.items() if name.endswith(suffix)}
    session.candidate.reset()
    session.candidate.set_weights({**weights, **{name: _nudged(array, rng) for name, array in chosen.items()}})
    alone = isolated(session, judge, "eval", keep_weights=True)
    session.candidate.reset()
    changed = {layer_of(record.name) for record in alone.records.values() if not record.passed}
    seen = {layer_of(name) for name in alone.records}
    return [_owner(name, seen, changed) for name in chosen]


def _nudged(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    size = float(np.sqrt(np.mean(np.square(array)))) or 1.0
    return array + NUDGE * size * np.abs(rng.normal(1.0, 0.25, array.shape)).astype(array.dtype)


def _owner(name: str, seen: set[str], changed: set[str]) -> Record:
    """Whether the nearest observed layer around a weight has noticed."""
    owner = name.rpartition(".")[0]
    while owner and owner not in seen:
        owner = owner.rpartition(".")[0]
    passed = (owner or "output") in changed
    return Record(name, "guard", passed, "" if passed else "another value of it changes no output in evaluation")


def _reached(name: str, gradient: np.ndarray) -> Record:
    passed = bool(np.any(gradient))
    return Record(f"{name} gradient", "guard", passed, "" if passed else "it receives no gradient")


def _samples(gradients: Judge) -> list[Record]:
    """Every sample, and every frame of a clip [N, T, C, H, W], must reach the loss."""
    found = []
    for name, gradient in gradients.truth.items():
        if name.startswith("input "):
            axes = tuple(range(2 if gradient.ndim == 5 else 1, gradient.ndim))
            for index in np.argwhere(np.abs(gradient).max(axis=axes) == 0):
                place = f"{name}{[int(i) for i in index]}"
                found.append(Record(place, "guard", False, "it does not reach the loss"))
            found.append(Record(f"{name} reaches the loss", "guard", True))
    return found
