"""Frames of a video file, and only those that are asked for.

A video is read without a seek: its packets are demultiplexed once, which costs no decoding and gives the frame count,
the time stamps and the key frames; then the decoder gets the packets from the last key frame before each wanted frame
on, and passes over frames that nothing else refers to. Frame i is the frame that decoding from the start gives i-th.

What a file says of itself is believed as far as what comes out of the decoder bears it out: stamps that rise in the
order of the packets prove nothing if the decoder reorders, a key frame is one if the decoder calls it one, frames come
out with rising stamps, each that is due, and none is damaged. Where one of that does not hold, the file is decoded from
its start, by a decoder that has seen nothing else: what it puts in the place of damage depends on that.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import math
import struct
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from configs.limits import Limits
from datasets.source import Budget, DecodeError, FrameSource, errors_named

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
REMEMBERING = ("vp8",)  # decoders in which a flush leaves something of a damaged stream
# Codec -> whether a packet shows nothing: frames for reference only, and MPEG-4's for "as before".
HIDDEN: dict[str, Callable[[memoryview], bool]] = {
    "mpeg4": lambda data: len(data) < 16,
    "vp8": lambda data: not data[0] & 0x10,
    "vp9": lambda data: not (data[-1] & 0xE0 == 0xC0 or data[0] & (0x0A if data[0] & 0x30 < 0x30 else 0x05)),
}
# Codec -> whether a packet is shown before one that comes earlier; of the others only the decoder tells.
MOVED: dict[str, Callable[[memoryview], bool]] = {"mpeg4": lambda data: _vop_type(bytes(data)) == "B"}
PICTURES = 0x400 | 0x800  # AV_DISPOSITION_ATTACHED_PIC, AV_DISPOSITION_TIMED_THUMBNAILS
# Tags that are not UTF-8 are nothing that decoding needs; from 19 on, PyAV takes them as they are.
_OPEN = {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}
OPTIONS = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}


class _UntrustedError(Exception):
    """The stamps of a file do not tell which frame is the i-th."""


class VideoFile(FrameSource):
    """One video file. Its packets stay in memory while it is open, so that takes about the size of the file.

    Of several streams it is the one that FFmpeg calls the best, never a cover picture.
    """

    def __init__(self, path: str, limits: Limits) -> None:
        self.path = path
        self._budget = Budget(path, limits)
        self._packets: list[av.Packet] = []
        self._kept: list[av.VideoFrame] | None = None
        self._upright = Upright()
        try:
            with errors_named(f"{path} is truncated or damaged"):
                self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        with opened_stream(self.path) as stream:
            self.average_rate = stream.average_rate
            self._decoder, promised = self._decoder_of(stream), stream.frames
            for packet in stream.container.demux(stream):
                if packet.size:
                    self._packets.append(packet)
                    self._budget.take_packet(packet.size)
        if not self._packets:
            raise DecodeError(f"{self.path} holds no frame")
        self._check_complete(promised)
        shown = [packet for packet in self._packets if not packet.is_discard]
        self._stamps = self._order(shown)
        gaps = [after - stamp for stamp, after in itertools.pairwise(self._stamps)]
        self._is_even = bool(gaps) and max(gaps) < 2 * min(gaps)  # no packet is lost
        self._is_reordered = self._stamps != [packet.pts for packet in shown]
        codec = self._decoder.codec
        self._tells = not codec.reorder or codec.canonical_name in MOVED  # whether a frame was moved
        self._keys = [i for i, packet in enumerate(self._packets) if packet.is_keyframe]
        self._position = {packet.pts: i for i, packet in enumerate(self._packets)}
        self.num_frames = self._num_decoded = len(self._stamps) if self._stamps else self._count()

    def _decoder_of(self, stream: av.VideoStream) -> av.VideoCodecContext:
        return decoder_of(stream, self._budget)

    def _prepare(self, is_strict: bool) -> None:
        """A decoder for what comes: strict, it makes an error of damage; otherwise a new one, which bridges it.

        Where frames stand alone, it is always strict: nothing else says that they are damaged.
        """
        if self._decoder.is_open:
            if is_strict and self._decoder.name not in REMEMBERING:
                self._decoder.flush_buffers()
                return
            with opened_stream(self.path) as stream:
                self._decoder = self._decoder_of(stream)
        self._decoder.options = options_of(self._decoder, self._budget, is_strict)

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

    def _order(self, shown: list[av.Packet]) -> list[int]:
        """Time stamps in the order of display, or [] when they do not tell which frame is the i-th."""
        stamps = [packet.pts for packet in shown]
        if not shown or None in stamps or len(set(stamps)) < len(stamps) or any(p.is_corrupt for p in shown):
            return []
        decoding = [packet.dts for packet in shown if packet.dts is not None]
        if decoding != sorted(set(decoding)):
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
                self._stamps, self._num_decoded = [], self._count()
        if self._num_decoded != self.num_frames:
            raise DecodeError(f"{self.path} has {self.num_frames} frames, of which {self._num_decoded} decode")
        yield from self._images(ordered, self._decode_counted(set(ordered)))

    def _images(self, ordered: list[int], frames: Iterator[av.VideoFrame]) -> Iterator[tuple[int, np.ndarray]]:
        for index, frame in zip(ordered, frames, strict=True):
            self._budget.take_frame(frame.width, frame.height)
            with errors_named(f"{self._name(index)} does not decode"):
                image = self._upright(frame)
            yield index, image

    def _decode_all(self) -> Iterator[av.VideoFrame]:
        self._prepare(is_strict=False)
        for packet in [*self._packets, None]:
            yield from self._decode(packet)

    def _decode_counted(self, wanted: set[int]) -> Iterator[av.VideoFrame]:
        """The frames of some indices, decoded from the start.

        Raises:
            DecodeError: One of them is damaged, or built on one that is: where the decoder understands nothing it
                leaves what its memory holds, another picture each time.
        """
        for index, (frame, is_damaged) in enumerate(judged(self._decode_all() if self._kept is None else self._kept)):
            if index in wanted and is_damaged:
                raise DecodeError(f"{self._name(index)} is damaged")
            if index in wanted:
                yield frame

    def _decode_wanted(self, stamps: list[int]) -> Iterator[av.VideoFrame]:
        """The frames of rising time stamps, with as few packets decoded as can be: group for group, each from its key.

        Raises:
            _UntrustedError: The frames do not come out as their stamps say.
        """
        keys = [self._packets[i].pts for i in self._keys]
        begin = 0  # of the stamps, the first whose frame has not come
        while begin < len(stamps):
            place = bisect.bisect_right(keys, stamps[begin])
            end = bisect.bisect_left(stamps, keys[place]) if place < len(keys) else len(stamps)
            for frame in self._decode_group(self._keys[place - 1], stamps[begin:end]):
                begin += 1
                yield frame
            if begin == end:
                continue
            if self._keys == [0]:
                raise _UntrustedError
            # A key frame that is none, or is one by and by, as with gradual refresh
            self._keys, keys = [0], [self._packets[0].pts]

    def _decode_group(self, key: int, stamps: list[int]) -> Iterator[av.VideoFrame]:
        """The frames of stamps from a key frame on, as far as they come; none if the decoder does not call it one."""
        left, start, is_proved = set(stamps), self._packets[key].pts, key == 0
        for frame in self._decode_from(key, left):
            is_proved = is_proved or (frame.key_frame and frame.pts == start)
            if not is_proved and frame.pts >= start:
                return
            if frame.pts in left:
                left.remove(frame.pts)
                yield frame

    def _decode_from(self, key: int, wanted: set[int]) -> Iterator[av.VideoFrame]:
        """Frames of rising stamps from a key frame on, `wanted` ones among them, until somebody has emptied that set.

        A packet whose stamp lies before that of an earlier one is a frame that was moved. Those that no other frame
        refers to are passed over, which leaves no trace in the others, unless one is lost, whose place they may take.
        Where nothing seems to be moved, no frame is passed over, nor the one after the last: if the stamps are those of
        decoding, it comes out before it.

        Raises:
            _UntrustedError: A frame is damaged, is missing, or comes out of order.
        """
        last = max(self._position[stamp] for stamp in wanted)
        packets, end = self._packets[key : last + 1], self._packets[last].pts
        after = self._packets[last + 1 : last + 2]
        is_moved = any(packet.pts > end for packet in packets) or any(packet.pts < end for packet in after)
        is_sure = is_moved or self._tells
        if not is_sure:
            packets += after
        before = highest = -math.inf
        due: set[int] = set()  # stamps of what the decoder has got and must give
        self._prepare(is_strict=True)
        may_skip = self._is_even and self._decoder.name in SKIPPING
        for packet in [*packets, None]:
            if packet is not None:
                skips = may_skip and packet.pts < highest and packet.pts not in wanted
                self._decoder.skip_frame = "NONREF" if skips else "DEFAULT"
                highest = max(highest, packet.pts)
                if not (skips or packet.is_discard or packet.pts < self._packets[key].pts):
                    due.add(packet.pts)
            for frame in self._decode_strictly(packet):
                due.discard(frame.pts)
                if frame.pts <= before or any(stamp < frame.pts for stamp in due):
                    raise _UntrustedError
                before = frame.pts
                yield frame
            if not wanted and is_sure:
                return
        if self._decoder.has_b_frames and not self._is_reordered:
            raise _UntrustedError

    def _decode_strictly(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        try:
            frames = self._decode(packet)
        except DecodeError:
            raise _UntrustedError from None
        if any(frame.pts is None or frame.is_corrupt for frame in frames):
            raise _UntrustedError
        return frames

    def _decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        self._budget.check_time()
        with errors_named(f"{self.path} is truncated or damaged"):
            return self._decoder.decode(packet)

    def close(self) -> None:
        """Lets go of what is in memory; nothing is open."""
        self._packets, self._kept = [], None


@contextlib.contextmanager
def opened_stream(path: str) -> Iterator[av.VideoStream]:
    """The stream of a file that is to be read; its packets and its decoder outlive the file being open.

    Of several streams it is the one that FFmpeg calls the best, never a cover picture.

    Raises:
        DecodeError: It is no readable video.
    """
    with errors_named(f"{path} is no readable video"):
        container = av.open(f"file:{path}", options=OPTIONS, **_OPEN)  # a path, whatever is in it
    with container:
        streams = container.streams.video
        moving = [stream for stream in streams if not stream.disposition & PICTURES]
        if not moving:
            raise DecodeError(f"{path} has no video stream" + ", only a cover picture" * bool(streams))
        best = container.streams.best("video")
        yield best if best in moving else moving[0]


def decoder_of(stream: av.VideoStream, budget: Budget) -> av.VideoCodecContext:
    """The decoder of a stream, in one thread: frames are skipped packet by packet, and damage ends where it ends.

    Raises:
        DecodeError: There is none, or the frames are too large.
    """
    stream.thread_type = "NONE"
    decoder = stream.codec_context
    if decoder is None:
        raise DecodeError(f"{budget.path} is in a codec that is not known here")
    budget.take_frame(decoder.width, decoder.height)
    return decoder


def options_of(decoder: av.VideoCodecContext, budget: Budget, is_strict: bool = False) -> dict[str, str]:
    """Options of a decoder: strict, it makes an error of damage; where frames stand alone, it is always strict."""
    strict = {"err_detect": "explode"} if is_strict or decoder.codec.intra_only else {}
    return {"max_pixels": str(budget.limits.max_frame_pixels), **strict}


def judged(frames: Iterable[av.VideoFrame]) -> Iterator[tuple[av.VideoFrame, bool]]:
    """Frames in the order of display, and whether each is damaged, or built on one that is."""
    is_damaged = False
    for frame in frames:
        is_damaged = frame.is_corrupt or (is_damaged and not frame.key_frame)
        yield frame, is_damaged


class Upright:
    """Makes pictures of the frames of one file, see `_upright`."""

    def __init__(self) -> None:
        self.matrices: dict[int, tuple[float, float, float, float]] = {}
        self._converter = VideoReformatter()  # of all frames, as making one takes as long as converting one

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """uint8 [H, W, 3] RGB."""
        turn = frame.rotation
        if turn not in self.matrices:  # one for a file: reading it takes longer than the angle in it
            self.matrices[turn] = _display_matrix(frame)
        return _upright(frame, self.matrices[turn], self._converter)


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


def _upright(
    frame: av.VideoFrame, matrix: tuple[float, float, float, float], converter: VideoReformatter
) -> np.ndarray:
    """uint8 [H, W, 3] RGB, turned and mirrored as the display matrix says; a matrix of no area says nothing.

    Source: `-autorotate` of FFmpeg's command (fftools, configure_input_video_filter), libavutil's display.h.
    """
    a, b, c, d = matrix
    if a * d == b * c:
        return _rgb(frame, converter)
    turn = round(math.degrees(math.atan2(b / math.hypot(b, d), a / math.hypot(a, c)))) % 360  # clockwise
    if turn % 90 and turn > 1:
        return _rgb(_rotated(frame, turn), converter)
    image = _rgb(frame, converter)
    if turn == 90:
        image = image.swapaxes(0, 1) if c > 0 else np.rot90(image, -1)
    elif turn == 270:
        image = image.swapaxes(0, 1)[::-1, ::-1] if c < 0 else np.rot90(image)
    else:
        image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(image)


def _rgb(frame: av.VideoFrame, converter: VideoReformatter) -> np.ndarray:
    """uint8 [H, W, 3] RGB, in this thread: to start others takes ten times as long as to convert a frame."""
    return converter.reformat(frame, format="rgb24", threads=1).to_ndarray()


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
