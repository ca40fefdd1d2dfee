"""What a network says of windows, a batch at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from deploy.timeline.windows import Window


class Scored(NamedTuple):
    """What a network says of a part of a video.

    Attributes:
        start, end: Seconds; the end is NaN where nobody knows it.
        scores: Probabilities float32 [K].
        features: What its classifier sees, averaged over the views, float32 [D]; empty unless asked for.
    """

    start: float
    end: float
    scores: np.ndarray
    features: np.ndarray = np.empty(0, np.float32)


def scored(
    windows: Iterable[Window], score: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], batch: int
) -> Iterator[Scored]:
    """Scores windows, a batch at a time.

    Args:
        windows: In their order.
        score: Maps views float32 [N, V, ...] to probabilities [N, K] and features [N, D].
        batch: Windows in a pass.
    """
    rest = iter(windows)
    while part := list(itertools.islice(rest, batch)):
        found = zip(part, *score(np.stack([window.views for window in part])), strict=True)
        yield from (Scored(window.start, window.end, scores, features) for window, scores, features in found)
