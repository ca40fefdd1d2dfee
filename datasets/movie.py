"""A video that is made of another one: its frames changed, its sound as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from datasets.source import DecodeError, errors_named
from datasets.video import OPTIONS

TICKS = 90_000  # a second; no rate in use rounds by it
QUALITY = {"crf": "18", "preset": "veryfast"}  # of x264


class MovieWriter:
    """Writes frames into a video file, each at its own time; a context manager.

    Args:
        path: File to write; its suffix says the container.
        rate: Frames a second, about.
        sound_of: A video whose sound goes along; empty for none.

    Raises:
        DecodeError: The container is unknown, or cannot be written.
    """

    def __init__(self, path: Path, rate: Fraction, sound_of: str = "") -> None:
        self.path = path
        self._sound: Iterator[av.Packet] = iter(())
        self._waiting: av.Packet | None = None
        self.sounds = 0
        with contextlib.ExitStack() as opened, errors_named(f"cannot write a video {path}"):
            self._exits = opened
            self._container = self._exits.enter_context(av.open(f"file:{path}", "w"))
            codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
            self._stream = self._container.add_stream(
                codec, rate=rate, options=QUALITY if codec == "libx264" else {"qscale": "3"}
            )
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = Fraction(1, TICKS)
            if sound_of:
                self._open_sound(sound_of)
            self._exits = opened.pop_all()
        self._last = -1

    def write(self, image: np.ndarray, seconds: float) -> None:
        """Adds a frame uint8 [H, W, 3] RGB; an odd side loses its last line, which 4:2:0 cannot hold."""
        height, width = (side // 2 * 2 for side in image.shape[:2])
        if self._last < 0:
            self._stream.height, self._stream.width = height, width
        elif (self._stream.height, self._stream.width) != (height, width):
            raise DecodeError(f"{self.path}: a frame is {width}x{height}, the first one "
                              f"{self._stream.width}x{self._stream.height}")  # fmt: skip
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), format="rgb24")
        self._last = max(round(seconds * TICKS), self._last + 1)
        frame.pts, frame.time_base = self._last, Fraction(1, TICKS)
        self._container.mux(self._stream.encode(frame))
        self._write_sound(until=seconds)

    def __enter__(self) -> MovieWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._exits:
            if self._last >= 0:
                self._container.mux(self._stream.encode(None))
                self._write_sound()

    def _open_sound(self, path: str) -> None:
        """Takes the packets of the first stream of sound as they are, or encodes them anew for the container."""
        source = self._exits.enter_context(av.open(f"file:{path}", options=OPTIONS))
        stream = next(iter(source.streams.audio), None)
        if stream is None:
            return
        if stream.codec_context.name in self._container.supported_codecs:
            target = self._container.add_stream_from_template(stream)
            self._sound = _copied(source, stream, target)
        else:
            target = self._container.add_stream(self._container.default_audio_codec, rate=stream.rate)
            self._sound = _encoded(source, stream, target)

    def _write_sound(self, until: float = float("inf")) -> None:
        """The packets of sound that are due, so that none waits for the end of a long video."""
        while True:
            packet = self._waiting or next(self._sound, None)
            self._waiting = None
            if packet is None:
                return
            if packet.pts is not None and float(packet.pts * packet.time_base) > until:
                self._waiting = packet
                return
            self._container.mux(packet)
            self.sounds += 1


def _copied(source: Any, stream: Any, target: Any) -> Iterator[av.Packet]:
    for packet in source.demux(stream):
        if packet.size and packet.dts is not None:
            packet.stream = target
            yield packet


def _encoded(source: Any, stream: Any, target: Any) -> Iterator[av.Packet]:
    for frame in source.decode(stream):
        yield from target.encode(frame)
    yield from target.encode(None)
