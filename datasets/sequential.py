"""The frames of a video of any length, one after the other, in a memory that does not grow with it.

`VideoFile` keeps the packets of a file, to read any frame without decoding the others; for a film of hours, of which
every part is looked at, nothing needs to be kept. Frame i is the same here and there: the i-th of those that decoding
from the start gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np

from configs.limits import Limits
from datasets.source import Budget, DecodeError, errors_named
from datasets.video import Upright, decoder_of, judged, opened_stream, options_of


class Shown(NamedTuple):
    """A frame.

    Attributes:
        number: From 0.
        seconds: When it is shown, counted from the first frame.
        image: uint8 [H, W, 3] RGB, upright; None where it was not asked for.
    """

    number: int
    seconds: float
    image: np.ndarray | None


class SequentialFile:
    """A video file; it is open while its frames are asked for.

    Args:
        path: The file.
        limits: What a frame may cost; the length of the video is not among it.

    Attributes:
        num_frames: How many there are by the packets of the file.
        fps: Frames a second, on average: as the file says, or, where it says nothing, as a browser's recording, by the
            times of its packets; 0 of a single frame.

    Raises:
        DecodeError: It is no readable video.
    """

    def __init__(self, path: str, limits: Limits | None = None) -> None:
        self.path = path
        self._limits = limits or Limits()
        with errors_named(f"{path} is truncated or damaged"), opened_stream(path) as stream:
            self.fps, self._time_base = float(stream.average_rate or 0), stream.time_base or Fraction(1, 1000)
            shown = 0
            begin, end = math.inf, -math.inf
            for packet in stream.container.demux(stream):
                if packet.size and not packet.is_discard:
                    shown += 1
                    if packet.pts is not None:
                        begin, end = min(begin, packet.pts), max(end, packet.pts)
        if not shown:
            raise DecodeError(f"{path} holds no frame")
        self.num_frames = shown
        if not self.fps and end > begin:
            self.fps = (shown - 1) / float((end - begin) * self._time_base)

    def frames(self, wanted: Callable[[int], bool] = lambda index: True) -> Iterator[Shown]:
        """All frames in their order; those that are not wanted are decoded, and not converted.

        Raises:
            DecodeError: A frame that is wanted is damaged, or built on one that is, or too large.
        """
        upright, budget, first = Upright(), Budget(self.path, self._limits), 0.0
        for index, (frame, is_damaged) in enumerate(judged(self._decoded(budget))):
            time = index / (self.fps or 1.0) if frame.pts is None else float(frame.pts * self._time_base)
            first = time if index == 0 else first
            if not wanted(index):
                yield Shown(index, time - first, None)
                continue
            if is_damaged:
                raise DecodeError(f"frame {index} of {self.path} is damaged")
            budget.take_frame(frame.width, frame.height)
            with errors_named(f"frame {index} of {self.path} does not decode"):
                image = upright(frame)
            yield Shown(index, time - first, image)

    def _decoded(self, budget: Budget) -> Iterator[av.VideoFrame]:
        with opened_stream(self.path) as stream:
            decoder = decoder_of(stream, budget)
            decoder.options = options_of(decoder, budget)
            with errors_named(f"{self.path} is truncated or damaged"):
                for packet in stream.container.demux(stream):
                    if packet.size:
                        yield from decoder.decode(packet)
                yield from decoder.decode(None)
