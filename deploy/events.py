"""From the scores of each frame of a stream to events: pure functions.

Source: the idea of a window of summed scores, of labels that must hold, and of labels that are passed over is that of
temporal-shift-module's `online_demo/main.py`, which has them built in for Jester: 12 frames, 2 in a row.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tasks.view_scores import softmax


@dataclass(frozen=True)
class Smoothing:
    """How scores become labels.

    Attributes:
        window: Frames whose scores are averaged, the present one the last.
        hold: Frames in a row that another label must come first in, before it is the label of the stream.
        threshold: Probability that it must have, too.
        ignore: Labels that never become that of the stream: while one comes first, the label stays.
    """

    window: int = 12
    hold: int = 2
    threshold: float = 0.0
    ignore: Collection[int] = ()


@dataclass(frozen=True)
class Event:
    """The label of the stream has changed.

    Attributes:
        frame: Number of the frame, from 0, that the label came first in, for the first time of those that held.
        label: The class.
        confidence: Its probability where it held.
    """

    frame: int
    label: int
    confidence: float

    def line(self, names: Sequence[str], seconds: float | None, source: str) -> dict[str, Any]:
        """For a line of JSON; `onset` is when its frame is in the stream, None where nothing says."""
        return {
            "source": source, "onset": None if seconds is None else round(seconds, 3), "frame": self.frame,
            "label": names[self.label], "class": self.label, "confidence": round(self.confidence, 4),
        }  # fmt: skip


@dataclass(frozen=True)
class Course:
    """A stream so far.

    Attributes:
        recent: Their last scores [K].
        label: That of the stream, None before the first.
        rising: The label that may follow, with the frame that it came first in and how often it has since.
    """

    recent: tuple[np.ndarray, ...] = ()
    label: int | None = None
    rising: tuple[int, int, int] | None = None


def advance(course: Course, frame: int, scores: np.ndarray, smoothing: Smoothing) -> tuple[Course, Event | None]:
    """The course after one more frame, and the event that this frame makes of it.

    Args:
        course: Before.
        frame: Number of the frame in its source.
        scores: Logits [K] of the frame.
        smoothing: See Smoothing.
    """
    recent = (*course.recent, scores)[-smoothing.window :]
    after = replace(course, recent=recent)
    probabilities = softmax(np.mean(recent, axis=0))
    first = int(probabilities.argmax())
    confidence = float(probabilities[first])
    if first == course.label or first in smoothing.ignore or confidence < smoothing.threshold:
        return replace(after, rising=None), None
    _, onset, held = course.rising if course.rising and course.rising[0] == first else (first, frame, 0)
    if held + 1 < smoothing.hold:
        return replace(after, rising=(first, onset, held + 1)), None
    return replace(after, label=first, rising=None), Event(onset, first, confidence)
