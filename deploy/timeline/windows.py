"""The windows of a long video: which frames each of them is made of, and their views as the frames come by."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from configs import Recipe
from datasets.sampling import check_sampling, view_indices
from datasets.sequential import Shown
from datasets.source import places_of
from datasets.transforms import EvalTransform
from runtime.errors import UserError


@dataclass(frozen=True)
class Plan:
    """Windows of equal length, one after the other.

    Attributes:
        frames: Of each window.
        stride: Frames from the start of one to the start of the next.
        total: Frames of the video, as many as a window has at least.
        skip: Windows at the beginning that are left out, as they are known already.
    """

    frames: int
    stride: int
    total: int
    skip: int = 0

    @classmethod
    def of(cls, window_s: float, stride_s: float, fps: float, total: int, skip: int = 0) -> Plan:
        """From seconds.

        Args:
            window_s: Length of a window; a video that is shorter is one window.
            stride_s: From one to the next; 0 is as long as the window.
            fps: Frames a second.
            total, skip: See the class.

        Raises:
            UserError: A number is out of its range.
        """
        if not window_s > 0:
            raise UserError(f"--window must be above 0 seconds, got {window_s:g}")
        if not 0 <= stride_s <= window_s:
            raise UserError(f"--stride must be from 0 to the window's {window_s:g} seconds, got {stride_s:g}")
        if not fps > 0:
            raise UserError("nobody says how many frames of this video are a second: re-encode it")
        frames = max(1, round(window_s * fps))
        stride = max(1, round((stride_s or window_s) * fps))
        return cls(min(frames, total), stride, total, skip)

    @property
    def count(self) -> int:
        """How many windows there are."""
        whole, rest = divmod(self.total - self.frames, self.stride)
        return whole + 1 + bool(rest)

    def starts(self) -> Iterator[int]:
        """First frame of each window that is not skipped. The last one ends with the video, however far it is."""
        for number in range(self.skip, self.count):
            yield min(number * self.stride, self.total - self.frames)


class Window(NamedTuple):
    """One window.

    Attributes:
        start, end: Seconds, of its first frame and of the one after its last.
        views: float32 [V, T, 3, H, W].
    """

    start: float
    end: float
    views: np.ndarray


@dataclass
class _Open:
    start: int
    views: np.ndarray
    seconds: float = 0.0


class Windows:
    """Makes the views of windows from frames that come one by one, as a test of the recipe makes those of a video.

    A frame is kept, transformed, in the windows that it is part of, and nowhere else.

    Args:
        plan: The windows.
        recipe: Of the network.
        mode: "test" for all views of the recipe, "val" for one center view.
        fps: Frames a second of the source.
    """

    def __init__(self, plan: Plan, recipe: Recipe, mode: str, fps: float) -> None:
        check_sampling(recipe)
        self.plan = plan
        self._transform = EvalTransform(recipe, mode)
        indices = view_indices(plan.frames, recipe, mode, fps)
        self._places, self._shape = places_of(indices), indices.shape  # [clips, T]
        self._starts = plan.starts()
        self._next: int | None = next(self._starts, None)
        self._open: deque[_Open] = deque()

    def wants(self, number: int) -> bool:
        """Whether a frame is part of a window; asked of each frame in its order."""
        while self._next is not None and self._next <= number:
            size, (clips, frames) = self._transform.size, self._shape
            self._open.append(_Open(self._next, np.empty(
                (self._transform.num_crops, clips * frames, 3, size, size), np.float32)))  # fmt: skip
            self._next = next(self._starts, None)
        return any(number - window.start in self._places for window in self._open)

    def add(self, frame: Shown) -> Iterator[Window]:
        """Takes a frame, for which `wants` was asked; gives the windows that end with the frame before it."""
        yield from self.ended(frame.number, frame.seconds)
        for window in self._open:
            places = self._places.get(frame.number - window.start, ())
            if frame.number == window.start:
                window.seconds = frame.seconds
            if places and frame.image is not None:
                self._transform.apply(frame.image[None], window.views[:, places[0] : places[0] + 1])
                for place in places[1:]:
                    window.views[:, place] = window.views[:, places[0]]

    def ended(self, number: int, seconds: float) -> Iterator[Window]:
        """The windows that end with the frame before that of a number, which is or would be shown at these seconds."""
        while self._open and self._open[0].start + self.plan.frames <= number:
            done = self._open.popleft()
            clips, frames = self._shape
            views = done.views.reshape(-1, clips, frames, *done.views.shape[2:])  # [crops, clips, T, 3, H, W]
            yield Window(done.seconds, seconds, views.reshape(-1, *views.shape[2:]))


def windows_of(
    frames: Callable[[Callable[[int], bool]], Iterable[Shown]], windows: Windows, fps: float
) -> Iterator[Window]:
    """The windows of a source.

    Args:
        frames: Gives all frames for a function that says which of them are wanted.
        windows: Of the source.
        fps: Its frames a second.
    """
    last: Shown | None = None
    for last in frames(windows.wants):
        yield from windows.add(last)
    if last is not None:
        yield from windows.ended(last.number + 1, last.seconds + 1 / fps)
