"""The figures that both sides compute from scores and labels."""

from __future__ import annotations

import numpy as np

from alignment.sides.pair import IncomparableError, Sides, explained
from alignment.stages.session import Session
from alignment.verdicts.record import Stage, tensor

SAMPLES = 96
EQUAL = 1e-12


def metric(session: Session) -> Stage:
    """Compares both metrics on the predictions of the models and on the cases that break metrics.

    Raises:
        IncomparableError: The pair has no metric.
    """
    if session.pair.metric is None:
        raise IncomparableError("the stage metric needs metric=(reference, candidate), two functions (scores, labels)")
    stage = Stage("metric")
    if session.logits().reference.ndim < 2:
        raise IncomparableError("the stage metric needs a first output [N, K, ...], leave it out with steps=")
    reference, candidate = (softmax(logits) for logits in session.logits())
    for case, (left, right, labels) in cases(reference, candidate, session.pair.labels, session.seed).items():
        figures = _figures(session.pair.metric, (left, right), labels)
        for name in sorted(figures[0].keys() | figures[1].keys()):
            left_value, right_value = (np.asarray(figure.get(name, np.nan), np.float64) for figure in figures)
            # The two sides' own scores differ by rounding; every figure but a count of ranks could show it.
            stage.records.append(tensor(f"{name}, {case}", "metric", left_value, right_value, EQUAL, floor=1.0))
            session.tensors[f"metric/{name}, {case}"] = Sides(left_value, right_value)
    stage.blame(
        lambda failure: (
            f"The metric {failure.name} differs: {failure.reason}. Look at how it ranks and what it averages."
        )
    )
    return stage


def _figures(metric: Sides, scores: tuple[np.ndarray, np.ndarray], labels: np.ndarray) -> list[dict[str, float]]:
    """What both sides' functions return."""
    found = []
    for side, function, values in zip(Sides._fields, metric, scores, strict=True):
        with explained(f"the {side}'s metric must turn scores [N, K, ...] and labels [N, ...] into a dict"):
            found.append(dict(function(values, labels)))
    return found


def cases(
    reference: np.ndarray, candidate: np.ndarray, labels: np.ndarray, seed: int
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Scores of the reference, scores of the candidate and labels, by what is special about them.

    Args:
        reference, candidate: Probabilities float64 [N, K, ...] of the two models.
        labels: int64 [N, ...].
        seed: Of the scores that are made up.
    """
    rng = np.random.default_rng(seed)
    classes, places = reference.shape[1], reference.shape[2:]
    made_up = softmax(rng.normal(size=(SAMPLES, classes, *places)))
    wanted = rng.integers(classes, size=(SAMPLES, *places))
    wanted[: classes // 2 or 1] = made_up[: classes // 2 or 1].argmax(axis=1)  # some are right
    ties = np.round(made_up * 8 * classes) / 8
    half = wanted % max(1, classes // 2)
    return {
        "of the models": (reference, candidate, labels),
        "many samples": (made_up, made_up, wanted),
        "ties": (ties, ties, wanted),
        "absent classes": (made_up, made_up, half),
        "one sample": (made_up[:1], made_up[:1], wanted[:1]),
    }


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities float64 of logits [N, K, ...]."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
