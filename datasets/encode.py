"""Frames into a video."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from fractions import Fraction

import av
import av.container
import numpy as np


def encode_frames(
    container: av.container.OutputContainer,
    frames: Iterable[np.ndarray],
    codec: str,
    rate: Fraction,
    options: Mapping[str, str],
) -> int:
    """Writes the only stream of a container, 4:2:0, and returns the number of its frames.

    Args:
        container: Open for writing; the caller closes it.
        frames: RGB, uint8 [H, W, 3], one at least, of one size; H and W even.
        codec: By FFmpeg's name.
        rate: Frames a second.
        options: Of the codec.
    """
    rest = iter(frames)
    first = next(rest)
    stream = container.add_stream(codec, rate=rate, options=dict(options))
    stream.height, stream.width, stream.pix_fmt = first.shape[0], first.shape[1], "yuv420p"
    count = 0
    for count, frame in enumerate(itertools.chain([first], rest), start=1):  # noqa: B007  the last one is returned
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
    container.mux(stream.encode(None))
    return count
