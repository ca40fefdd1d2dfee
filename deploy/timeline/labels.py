"""The labels of one video, as files, pages and people get them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from deploy.timeline.scoring import Scored
from deploy.timeline.segments import Segment, segments
from runtime.html_page import bar, row, table


class Label(NamedTuple):
    """A class and its probability."""

    name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What a network says of one video. In a notebook it shows itself as a table.

    Attributes:
        source: The video.
        names: Of the classes.
        windows: What is said of each window, in their order; of a video as a whole there is one.
    """

    source: str
    names: Sequence[str]
    windows: Sequence[Scored]

    @property
    def scores(self) -> np.ndarray:
        """Probabilities float32 [K], the mean over all windows."""
        mean: np.ndarray = np.mean([window.scores for window in self.windows], axis=0)
        return mean

    @property
    def label(self) -> int:
        """The class that comes first; of equal ones the higher, as in a test."""
        return int(np.argsort(self.scores, kind="stable")[-1])

    def top(self, count: int = 5) -> list[Label]:
        """The best classes of the whole video, the best first."""
        return top(self.scores, self.names, count)

    def segments(self, threshold: float = 0.0) -> list[Segment]:
        """Parts of the video with one label each, see `segments.segments`."""
        return segments(self.windows, threshold)

    def _repr_html_(self) -> str:
        shown = best_table(self, 5)
        if len(self.windows) > 1:
            parts = (
                row(
                    (f"{one.start:.1f} to {one.end:.1f} s", self.names[one.label], f"{one.probability:.1%}"),
                    numeric=(2,),
                )
                for one in self.segments()
            )
            shown += table(("", "", ""), parts)
        return shown


def best_table(one: Prediction, count: int) -> str:
    """The best classes of the whole video with bars, as HTML."""
    rows = (
        row((name, bar(share, share, share, f"{share:.1%}"), f"{share:.1%}"), numeric=(2,))
        for name, share in one.top(count)
    )
    return table(("", "", ""), rows)


def top(scores: np.ndarray, names: Sequence[str], count: int) -> list[Label]:
    """The best classes of scores [K], the best first; of equal ones the higher index, as in a test."""
    order = np.argsort(scores, kind="stable")[::-1][:count]
    return [Label(names[label], float(scores[label])) for label in order]
