"""From the logits of views to the probabilities of videos and to the lines that name them; NumPy alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from runtime.errors import UserError

FRAMES_PER_PASS = 64


def score_views(
    run: Callable[[np.ndarray], np.ndarray], clips: np.ndarray, views_per_pass: int = 0, average: str = "probabilities"
) -> np.ndarray:
    """Class probabilities of each video, averaged over its views.

    Args:
        run: Maps clips float32 [B, T, 3, H, W] to logits [B, K].
        clips: float32 [N, V, T, 3, H, W].
        views_per_pass: Views that one call of `run` takes, so that memory is bounded however many there are; 0 takes
            as many as hold 64 frames. The result does not depend on it beyond rounding.
        average: What is averaged: `probabilities`, the softmax of each view (TSM in mmaction2, MVFNet), or `scores`,
            the logits, with one softmax at the end (TSM's repository; TSN in mmaction2, whose mean over the features
            of all views comes to the same, as the classifier is linear).

    Returns:
        float32 [N, K], each row sums to 1.

    Raises:
        UserError: A logit is not finite.
    """
    batch, views = clips.shape[:2]
    folded = clips.reshape(batch * views, *clips.shape[2:])  # [N*V, T, 3, H, W]
    step = views_per_pass or max(1, FRAMES_PER_PASS // clips.shape[2])
    scores = logits_of(run, folded, step).reshape(batch, views, -1)  # [N, V, K]
    if average == "scores":
        return softmax(scores.mean(axis=1))  # [N, K]
    probabilities: np.ndarray = softmax(scores).mean(axis=1)  # [N, K]
    return probabilities


def logits_of(run: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray, step: int) -> np.ndarray:
    """What `run` gives for inputs [B, ...], `step` at a time, float32; raises UserError if a logit is not finite."""
    logits = np.concatenate([run(inputs[start : start + step]) for start in range(0, len(inputs), step)])
    if not np.isfinite(logits).all():  # a softmax may turn them into chance level
        raise UserError("the model gives scores that are not finite: its weights are damaged, or lr was too high")
    return logits.astype(np.float32)


def softmax(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Probabilities over an axis."""
    powers = np.exp(scores - scores.max(axis=axis, keepdims=True))
    probabilities: np.ndarray = powers / powers.sum(axis=axis, keepdims=True)
    return probabilities


def prediction_lines(probabilities: np.ndarray, names: Sequence[str], top: int, what: str = "prob") -> list[str]:
    """What is printed of a video: PaddleMVF's line, then the `top` best classes with their ranks.

    Args:
        probabilities: [K], or fractions of another kind.
        names: K class names.
        top: Ranks to print.
        what: The word for such a fraction.
    """
    best = probabilities.argsort()[::-1][:top]
    first = f"Top1 class:{names[best[0]]} {what}:{probabilities[best[0]]:.6f}"
    return [first, *(f"  {i}. {names[label]} {probabilities[label]:.6f}" for i, label in enumerate(best, start=1))]
