"""Every codec in every container that FFmpeg writes here: single frames are those of decoding from the start.

`python -m pytest -m whole -s tests/datasets/test_random_access.py` prints each combination and what it was.
"""

import itertools
import warnings
from pathlib import Path

import av
import numpy as np
import pytest

from datasets.decode import DecodeError, open_source
from datasets.sequential import SequentialFile
from tests.datasets.media import decode_in_order, moving_frames

SUFFIXES = {
    "3g2": "3g2", "3gp": "3gp", "apng": "apng", "asf": "wmv", "avi": "avi", "dv": "dv", "f4v": "f4v", "flv": "flv",
    "gif": "gif", "gxf": "gxf", "h261": "h261", "h263": "h263", "h264": "h264", "hevc": "hevc", "ismv": "ismv",
    "ivf": "ivf", "m4v": "m4v", "matroska": "mkv", "mjpeg": "mjpeg", "mov": "mov", "mp4": "mp4", "mpeg": "mpg",
    "mpeg1video": "m1v", "mpeg2video": "m2v", "mpegts": "ts", "mxf": "mxf", "nut": "nut", "obu": "obu", "ogg": "ogv",
    "rm": "rm", "vc1": "vc1", "vob": "vob", "webm": "webm", "wtv": "wtv", "yuv4mpegpipe": "y4m",
}  # fmt: skip
QUICK = ("libx264", "libx265", "mpeg4", "mpeg2video", "libvpx-vp9", "libsvtav1", "h263p", "mjpeg", "gif")
QUICK_CONTAINERS = ("avi", "matroska", "mp4", "mpegts", "asf", "gif")
HARDWARE = ("_amf", "_mf", "_nvenc", "_qsv", "_v4l2m2m", "_vaapi", "_vulkan", "_videotoolbox", "a64multi", "vnull")
SIZES = {"h261": (144, 176), "h263": (144, 176), "dvvideo": (576, 720), "dnxhd": (720, 1280)}  # others take 48x64
OPTIONS = {
    "dnxhd": {"b": "120M"}, "libsvtav1": {"preset": "12"}, "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}  # fmt: skip


def encoders() -> list[str]:
    found = []
    for name in sorted(av.codecs_available):
        try:
            is_video = av.Codec(name, "w").type == "video"
        except ValueError:  # it decodes only
            continue
        if is_video and not any(word in name for word in HARDWARE):
            found.append(name)
    return found


def write(path: Path, container: str, codec: str, gop: int, b_frames: int, count: int) -> None:
    """Raises what PyAV raises where the codec does not go into the container, or does not know such a frame."""
    kind, size = av.Codec(codec, "w"), SIZES.get(codec, (48, 64))
    formats = [form.name for form in kind.video_formats or ()]
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=25, options={"strict": "-2", **OPTIONS.get(codec, {})})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p" if "yuv420p" in formats or not formats else formats[0]
        if codec == "dnxhd":
            stream.pix_fmt, stream.bit_rate = "yuv422p", 120_000_000
        if codec == "libx265":
            stream.options = {"x265-params": f"log-level=none:bframes={b_frames}:keyint={gop}"}
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = gop, b_frames
        for frame in moving_frames(count, *size):
            image = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=stream.pix_fmt)
            file.mux(stream.encode(image))
        file.mux(stream.encode(None))


def check(path: Path, sets: int) -> str:
    """Compares sets of indices with the frames in order; says how the file was read."""
    expected = decode_in_order(path)
    rng = np.random.default_rng(0)
    in_order = list(SequentialFile(str(path)).frames(lambda number: number % 2 == 0))
    assert [shown.number for shown in in_order] == list(range(len(expected))), path.name
    assert np.array_equal([shown.image for shown in in_order[::2]], expected[::2]), path.name
    assert all(shown.image is None for shown in in_order[1::2])
    with open_source(str(path)) as source:
        assert source.num_frames == len(expected), path.name
        for _ in range(sets):
            indices = rng.integers(0, len(expected), size=int(rng.integers(1, 7)))
            assert np.array_equal(source.read(indices), expected[indices]), (path.name, indices)
        return "from key frames" if source._stamps else "from the start"


def is_damaged(path: Path) -> bool:
    """Whether FFmpeg, asked to be strict, calls a frame damaged: what it writes there it does not read."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        stream.thread_type, stream.codec_context.options = "NONE", {"err_detect": "explode"}
        try:
            return any(frame.is_corrupt for packet in file.demux(stream) for frame in packet.decode())
        except av.FFmpegError:
            return True


def compare(codec: str, folder: Path, containers, gops, b_frames, sets: int, count: int) -> list[str]:
    lines = []
    for container, gop, bs in itertools.product(containers, gops, b_frames):
        path = folder / f"{codec}_{gop}_{bs}.{SUFFIXES[container]}"
        try:
            write(path, container, codec, gop, bs, count)
            number = len(decode_in_order(path))
        except (av.FFmpegError, ValueError, OverflowError, NotImplementedError, IndexError):
            continue  # FFmpeg does not write that, or not so that it can read it
        if number > 1:
            try:
                found = check(path, sets)
            except DecodeError as error:
                if not is_damaged(path):
                    raise
                found = f"refused: {str(error).removeprefix(str(path)).lstrip(' :')}"
            lines.append(f"{codec}, {container}, GOP {gop}, {bs} B-frames: {number} frames, {found}")
        path.unlink()
    return lines


@pytest.mark.parametrize("codec", QUICK)
def test_single_frames_are_those_of_decoding_in_order(codec, tmp_path):
    lines = compare(codec, tmp_path, QUICK_CONTAINERS, (12,), (0, 2), 8, 30)
    if not lines:
        pytest.skip(f"no {codec} in this FFmpeg")


@pytest.mark.whole
@pytest.mark.parametrize("codec", encoders())
def test_every_combination(codec, tmp_path):
    warnings.simplefilter("ignore")  # of NumPy, for formats that PyAV rounds
    lines = compare(codec, tmp_path, SUFFIXES, (1, 12, 250), (0, 2), 200, 40)
    print("\n" + "\n".join(lines))
    if not lines:
        pytest.skip(f"{codec} goes into no container that moves")


def test_a_codec_that_reorders_is_read_from_the_start_where_its_stamps_are_those_of_decoding(tmp_path):
    assert compare("libx264", tmp_path, ("avi", "asf", "mxf"), (12,), (2,), 40, 40) == [
        f"libx264, {container}, GOP 12, 2 B-frames: 40 frames, from the start" for container in ("avi", "asf", "mxf")
    ]


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "nut"])
def test_remuxed_from_avi(suffix, tmp_path):
    write(tmp_path / "a.avi", "avi", "libx264", 12, 2, 40)
    with av.open(str(tmp_path / "a.avi")) as source, av.open(str(tmp_path / f"b.{suffix}"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts = packet.dts if packet.pts is None else packet.pts
                packet.stream = stream
                target.mux(packet)
    check(tmp_path / f"b.{suffix}", 60)


@pytest.mark.parametrize("codec", ["mpeg4", "libx264", "mpeg2video", "libvpx-vp9"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_key_frames_that_are_none(codec, b_frames, tmp_path):
    """An index that calls every frame a key frame, as some AVI writers leave it."""
    for suffix in ("avi", "mkv", "mp4"):
        path = tmp_path / f"a.{suffix}"
        with av.open(str(path), "w") as file:
            stream = file.add_stream(codec, rate=25, options=OPTIONS.get(codec, {}))
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
            stream.codec_context.gop_size, stream.codec_context.max_b_frames = 12, b_frames
            for frame in [*moving_frames(40), None]:
                image = None if frame is None else av.VideoFrame.from_ndarray(frame, format="rgb24")
                for packet in stream.encode(image):
                    packet.is_keyframe = True
                    file.mux(packet)
        check(path, 40)


# Of a damaged frame of HEVC, FFmpeg leaves parts as the memory was, and does not say so.
@pytest.mark.parametrize(
    ("codec", "change"),
    [
        *itertools.product(["libx264", "mpeg2video", "mpeg4", "libvpx", "libvpx-vp9"], ["lost", "overwritten", "cut"]),
        ("libx265", "lost"),
    ],
)
def test_a_packet_that_is_damaged(codec, change, tmp_path):
    """Each frame alone is that of decoding from the start, or damaged; no other frame takes its place."""
    write(tmp_path / "a.mkv", "matroska", codec, 12, 2, 20)
    with av.open(str(tmp_path / "a.mkv")) as source:
        packets = [(packet.pts, packet.dts, packet.is_keyframe, bytes(packet)) for packet in source.demux(video=0)][:-1]
    right = 0
    for place in range(1, len(packets)):
        path, rng = tmp_path / f"{place}.mkv", np.random.default_rng(place)
        with av.open(str(tmp_path / "a.mkv")) as source, av.open(str(path), "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for number, (pts, dts, is_key, data) in enumerate(packets):
                if number == place:
                    half = len(data) // 2
                    data = {"lost": b"", "cut": data[:half], "overwritten": data[:half] + rng.bytes(half)}[change]
                if data:
                    packet = av.Packet(data)
                    packet.pts, packet.dts, packet.is_keyframe, packet.stream = pts, dts, is_key, stream
                    packet.time_base = source.streams.video[0].time_base
                    target.mux(packet)
        right += check_damaged(path, decode_in_order(tmp_path / "a.mkv"))
    assert right > len(packets)


def check_damaged(path: Path, whole: np.ndarray) -> int:
    """Frames that are right, of those of a damaged file one by one."""
    right = 0
    try:
        expected, kept = decode_in_order(path), decode_in_order(path, is_kept=True)
    except av.FFmpegError:
        expected = kept = None
    with open_source(str(path)) as source:
        for index in range(source.num_frames):
            try:
                image = source.read([index])[0]
            except DecodeError:
                continue
            if expected is None:  # nobody gets over the damage: what is there was reached on another way
                assert np.array_equal(image, whole[index]), f"{path}: frame {index}"
            else:
                is_left = not np.array_equal(expected[index], kept[index])  # the decoder leaves what the memory held
                assert is_left or np.array_equal(image, expected[index]), f"{path}: frame {index}"
            right += 1
    return right
