"""What the page says of a video: the best classes over time, the frames that were looked at, and why."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, NamedTuple

import numpy as np

from configs import Recipe, cli
from configs.limits import Limits
from datasets.sampling import view_indices
from deploy.predictor import Computing
from deploy.timeline.labeler import Labeler, Source
from deploy.timeline.labels import Prediction, best_table
from deploy.timeline.page import over_time
from deploy.timeline.windows import Plan, Windows, windows_of
from runtime.errors import UserError, errors_called
from runtime.html_page import section, text
from tools.browse import line_of_time
from tools.explain import explain, sections


class Question(NamedTuple):
    """What is asked beside the video.

    Attributes:
        network: Index of the network.
        views: A key of `cli.VIEWS` that the network has.
        window: Seconds of a window; 0 for the video as a whole.
        why: Whether the answer says why.
    """

    network: int
    views: str
    window: float
    why: bool


class Network(NamedTuple):
    """What computes, by the views that it computes.

    Attributes:
        place: Its file or folder.
        ready: A key of `cli.VIEWS` -> what computes those.
    """

    place: str
    ready: Mapping[str, Computing]

    @property
    def model(self) -> str:
        """Name of the network."""
        return next(iter(self.ready.values())).recipe.network.model


class Answerer:
    """Answers for many threads: each decodes for itself, one at a time computes.

    Args:
        networks: To choose from.
        limits: What a video may cost.
        max_seconds: Longest video that is taken.
        patience: Seconds that an answer may compute.
        views_per_pass: See `Task.scores`.

    Raises:
        UserError: A network names no class of a video.
    """

    def __init__(
        self, networks: Sequence[Network], limits: Limits, max_seconds: float, patience: float, views_per_pass: int = 0
    ) -> None:
        self.networks, self.limits, self.max_seconds, self.patience = networks, limits, max_seconds, patience
        self._views_per_pass, self._turn = views_per_pass, threading.Lock()
        for network in networks:
            for views, computing in network.ready.items():
                self._labeler(computing, views, computing.run)

    def answer(self, question: Question, video: IO[bytes]) -> dict[str, Any]:
        """The answer for JSON: `best`, the name and probability of the first class, and `html`, a part of a page.

        Raises:
            UserError: The video cannot be read, or is too long.
        """
        name = f"/dev/fd/{video.fileno()}"
        with errors_called("the video", name):
            return self._answer(question, name)

    def _answer(self, question: Question, path: str) -> dict[str, Any]:
        computing = self.networks[question.network].ready[question.views]
        source = Source(path, limits=self.limits)
        seconds = source.num_frames / source.fps
        if seconds > self.max_seconds:
            raise UserError(
                f"the video is {seconds:.0f} s long and this page takes {self.max_seconds:g} s: cut it, start the page "
                "with another --max_seconds, or label it with predict.py --window"
            )
        labeler = self._labeler(computing, question.views, self._in_turn(computing.run))
        plan = Plan.of(question.window or max(seconds, 1.0), 0.0, source.fps, source.num_frames)
        if question.window:
            found = Prediction("the video", computing.names, list(labeler.windows(source, plan)))
        else:
            found = labeler.whole(path)
        label = found.label
        parts = [section("The best classes", best_table(found, 5)), section("Over time", over_time(found))]
        number = int(np.argmax([window.scores[label] for window in found.windows]))
        parts.append(sampled(source, plan, number, computing.recipe, question.views))
        if question.why:
            clip = clip_of(source, plan, number, computing.recipe)
            with self._turn:
                parts += sections(explain(computing, clip, label))
        best = {"name": found.names[label], "probability": float(found.scores[label])}
        return {"best": best, "html": "\n".join(parts)}

    def _labeler(self, computing: Computing, views: str, run: Callable[[np.ndarray], np.ndarray]) -> Labeler:
        mode = cli.VIEWS[views]
        return Labeler(run, computing.recipe, computing.names, mode, self._views_per_pass, self.limits)

    def _in_turn(self, run: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        """What computes, for one thread at a time and until the patience is over."""
        end = time.monotonic() + self.patience

        def in_turn(clips: np.ndarray) -> np.ndarray:
            with self._turn:
                if time.monotonic() > end:
                    raise UserError(
                        f"the answer takes more than {self.patience:g} s: ask for one center view, for longer windows, "
                        "or later"
                    )
                return run(clips)

        return in_turn


def clip_of(source: Source, plan: Plan, number: int, recipe: Recipe) -> np.ndarray:
    """The center view of a window, float32 [T, 3, H, W]."""
    windows = Windows(dataclasses.replace(plan, skip=number), recipe, cli.VIEWS["quick"], source.fps)
    return next(windows_of(source.frames, windows, source.fps)).views[0]


def sampled(source: Source, plan: Plan, number: int, recipe: Recipe, views: str) -> str:
    """Which frames of a window the views are made of."""
    first = next(dataclasses.replace(plan, skip=number).starts())
    indices = first + view_indices(plan.frames, recipe, cli.VIEWS[views], source.fps)
    what = "the video" if plan.count == 1 else f"the window from {text(f'{first / source.fps:.1f}')} s, the surest"
    return section("The frames that were sampled", line_of_time(source.num_frames, list(indices)), f"of {what}")
