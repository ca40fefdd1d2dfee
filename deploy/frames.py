"""Frames of a stream, one at a time: of files and folders each, of cameras and addresses the newest."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from configs.limits import Limits
from datasets import DataError
from datasets.decode import open_source
from runtime.errors import UserError

RETRY_SECONDS = 0.5


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        image: uint8 [H, W, 3] RGB.
        number: From 0, of all that the source gave, those that were dropped included.
        arrived: When it was there, by time.perf_counter.
        anew: The source had gone away before it.
        seconds: When it is in its stream: of a recording by the frames a second that it says, None if it says nothing;
            of a camera by the clock, whatever it says.
    """

    image: np.ndarray
    number: int
    arrived: float
    anew: bool = False
    seconds: float | None = None


class RecordedFrames:
    """Every frame of a file or of a folder, as fast as they are asked for.

    Attributes:
        fps: Frames a second; 0 where nothing says.
        num_frames: How many there are.
        dropped: None is.
    """

    dropped = 0

    def __init__(self, path: str, limits: Limits) -> None:
        self._source = open_source(path, limits=limits)
        self.fps, self.num_frames = self._source.fps, self._source.num_frames

    def __iter__(self) -> Iterator[Frame]:
        for due, (index, image) in enumerate(self._source.frames(range(self._source.num_frames))):
            if index != due:
                raise DataError(f"{self._source.path} cannot be decoded in one pass: re-encode it")
            yield Frame(image, index, time.perf_counter(), seconds=index / self.fps if self.fps else None)

    def close(self) -> None:
        """Closes the file."""
        self._source.close()


class LiveFrames:
    """The newest frame of a camera or of an address.

    A thread reads all the time. One frame waits; the next takes its place, and the one that nobody took is counted as
    dropped. A source that ends is opened again for `patience` seconds.

    Args:
        name: Number of a camera, or an address.
        patience: Seconds.

    Attributes:
        fps, num_frames: 0: nobody knows.
        dropped: Frames that were not taken.

    Raises:
        UserError: It cannot be opened.
    """

    fps, num_frames = 0.0, 0

    def __init__(self, name: str, patience: float = 10.0) -> None:
        self._name, self._patience = name, patience
        self._changed = threading.Condition()
        self._waiting: Frame | None = None
        self._over = False
        self._number = 0
        self.dropped = 0
        capture = _opened(name)
        if capture is None:
            raise UserError(f"--video {name} cannot be opened: {_why_not(name)}")
        self._began = time.perf_counter()
        self._thread = threading.Thread(target=self._read, args=(capture,), daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._over)
                frame, self._waiting = self._waiting, None
            if frame is None:
                return
            yield frame

    def close(self) -> None:
        """Ends the thread."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._thread.join(timeout=10)

    def _read(self, capture: Any) -> None:
        anew = False
        try:
            while not self._over:
                there, image = capture.read()
                if there:
                    self._put(image, anew)
                    anew = False
                    continue
                capture.release()
                found = self._again()
                if found is None:
                    return
                capture, anew = found, True
        finally:
            capture.release()
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _put(self, image: np.ndarray, anew: bool) -> None:
        now = time.perf_counter()
        frame = Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), self._number, now, anew, now - self._began)
        self._number += 1
        with self._changed:
            if self._waiting is not None:
                self.dropped += 1
                frame = replace(frame, anew=anew or self._waiting.anew)
            self._waiting = frame
            self._changed.notify_all()

    def _again(self) -> Any:
        end = time.monotonic() + self._patience
        while time.monotonic() < end and not self._over:
            capture = _opened(self._name)
            if capture is not None:
                return capture
            time.sleep(RETRY_SECONDS)
        return None


def _why_not(name: str) -> str:
    """What may be done about a camera or an address that does not open."""
    if not name.isdigit():
        return "does the address answer?"
    there = ", ".join(sorted(path.name.removeprefix("video") for path in Path("/dev").glob("video[0-9]*")))
    if not there:
        return "this machine shows no camera (/dev/video*): plug one in, or, in a container, hand it over"
    return f"cameras here: {there}; is another program using it, and may this user read /dev/video{name}?"


def _opened(name: str) -> Any:
    """A capture that gives frames, or None."""
    with contextlib.suppress(cv2.error):
        capture = cv2.VideoCapture(int(name) if name.isdigit() else name)
        if capture.isOpened():
            return capture
        capture.release()
    return None
