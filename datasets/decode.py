"""Frames of a video file or of a folder of images, and only those that are asked for.

A video is read without a seek: its packets are demultiplexed once, which costs no decoding and gives the frame count,
the time stamps and the key frames; then the decoder gets the packets from the last key frame before each wanted frame
on, and passes over frames that nothing else refers to. Frame i is the frame that decoding from the start gives i-th.

What a file says of itself is believed as far as what comes out of the decoder bears it out: stamps that rise in the
order of the packets prove nothing if the decoder reorders, a key frame is one if the decoder calls it one, frames come
out with rising stamps, and none is damaged. Where one of that does not hold, the file is decoded from its start.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol

import av
import cv2
import numpy as np
import PIL.Image
import simplejpeg

from configs.limits import Limits
from datasets.annotation import DataError

FRAME_NAME = re.compile(r"(?P<prefix>.*?)(?P<number>\d+)\.(?P<suffix>jpe?g|png|bmp|webp)", re.IGNORECASE)
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
# Codecs, by FFmpeg's names, whose frames are the same from a key frame on as from the start, and which give a frame for
# each packet that is not HIDDEN; tests/datasets/test_random_access.py proves it. So do those of key frames only.
SEEKABLE = ("av1", "h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vp8", "vp9")
SKIPPING = ("h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4")  # decoders that pass over one frame as they are told
# Codec -> whether a packet shows nothing: frames for reference only, and MPEG-4's for "as before".
HIDDEN: dict[str, Callable[[memoryview], bool]] = {
    "mpeg4": lambda data: len(data) < 16,
    "vp8": lambda data: not data[0] & 0x10,
    "vp9": lambda data: not (data[-1] & 0xE0 == 0xC0 or data[0] & (0x0A if data[0] & 0x30 < 0x30 else 0x05)),
}
# Codec -> whether a packet is shown before one that comes earlier; of the others only the decoder tells.
MOVED: dict[str, Callable[[memoryview], bool]] = {"mpeg4": lambda data: _vop_type(bytes(data)) == "B"}
PICTURES = 0x400 | 0x800  # AV_DISPOSITION_ATTACHED_PIC, AV_DISPOSITION_TIMED_THUMBNAILS
PIL.Image.MAX_IMAGE_PIXELS = None  # the limits that a caller sets are held against the size that it finds
# What is wrong with a picture is in the error. 0 is silent; the function has moved between OpenCV 4 and 5.
(cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel)(0)
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

    def frames(self, indices: Sequence[int] | np.ndarray) -> Iterator[tuple[int, np.ndarray]]: ...

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


class _Source:
    """What all sources have: the frames together, and the `with` statement."""

    path: str
    num_frames: int
    _budget: Budget

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

    def _decoded(self, ordered: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """What `frames` yields, of rising indices."""
        raise NotImplementedError

    def _name(self, index: int) -> str:
        """What a frame is called in a message."""
        return f"{self.path}: frame {index}"

    def close(self) -> None:
        """Gives back what the source holds open."""

    def __enter__(self):
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _UntrustedError(Exception):
    """The stamps of a file do not tell which frame is the i-th."""


class VideoFile(_Source):
    """One video file. Its packets stay in memory while it is open, so that takes about the size of the file.

    Of several streams it is the one that FFmpeg calls the best, never a cover picture.
    """

    def __init__(self, path: str, limits: Limits) -> None:
        self.path = path
        self._budget = Budget(path, limits)
        self._packets: list[av.Packet] = []
        self._kept: list[av.VideoFrame] | None = None
        self._matrices: dict[int, tuple[float, float, float, float]] = {}
        self._container = self._opened()
        try:
            with _errors_named(f"{path} is truncated or damaged"):
                self._start()
        except BaseException:
            self.close()
            raise

    def _opened(self) -> av.container.InputContainer:
        with _errors_named(f"{self.path} is no readable video"):
            return av.open(f"file:{self.path}", options=_OPTIONS, **_OPEN)  # a path, whatever is in it

    def _start(self) -> None:
        stream = self._best_stream()
        self.average_rate = stream.average_rate
        self._decoder = self._decoder_of(stream)
        for packet in self._container.demux(stream):
            if packet.size:
                self._packets.append(packet)
                self._budget.take_packet(packet.size)
        if not self._packets:
            raise DecodeError(f"{self.path} holds no frame")
        self._check_complete(stream.frames)
        shown = [packet.pts for packet in self._packets if not packet.is_discard]
        self._stamps = self._order()
        self._is_reordered = self._stamps != shown
        self._keys = [i for i, packet in enumerate(self._packets) if packet.is_keyframe]
        self._position = {packet.pts: i for i, packet in enumerate(self._packets)}
        self.num_frames = len(self._stamps) if self._stamps else self._count()

    def _best_stream(self) -> av.VideoStream:
        streams = self._container.streams.video
        moving = [stream for stream in streams if not stream.disposition & PICTURES]
        if not moving:
            raise DecodeError(f"{self.path} has no video stream" + ", only a cover picture" * bool(streams))
        best = self._container.streams.best("video")
        return best if best in moving else moving[0]

    def _decoder_of(self, stream: av.VideoStream) -> av.VideoCodecContext:
        stream.thread_type = "NONE"  # one thread: frames are skipped packet by packet
        decoder = stream.codec_context
        if decoder is None:
            raise DecodeError(f"{self.path} is in a codec that is not known here")
        self._budget.take_frame(decoder.width, decoder.height)
        strict = {"err_detect": "explode"} if decoder.codec.intra_only else {}  # nothing else says that it is damaged
        decoder.options = {"max_pixels": str(self._budget.limits.max_frame_pixels), **strict}
        return decoder

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
        if not shown or None in stamps or len(set(stamps)) < len(stamps):
            return []
        codec, ordered = self._decoder.codec, sorted(stamps)
        if not codec.reorder and ordered != stamps:
            return []
        if codec.canonical_name not in SEEKABLE and not codec.intra_only:
            return []
        is_hidden = HIDDEN.get(codec.canonical_name)
        if is_hidden and any(is_hidden(memoryview(packet)) for packet in shown):
            return []
        if not shown[0].is_keyframe or min(stamps) < stamps[0]:
            return []  # frames before the first key frame: which of them come out is the decoder's affair
        keys = [packet.pts for packet in shown if packet.is_keyframe]
        if keys != sorted(keys):
            return []
        is_moved = MOVED.get(codec.canonical_name)
        self._tells = not codec.reorder or is_moved is not None
        if ordered == stamps and (
            self._decoder.has_b_frames or (is_moved and any(is_moved(memoryview(packet)[:512]) for packet in shown))
        ):
            return []  # packed B-frames, or stamps in the order of decoding: they are those of the packets
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

    def _decoded(self, ordered: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        if self._stamps:
            try:
                yield from self._images(ordered, self._decode_wanted([self._stamps[index] for index in ordered]))
                return
            except _UntrustedError:
                self._stamps = []
                count = self._count()
                if count != self.num_frames:
                    raise DecodeError(f"{self.path} has {self.num_frames} frames, of which {count} decode") from None
        yield from self._images(ordered, self._decode_counted(set(ordered)))

    def _images(self, ordered: list[int], frames: Iterator[av.VideoFrame]) -> Iterator[tuple[int, np.ndarray]]:
        for index, frame in zip(ordered, frames, strict=True):
            self._budget.take_frame(frame.width, frame.height)
            with _errors_named(f"{self._name(index)} does not decode"):
                turn = frame.rotation
                if turn not in self._matrices:  # one for a file: reading it takes longer than the angle in it
                    self._matrices[turn] = _display_matrix(frame)
                image = _upright(frame, self._matrices[turn])
            yield index, image

    def _decode_all(self) -> Iterator[av.VideoFrame]:
        self._decoder.flush_buffers()
        self._decoder.skip_frame = "DEFAULT"
        for packet in [*self._packets, None]:
            yield from self._decode(packet)

    def _decode_counted(self, wanted: set[int]) -> Iterator[av.VideoFrame]:
        """The frames of some indices, decoded from the start.

        Raises:
            DecodeError: One of them is damaged, or built on one that is: where the decoder understands nothing it
                leaves what its memory holds, another picture each time.
        """
        is_damaged = False
        for index, frame in enumerate(self._decode_all() if self._kept is None else self._kept):
            is_damaged = frame.is_corrupt or (is_damaged and not frame.key_frame)
            if index in wanted and is_damaged:
                raise DecodeError(f"{self._name(index)} is damaged")
            if index in wanted:
                yield frame

    def _decode_wanted(self, stamps: list[int]) -> Iterator[av.VideoFrame]:
        """The frames of rising time stamps, with as few packets decoded as can be: group for group, each from its key.

        Raises:
            _UntrustedError: The frames do not come out as their stamps say.
        """
        missing = list(stamps)
        while missing:
            keys = [self._packets[i].pts for i in self._keys]
            place = int(np.searchsorted(keys, missing[0], side="right"))
            end = keys[place] if place < len(keys) else math.inf
            group = [stamp for stamp in missing if stamp < end]
            for frame in self._decode_group(self._keys[place - 1], group):
                del missing[0]
                yield frame
            if not missing or missing[0] >= end:
                continue
            if self._keys == [0]:
                raise _UntrustedError
            self._keys = [0]  # a key frame that is none, or is one by and by, as with gradual refresh

    def _decode_group(self, key: int, stamps: list[int]) -> Iterator[av.VideoFrame]:
        """The frames of stamps from a key frame on, as far as they come; none if the decoder does not call it one.

        A packet whose stamp lies before that of an earlier one is a frame that was moved. Those that no other frame
        refers to are passed over, which leaves no trace in the others. Where nothing seems to be moved, no frame is
        passed over, nor the one after the last: if the stamps are those of decoding, it comes out before it.
        """
        wanted, last = set(stamps), max(self._position[stamp] for stamp in stamps)
        packets, end = self._packets[key : last + 1], self._packets[last].pts
        after = self._packets[last + 1 : last + 2]
        is_moved = any(packet.pts > end for packet in packets) or any(packet.pts < end for packet in after)
        is_sure = is_moved or self._tells
        if not is_sure:
            packets += after
        left, before, highest, is_proved = len(stamps), -math.inf, -math.inf, key == 0
        self._decoder.flush_buffers()
        for packet in [*packets, None]:
            if packet is not None:
                skips = packet.pts < highest and packet.pts not in wanted and self._decoder.name in SKIPPING
                self._decoder.skip_frame = "NONREF" if skips else "DEFAULT"
                highest = max(highest, packet.pts)
            for frame in self._decode(packet):
                if frame.pts is None or frame.pts <= before or frame.is_corrupt:
                    raise _UntrustedError
                before = frame.pts
                is_proved = is_proved or (frame.key_frame and frame.pts == self._packets[key].pts)
                if not is_proved and frame.pts >= self._packets[key].pts:
                    return
                if frame.pts in wanted:
                    left -= 1
                    yield frame
            if not left and is_sure:
                return
        if self._decoder.has_b_frames and not self._is_reordered:
            raise _UntrustedError

    def _decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        self._budget.check_time()
        with _errors_named(f"{self.path} is truncated or damaged"):
            return self._decoder.decode(packet)

    def close(self) -> None:
        """Closes the file."""
        self._packets, self._kept = [], None
        self._container.close()


def _vop_type(data: bytes) -> str:
    """I, P, B or S of the first picture in a packet of MPEG-4, ISO/IEC 14496-2, 6.2.5; B where there is none."""
    at = data.find(b"\0\0\1\xb6") + 4
    return "IPBS"[data[at] >> 6] if 4 <= at < len(data) else "B"


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


def _upright(frame: av.VideoFrame, matrix: tuple[float, float, float, float]) -> np.ndarray:
    """uint8 [H, W, 3] RGB, turned and mirrored as the display matrix says; a matrix of no area says nothing.

    Source: `-autorotate` of FFmpeg's command (fftools, configure_input_video_filter), libavutil's display.h.
    """
    a, b, c, d = matrix
    if a * d == b * c:
        return frame.to_ndarray(format="rgb24")
    turn = round(math.degrees(math.atan2(b / math.hypot(b, d), a / math.hypot(a, c)))) % 360  # clockwise
    if turn % 90 and turn > 1:
        return _rotated(frame, turn).to_ndarray(format="rgb24")
    image = frame.to_ndarray(format="rgb24")
    if turn == 90:
        image = image.swapaxes(0, 1) if c > 0 else np.rot90(image, -1)
    elif turn == 270:
        image = image.swapaxes(0, 1)[::-1, ::-1] if c < 0 else np.rot90(image)
    else:
        image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(image)


def _display_matrix(frame: av.VideoFrame) -> tuple[float, float, float, float]:
    """Where x and y of the picture go: (a, b, c, d) for x' = ax + cy, y' = bx + dy."""
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # beside data that PyAV does not know; its own reading of the matrix is the angle only
        turn = math.radians(frame.rotation)
        return math.cos(turn), -math.sin(turn), math.sin(turn), math.cos(turn)
    a, b, _, c, d, *_ = struct.unpack("9i", bytes(data)) if data else (1, 0, 0, 0, 1)
    return a, b, c, d


def _rotated(frame: av.VideoFrame, degrees: int) -> av.VideoFrame:
    """A frame turned clockwise by FFmpeg's filter, in its own size, black where there is nothing."""
    graph = av.filter.Graph()
    time_base = frame.time_base or Fraction(1, 25)
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format.name, time_base=time_base)
    graph.link_nodes(source, graph.add("rotate", f"{degrees}*PI/180"), graph.add("buffersink")).configure()
    graph.push(frame)
    return graph.pull()


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


class FrameFolder(_Source):
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

    def _decoded(self, ordered: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        for index in ordered:
            yield index, _read_image(self._name(index), self._budget)

    def _name(self, index: int) -> str:
        return os.path.join(self.path, self._names[index])


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
    return f"{match['prefix']}{number:0{len(match['number'])}d}.{match['suffix']}"


def _read_image(path: str, budget: Budget) -> np.ndarray:
    """uint8 [H, W, 3] RGB. A JPEG equals OpenCV's decoder bit for bit."""
    budget.check_time()
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise DecodeError(f"cannot read {path}: {error.strerror}") from error
    if path.lower().endswith((".jpg", ".jpeg")):
        with _errors_named(f"{path} is no readable JPEG"):
            height, width, *_ = simplejpeg.decode_jpeg_header(data)
            budget.take_frame(width, height)
            return simplejpeg.decode_jpeg(data, "RGB")
    with _errors_named(f"{path} is no readable image"):
        budget.take_frame(*_checked_size(data))
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise DecodeError(f"{path} is no readable image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _checked_size(data: bytes) -> tuple[int, int]:
    """Width and height of a picture whose parts are whole; OpenCV would believe their lengths and take memory for them.

    Raises:
        Exception: Whatever Pillow makes of a damaged one.
    """
    with PIL.Image.open(io.BytesIO(data), formats=("PNG", "BMP", "WEBP")) as picture:
        picture.verify()
        return picture.size
