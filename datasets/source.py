"""What every source of frames has: limits on its cost, one kind of error, and the frames one by one or together."""

from __future__ import annotations

import abc
import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from types import TracebackType

import numpy as np

from configs.limits import Limits
from datasets.targets import DataError


class DecodeError(DataError):
    """A video or a frame that cannot be read; the message names the file."""


@contextlib.contextmanager
def errors_named(message: str) -> Iterator[None]:
    """Turns whatever a library throws at a file into DecodeError."""
    try:
        yield
    except DecodeError:
        raise
    except Exception as error:
        raise DecodeError(f"{message}: {_reason(error)}") from error


def places_of(indices: Sequence[int] | np.ndarray) -> dict[int, list[int]]:
    """Each index -> where it stands among all of them."""
    places: dict[int, list[int]] = {}
    for place, index in enumerate(np.ravel(indices).tolist()):
        places.setdefault(index, []).append(place)
    return places


class Budget:
    """What one source has cost so far, held against its limits.

    Args:
        path: Of the source, for the messages.
        limits: What it may cost.
    """

    def __init__(self, path: str, limits: Limits) -> None:
        self.path, self.limits = path, limits
        self._frames = self._bytes = 0
        self._end = time.thread_time() + limits.max_decode_seconds

    def take_packet(self, size: int) -> None:
        """Counts a packet of so many bytes as a frame; raises DecodeError beyond the limits."""
        self._frames += 1
        self._bytes += size
        self._require("max_video_frames", self._frames, "frames")
        self._require("max_video_megabytes", math.ceil(self._bytes / 2**20), "MB")
        self.check_time()

    def take_file(self, size: int) -> None:
        """Raises DecodeError for a picture whose file has too many bytes to be read."""
        self._require("max_video_megabytes", math.ceil(size / 2**20), "MB")

    def take_frame(self, width: int, height: int) -> None:
        """Raises DecodeError for a frame that is too large to be decoded."""
        self._require("max_frame_pixels", width * height, f"pixels in a frame ({width}x{height})")

    def room_for(self, count: int, image: np.ndarray) -> np.ndarray:
        """Uninitialized uint8 [count, H, W, 3] for frames like an image; raises DecodeError if that is too much."""
        self._require("max_read_megabytes", math.ceil(count * image.nbytes / 2**20), f"MB for {count} frames")
        return np.empty((count, *image.shape), np.uint8)

    def check_time(self) -> None:
        """Raises DecodeError when the CPU time of this thread is used up."""
        if time.thread_time() > self._end:
            limit = self.limits.max_decode_seconds
            raise DecodeError(f"{self.path} takes more than {limit:g} s to decode: raise --max_decode_seconds for it")

    def _require(self, name: str, found: int, what: str) -> None:
        limit = getattr(self.limits, name)
        if found > limit:
            raise DecodeError(f"{self.path} has more than {limit} {what}: raise --{name} if it is your own")


class FrameSource(abc.ABC):
    """A video whose frames can be asked for; a context manager.

    Attributes:
        path: The file or folder.
        num_frames: Frames, numbered from 0.
        average_rate: Of them a second; None: nothing says.
    """

    path: str
    num_frames: int
    average_rate: Fraction | None = None
    _budget: Budget

    @property
    def fps(self) -> float:
        """Frames a second; 0 where nothing says."""
        return float(self.average_rate or 0)

    def frames(self, indices: Sequence[int] | np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Decodes frames one after the other, so that a caller need not hold them all.

        Args:
            indices: In any order, repeated or not.

        Yields:
            Each index once, and its frame: uint8 [H, W, 3] RGB, upright, all of one size. A file that turns out not to
            be what it says begins again at the first one: what comes last of an index holds.

        Raises:
            DecodeError: An index out of range, or a frame that does not decode or differs in size.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size == 0:
            raise DecodeError(f"{self.path}: no frame was asked for")
        if wanted.min() < 0 or wanted.max() >= self.num_frames:
            asked = f"{wanted.min()}..{wanted.max()}"
            raise DecodeError(f"{self.path} has frames 0..{self.num_frames - 1}, asked for {asked}")
        first = None
        for index, image in self._decoded(np.unique(wanted).tolist()):
            first = first or image.shape
            if image.shape != first:
                raise DecodeError(f"{self._name(index)} is {_size(image.shape)}, the frames before it {_size(first)}")
            yield index, image

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """The frames of `frames` in the order of the indices, uint8 [len(indices), H, W, 3] RGB."""
        places, out = places_of(indices), None
        for index, image in self.frames(indices):
            if out is None:
                out = self._budget.room_for(len(indices), image)
            for place in places[index]:
                out[place] = image
        assert out is not None  # there is a frame
        return out

    @abc.abstractmethod
    def _decoded(self, ordered: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """What `frames` yields, of rising indices, each frame within the limits."""

    def _name(self, index: int) -> str:
        """What a frame is called in a message."""
        return f"{self.path}: frame {index}"

    def close(self) -> None:  # noqa: B027  most hold nothing open
        """Gives back what the source holds open."""

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
