"""From the scores of windows, which may overlap, to one label for each moment, and to the parts that share one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from deploy.timeline.scoring import Scored


class Segment(NamedTuple):
    """A part of a video with one label.

    Attributes:
        start, end: Seconds.
        label: The class that comes first.
        probability: Its probability, averaged over the time of the part.
    """

    start: float
    end: float
    label: int
    probability: float


def moments(found: Sequence[Scored]) -> list[Scored]:
    """The parts of a video in which the same windows are looking, with the mean of what these say.

    Windows that follow each other without an overlap are their own moments; a gap between two has none.
    """
    if len(found) == 1:
        return list(found)
    edges = sorted({time for one in found for time in (one.start, one.end)})
    parts, begin = [], 0
    for start, end in itertools.pairwise(edges):
        while found[begin].end <= start:
            begin += 1
        over = []
        for one in found[begin:]:
            if one.start > start:
                break
            if one.end >= end:
                over.append(one.scores)
        if over:
            parts.append(Scored(start, end, np.mean(over, axis=0)))
    return parts


def segments(found: Sequence[Scored], threshold: float = 0.0) -> list[Segment]:
    """Parts whose moments have the same label, one after the other.

    Args:
        found: Of windows, in the order of their starts, each as long as the others.
        threshold: A moment whose best class has less than this probability belongs to no part.
    """
    parts: list[Segment] = []
    for moment in moments(found):
        label = int(moment.scores.argmax())
        probability = float(moment.scores[label])
        if probability < threshold:
            continue
        last = parts[-1] if parts else None
        if last and last.label == label and math.isclose(last.end, moment.start, abs_tol=1e-6):
            before, more = last.end - last.start, moment.end - moment.start
            mean = (last.probability * before + probability * more) / (before + more)
            parts[-1] = Segment(last.start, moment.end, label, mean)
        else:
            parts.append(Segment(moment.start, moment.end, label, probability))
    return parts
