"""Frames of a video file or of a folder of images, and only those that are asked for.

A video is read without a seek: its packets are demultiplexed once, which costs no decoding and gives the frame count,
the time stamps and the key frames; then the decoder gets the packets from the last key frame before each wanted frame
on, and passes over frames that nothing else refers to. Frame i is the frame that decoding from the start gives i-th.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol

import av
import numpy as np

from configs.limits import Limits
from datasets import pictures
from datasets.annotation import DataError
from datasets.pictures import FRAME_NAME

FLOW_PREFIX = "flow"
RIFF_MARK, EBML_MARK, SEGMENT_MARK = b"RIFF", b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
KEPT_BYTES = 256 * 2**20  # decoded frames that a video without usable time stamps may keep in memory
# Containers of moving pictures, by FFmpeg's names. Others, such as playlists and descriptions of streams, can name
# files and hosts that FFmpeg would open.
CONTAINERS = (
    "3gp", "apng", "asf", "av1", "avi", "dv", "flv", "gif", "gxf", "h261", "h263", "h264", "hevc", "ivf", "live_flv",
    "m4v", "matroska", "mjpeg", "mov", "mp4", "mpeg", "mpegts", "mpegvideo", "mxf", "nut", "obu", "ogg", "rm", "vc1",
    "webm", "wtv", "yuv4mpegpipe",
)  # fmt: skip
# Tags that are not UTF-8 are nothing that decoding needs; from 19 on, PyAV takes them as they are.
_OPEN = {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}
_OPTIONS = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}


class DecodeError(DataError):
    """A video or a frame that cannot be read; the message names the file."""


@contextlib.contextmanager
def _errors_named(message: str) -> Iterator[None]:
    """Turns whatever a library throws at a file into DecodeError."""
    try:
        yield
    except DecodeError:
        raise
    except Exception as error:
        raise DecodeError(f"{message}: {_reason(error)}") from error


class FrameSource(Protocol):
    """A video of `num_frames` frames that gives any of them, `average_rate` of them a second (None: nothing says)."""

    num_frames: int
    average_rate: Fraction | None

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray: ...

    def close(self) -> None: ...

    def __enter__(self) -> FrameSource: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_source(path: str, num_frames: int | None = None, limits: Limits | None = None) -> FrameSource:
    """Opens a video file or a folder of frames.

    Args:
        path: The file or folder.
        num_frames: Frames that the list promises for a folder; None takes all there are. Videos count their own.
        limits: What the file may cost; None for those of a person's own files.

    Returns:
        A context manager with `num_frames` and `read(indices) -> uint8 [len, H, W, 3] RGB`; indices count from 0,
        in any order, repeated or not.

    Raises:
        DecodeError: Nothing there, not a video, truncated, beyond the limits, or a gap in the numbering of the frames.
    """
    limits = limits or Limits()
    if os.path.isdir(path):
        return FrameFolder(path, num_frames, limits)
    if not os.path.isfile(path):
        raise DecodeError(f"{path} does not exist")
    return VideoFile(path, limits)


def _check_indices(path: str, indices: Sequence[int] | np.ndarray, num_frames: int) -> np.ndarray:
    wanted = np.asarray(indices, dtype=np.int64)
    if wanted.size == 0:
        raise DecodeError(f"{path}: no frame was asked for")
    if wanted.min() < 0 or wanted.max() >= num_frames:
        raise DecodeError(f"{path} has frames 0..{num_frames - 1}, asked for {wanted.min()}..{wanted.max()}")
    return wanted


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
        self.take_frame(image.shape[1], image.shape[0])
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


class _Closing:
    """The `with` statement of a source."""

    def close(self) -> None:
        """Gives back what the source holds open."""

    def __enter__(self):
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class VideoFile(_Closing):
    """One video file. Its packets stay in memory while it is open, so that takes about the size of the file.

    Streams whose time stamps do not order the frames (AVI with packed B-frames, broken muxers) are decoded from the
    start; everything else from the nearest key frame.
    """

    def __init__(self, path: str, limits: Limits) -> None:
        self.path = path
        self._budget = Budget(path, limits)
        with _errors_named(f"{path} is no readable video"):
            self._container = av.open(path, options=_OPTIONS, **_OPEN)
        try:
            with _errors_named(f"{path} is truncated or damaged"):
                self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        stream = next(iter(self._container.streams.video), None)
        if stream is None:
            raise DecodeError(f"{self.path} has no video stream")
        self.average_rate = stream.average_rate
        stream.thread_type = "NONE"  # one thread: frames are skipped packet by packet
        self._decoder = stream.codec_context
        if self._decoder is None:
            raise DecodeError(f"{self.path} is in a codec that is not known here")
        self._budget.take_frame(self._decoder.width, self._decoder.height)
        self._decoder.options = {"max_pixels": str(self._budget.limits.max_frame_pixels)}
        self._packets: list[av.Packet] = []
        for packet in self._container.demux(stream):
            if packet.size:
                self._packets.append(packet)
                self._budget.take_packet(packet.size)
        if not self._packets:
            raise DecodeError(f"{self.path} holds no frame")
        self._check_complete(stream.frames)
        self._kept: list[av.VideoFrame] | None = None
        self._stamps = self._order()
        self.num_frames = len(self._stamps) if self._stamps else self._count()

    def _check_complete(self, promised: int) -> None:
        """Compares the packets with the `promised` frames, and the file's size with the size in its header.

        AVI headers miscount frames, so there both must fall short. Streams without a header (MPEG) promise nothing.
        """
        size, promised_size = Path(self.path).stat().st_size, _promised_size(self.path)
        frames_missing = promised > len(self._packets)
        if promised_size and size >= promised_size:
            return
        if promised_size and not promised:
            raise DecodeError(f"{self.path} is truncated: {size} of {promised_size} bytes are there")
        if frames_missing:
            raise DecodeError(f"{self.path} is truncated: {len(self._packets)} of {promised} frames are there")

    def _order(self) -> list[int]:
        """Time stamps in the order of display, or [] when they do not tell which frame is the i-th."""
        shown = [packet for packet in self._packets if not packet.is_discard]
        stamps = [packet.pts for packet in shown]
        if not shown or None in stamps or len(set(stamps)) < len(stamps) or self._decoder.name == "vp8":
            return []  # VP8 has packets that show nothing
        if not shown[0].is_keyframe or min(stamps) < stamps[0]:
            return []  # frames before the first key frame: which of them come out is the decoder's affair
        ordered, keys = sorted(stamps), [packet.pts for packet in shown if packet.is_keyframe]
        if keys != sorted(keys):
            return []
        if self._decoder.has_b_frames and self._decoder.name == "mpeg4" and ordered == stamps:
            return []  # packed B-frames: the stamps are those of the packets
        return ordered

    def _count(self) -> int:
        """Frames that decoding from the start gives; keeps them when they are small together."""
        kept: list[av.VideoFrame] = []
        count = size = 0
        for frame in self._decode_all():
            self._budget.take_frame(frame.width, frame.height)
            count += 1
            size += frame.width * frame.height * 3 // 2
            if size <= KEPT_BYTES:
                kept.append(frame)
            else:
                kept.clear()
        self._kept = kept or None
        if not count:
            raise DecodeError(f"{self.path} holds no frame that can be decoded")
        return count

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Decodes frames.

        Returns:
            uint8 [len(indices), H, W, 3] RGB, turned upright where the file says so.

        Raises:
            DecodeError: An index out of range, or a frame that does not decode.
        """
        wanted = _check_indices(self.path, indices, self.num_frames)
        places: dict[int, list[int]] = {}
        for place, index in enumerate(wanted.tolist()):
            places.setdefault(index, []).append(place)
        ordered = sorted(places)
        out = None
        for index, frame in zip(ordered, self._frames(ordered), strict=True):
            with _errors_named(f"{self.path}: frame {index} does not decode"):
                image = _upright(frame)
            if out is None:
                out = self._budget.room_for(len(wanted), image)
            if image.shape != out.shape[1:]:
                raise DecodeError(f"{self.path}: frame {index} is {_size(image)}, the first one {_size(out[0])}")
            out[places[index]] = image
        assert out is not None  # `wanted` is not empty
        return out

    def _frames(self, ordered: list[int]) -> Iterator[av.VideoFrame]:
        """The frames of rising indices, one for each."""
        if self._stamps:
            yield from self._decode_wanted([self._stamps[index] for index in ordered])
        elif self._kept is not None:
            yield from (self._kept[index] for index in ordered)
        else:
            wanted = set(ordered)
            yield from (frame for index, frame in enumerate(self._decode_all()) if index in wanted)

    def _decode_all(self) -> Iterator[av.VideoFrame]:
        self._decoder.flush_buffers()
        self._decoder.skip_frame = "DEFAULT"
        for packet in [*self._packets, None]:
            yield from self._decode(packet)

    def _decode_wanted(self, stamps: list[int], from_start: bool = False) -> Iterator[av.VideoFrame]:
        """The frames of rising time stamps, with as few packets decoded as can be."""
        wanted = set(stamps)
        next_wanted = 0
        for packet in self._plan(stamps, from_start):
            if packet is not None:
                # A frame that no other refers to can be left out without a trace in the others.
                self._decoder.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
            for frame in self._decode(packet):
                if next_wanted < len(stamps) and frame.pts == stamps[next_wanted]:
                    next_wanted += 1
                    yield frame
            if next_wanted == len(stamps):
                return
        if not from_start:  # a key frame that is none, as with gradual refresh
            yield from self._decode_wanted(stamps[next_wanted:], from_start=True)
            return
        index = self._stamps.index(stamps[next_wanted])
        raise DecodeError(f"{self.path}: frame {index} of {self.num_frames} does not decode")

    def _plan(self, stamps: list[int], from_start: bool) -> Iterator[av.Packet | None]:
        """Packets for the decoder: for each group of wanted frames, from its key frame to its last frame.

        None asks the decoder for the frames that it holds back; then it is made ready for the next group.
        """
        keys = [0] if from_start else [i for i, packet in enumerate(self._packets) if packet.is_keyframe]
        position = {packet.pts: i for i, packet in enumerate(self._packets)}
        key_stamps = [self._packets[i].pts for i in keys]
        groups: dict[int, int] = {}  # position of the key frame -> last position that is needed
        for stamp in stamps:
            key = keys[int(np.searchsorted(key_stamps, stamp, side="right")) - 1]
            groups[key] = max(groups.get(key, key), position[stamp])
        for key, last in groups.items():
            self._decoder.flush_buffers()
            yield from self._packets[key : last + 1]
            yield None

    def _decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        self._budget.check_time()
        with _errors_named(f"{self.path} is truncated or damaged"):
            return self._decoder.decode(packet)

    def close(self) -> None:
        """Closes the file."""
        self._packets, self._kept = [], None
        self._container.close()


def _promised_size(path: str) -> int:
    """Size of an AVI or Matroska file by its own header, in bytes; 0 for other files and for unknown sizes."""
    with open(path, "rb") as file:
        head = file.read(128)
    if head[:4] == RIFF_MARK:
        return 8 + int.from_bytes(head[4:8], "little")
    if head[:4] == EBML_MARK:
        size, segment = _ebml_size(head, 4)
        if head[segment + size :][:4] == SEGMENT_MARK:
            size, start = _ebml_size(head, segment + size + 4)
            return start + size if size else 0
    return 0


def _ebml_size(head: bytes, at: int) -> tuple[int, int]:
    """(size that the Matroska header has at byte `at`, 0 when unknown; position of the byte after it)."""
    if at >= len(head) or not head[at]:
        return 0, at
    length = 9 - head[at].bit_length()  # the leading zeros tell how long the number is
    number = int.from_bytes(head[at : at + length], "big") - (1 << 7 * length)
    unknown = (1 << 7 * length) - 1
    return (0 if number == unknown else number), at + length


def _upright(frame: av.VideoFrame) -> np.ndarray:
    image = frame.to_ndarray(format="rgb24")  # [H, W, 3]
    return np.rot90(image, frame.rotation // 90) if frame.rotation else image


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


class FrameFolder(_Closing):
    """A folder of numbered images: any prefix, then digits that count up from any number, then an image suffix.

    Optical flow beside the RGB frames (`flow_x_00001.jpg`) is passed over.
    """

    average_rate: Fraction | None = None

    def __init__(self, path: str, num_frames: int | None, limits: Limits) -> None:
        self.path = path
        self._budget = Budget(path, limits)
        self._names = _frame_names(path)
        if num_frames is not None and num_frames > len(self._names):
            raise DecodeError(f"{path} holds {len(self._names)} frames, the list says {num_frames}")
        self.num_frames = len(self._names) if num_frames is None else num_frames

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Decodes frames.

        Returns:
            uint8 [len(indices), H, W, 3] RGB.

        Raises:
            DecodeError: An index out of range, a file that is no image, or frames of different size.
        """
        wanted = _check_indices(self.path, indices, self.num_frames)
        first_place: dict[int, int] = {}
        out = None
        for place, index in enumerate(wanted.tolist()):
            if index in first_place:
                out[place] = out[first_place[index]]  # type: ignore[index]  # set with the first frame
                continue
            first_place[index] = place
            image = _read_image(os.path.join(self.path, self._names[index]), self._budget)
            if out is None:
                out = self._budget.room_for(len(wanted), image)
            if image.shape != out.shape[1:]:
                name = os.path.join(self.path, self._names[index])
                raise DecodeError(f"{name} is {_size(image)}, the frames before it {_size(out[0])}")
            out[place] = image
        return out  # type: ignore[return-value]  # `wanted` is not empty


def _frame_names(folder: str) -> list[str]:
    """File names of the frames in order.

    Raises:
        DecodeError: No frames, several ways of naming them, or a number that is missing.
    """
    series: dict[tuple[str, str], dict[int, str]] = {}
    for name in os.listdir(folder):
        match = FRAME_NAME.fullmatch(name)
        if match and not name.startswith("."):
            numbers = series.setdefault((match["prefix"], match["suffix"]), {})
            number = int(match["number"])
            if number in numbers:
                raise DecodeError(f"{folder} has two frames {number}: {numbers[number]} and {name}")
            numbers[number] = name
    rgb = [key for key in series if not key[0].startswith(FLOW_PREFIX)]
    if not rgb:
        raise DecodeError(f"{folder} holds no numbered image (such as img_00001.jpg)")
    if len(rgb) > 1:
        examples = ", ".join(sorted(min(series[key].values()) for key in rgb))
        raise DecodeError(f"{folder} holds frames named in several ways: {examples}")
    numbers = series[rgb[0]]
    first, last = min(numbers), max(numbers)
    if last - first + 1 != len(numbers):
        missing = next(number for number in range(first, last) if number not in numbers)
        raise DecodeError(f"{folder} has a gap: {_name_like(numbers[missing - 1], missing)} is missing")
    return [numbers[number] for number in range(first, last + 1)]


def _name_like(name: str, number: int) -> str:
    """`name` with another number, as wide as the one it had."""
    match = FRAME_NAME.fullmatch(name)
    assert match is not None  # `name` comes from a match
    return f"{match['prefix']}{number:0{len(match['number'])}d}{match['suffix']}"


def _read_image(path: str, budget: Budget) -> np.ndarray:
    """uint8 [H, W, 3] RGB."""
    budget.check_time()
    try:
        with open(path, "rb") as file:
            budget.take_file(os.fstat(file.fileno()).st_size)
            data = file.read()
    except OSError as error:
        raise DecodeError(f"cannot read {path}: {error.strerror}") from error
    with _errors_named(f"{path} is no readable picture"):
        budget.take_frame(*pictures.size_of(data))
        return pictures.decode(data)
