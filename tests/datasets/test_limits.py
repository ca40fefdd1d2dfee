"""Small files with large costs, files that name other files, and what libraries throw at damaged ones."""

import contextlib
import struct
import sys
import time
import zlib

import av
import cv2
import numpy as np
import pytest
import simplejpeg

from configs.limits import STRANGERS, Limits
from datasets import video
from datasets.decode import DecodeError, open_source
from tests.datasets.media import write_frames, write_video

LIMITS = Limits(max_video_megabytes=1, max_video_frames=300, max_frame_pixels=10_000, max_read_megabytes=1)


def read(path, indices=(0,), limits=None):
    with open_source(str(path), limits=limits) as source:
        return source.read(indices)


def patched_boxes(data, change):
    """Boxes of an MP4 file with the content of some replaced: `change` maps a kind to what it makes of the content."""
    out, at = b"", 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + size]
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            content = patched_boxes(content, change)
        content = change.get(kind, lambda same: same)(content)
        out += struct.pack(">I4s", len(content) + 8, kind) + content
        at += size
    return out


def write_overlapping(path, count=200):
    """A .mov whose samples all begin at its beginning and are nearly as long as it is."""
    data = write_video(path, codec="mpeg4", count=count).read_bytes()
    whole = len(data) - 100
    sizes = lambda _: struct.pack(">III", 0, 0, count) + struct.pack(">I", whole) * count  # noqa: E731
    chunks = lambda _: struct.pack(">II", 0, count) + bytes(4 * count)  # noqa: E731
    one_each = lambda _: struct.pack(">IIIII", 0, 1, 1, 1, 1)  # noqa: E731
    path.write_bytes(patched_boxes(data, {b"stsz": sizes, b"stco": chunks, b"stsc": one_each}))
    return count * whole


def test_overlapping_samples_are_counted_as_what_they_take(tmp_path):
    total = write_overlapping(tmp_path / "a.mov")
    assert total > 2**20 > (tmp_path / "a.mov").stat().st_size
    with pytest.raises(DecodeError, match=r"a\.mov has more than 1 MB: raise --max_video_megabytes"):
        read(tmp_path / "a.mov", limits=LIMITS)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(max_video_frames=39), r"more than 39 frames: raise --max_video_frames"),
        (Limits(max_frame_pixels=64 * 48 - 1), r"more than 3071 pixels in a frame \(64x48\): raise --max_frame_pixels"),
        (Limits(max_read_megabytes=1), r"more than 1 MB for 150 frames: raise --max_read_megabytes"),
        (Limits(max_decode_seconds=1e-6), r"takes more than 1e-06 s to decode: raise --max_decode_seconds"),
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "folder"])
def test_each_limit_is_named(tmp_path, limits, message, name):
    path = tmp_path / name
    if name == "folder":
        write_frames(path, count=40)
    else:
        write_video(path, codec="libx264" if name == "a.mp4" else "mpeg4", count=40)
    if name == "folder" and limits.max_video_frames == 39:  # it costs nothing for frames that are not asked for
        assert read(path, [39], limits).shape[0] == 1
        return
    with pytest.raises(DecodeError, match=message):
        read(path, [0, 1, 2] * 50, limits)
    assert read(path, [0, 1, 2]).shape[0] == 3


def test_the_time_ends_a_decode_that_never_yields(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", codec="libx264", count=40, g="40")
    plain = time.thread_time
    with open_source(str(path), limits=Limits(max_decode_seconds=30)) as source:
        monkeypatch.setattr("datasets.source.time.thread_time", lambda: plain() + 31)
        with pytest.raises(DecodeError, match="takes more than 30 s"):
            source.read([39])


def test_a_frame_that_grows_inside_of_the_stream_is_not_decoded(tmp_path):
    """Two streams one after the other, as an H.264 file may be: the header promises the small one."""
    small = write_video(tmp_path / "small.h264", codec="libx264", count=2)
    large = write_video(tmp_path / "large.h264", codec="libx264", count=2, size=(256, 256))
    (tmp_path / "both.h264").write_bytes(small.read_bytes() + large.read_bytes())
    with pytest.raises(DecodeError, match=r"both\.h264"):
        read(tmp_path / "both.h264", [3], LIMITS)


def test_an_unknown_codec_is_an_error_of_ours(tmp_path):
    path = write_video(tmp_path / "a.mkv", codec="libx264")
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_XPEG4/ISO/AVC"))
    with pytest.raises(DecodeError, match=r"a\.mkv is in a codec that is not known here"):
        read(path)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".txt", ""])
@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile sibling.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsibling.mp4\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><Period/></MPD>",
        "[Script Info]\nTitle: x\n",
    ],
)
def test_a_text_opens_no_other_file(tmp_path, text, suffix):
    write_video(tmp_path / "sibling.mp4", codec="libx264")
    path = tmp_path / f"list{suffix}"
    path.write_text(text)
    opened = []

    def hook(event, arguments):
        if event == "open" and opened is not None:
            opened.append(str(arguments[0]))

    sys.addaudithook(hook)
    with pytest.raises(DecodeError, match=r"list.* is no readable video"):
        read(path)
    assert not [name for name in opened if "sibling" in name]


def png_of(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(min(width, 1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def bmp_of(width, height):
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, *[0] * 6)


def jpeg_of(width, height):
    content = bytearray(simplejpeg.encode_jpeg(np.zeros((16, 16, 3), np.uint8)))
    start = content.index(b"\xff\xc0")
    struct.pack_into(">HH", content, start + 5, height, width)
    return bytes(content)


def webp_of(width, height):
    body = b"VP8X" + struct.pack("<II", 10, 0) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


@pytest.mark.parametrize(
    ("suffix", "make"), [("png", png_of), ("bmp", bmp_of), ("jpg", jpeg_of), ("jpeg", jpeg_of), ("webp", webp_of)]
)
@pytest.mark.parametrize("limits", [Limits(), STRANGERS])
def test_a_picture_that_would_be_huge_is_not_decoded(tmp_path, suffix, make, limits):
    (tmp_path / f"img_1.{suffix}").write_bytes(make(60_000, 60_000))
    with pytest.raises(DecodeError, match=r"img_1\.\w+|pixels in a frame \(60000x60000\)"):
        read(tmp_path, limits=limits)


@pytest.mark.parametrize("error", [cv2.error("assert"), MemoryError(), IndexError("x"), ValueError("x"), SystemError()])
@pytest.mark.parametrize("place", ["av.open", "cv2.imdecode", "simplejpeg.decode_jpeg", "video._upright"])
def test_whatever_a_library_throws_names_the_file(tmp_path, monkeypatch, error, place):
    def fail(*_, **__):
        raise error

    path = tmp_path / "a.mp4"
    if place in ("av.open", "video._upright"):
        write_video(path, codec="libx264")
    else:
        path = tmp_path / "frames"
        write_frames(path, template="img_{:05d}.jpg" if "jpeg" in place else "img_{:05d}.png")
    module = {"av": av, "cv2": cv2, "simplejpeg": simplejpeg, "video": video}[place.partition(".")[0]]
    monkeypatch.setattr(module, place.partition(".")[2], fail)
    with pytest.raises(DecodeError, match=rf"{path.name}.*"):
        read(path)


def test_damaged_transport_streams_and_pictures_give_one_error_each(tmp_path):
    """Bytes at random places: a frame or one error of ours, nothing else."""
    rng = np.random.default_rng(0)
    ts = write_video(tmp_path / "a.ts", codec="libx264", count=20).read_bytes()
    image = np.zeros((20, 30, 3), np.uint8)
    pictures = {suffix: cv2.imencode(f".{suffix}", image)[1].tobytes() for suffix in ("bmp", "png", "webp")}
    pictures["jpg"] = simplejpeg.encode_jpeg(image)
    whole = 0
    for round in range(120):
        suffix = ("ts", *pictures)[round % 5]
        content = bytearray(ts if suffix == "ts" else pictures[suffix])
        for place in rng.integers(0, len(content), 1 + round % 7):
            content[place] = rng.integers(0, 256)
        folder = tmp_path / str(round)
        folder.mkdir()
        path = folder / (f"b.{suffix}" if suffix == "ts" else f"img_1.{suffix}")
        path.write_bytes(content)
        with contextlib.suppress(DecodeError):
            read(path if suffix == "ts" else folder, limits=STRANGERS)
            whole += 1
    assert 0 < whole < 120


def test_a_video_whose_edit_list_shows_nothing(tmp_path):
    data = write_video(tmp_path / "a.mp4", codec="mpeg4", count=1).read_bytes()
    path = tmp_path / "b.mp4"
    path.write_bytes(patched_boxes(data, {b"elst": lambda _: struct.pack(">IIIiI", 0, 1, 1, 10**6, 0x10000)}))
    with contextlib.suppress(DecodeError):
        read(path)


@pytest.mark.parametrize("keep", [0, 4, 5, 30, 119, 128])
def test_a_matroska_header_that_ends_early(tmp_path, keep):
    data = write_video(tmp_path / "a.mkv", codec="mpeg4").read_bytes()
    for content in (data[:keep], data[:4] + bytes(keep) + data[4:]):
        (tmp_path / "b.mkv").write_bytes(content)
        with contextlib.suppress(DecodeError):
            read(tmp_path / "b.mkv")


def test_frames_are_kept_by_their_own_size_not_by_the_headers(tmp_path, monkeypatch):
    """A video without usable stamps is counted by decoding it; what is kept of it is bounded."""
    monkeypatch.setattr(video, "KEPT_BYTES", 10 * 64 * 48 * 3 // 2)
    for count, kept in ((10, 10), (11, None)):
        path = write_video(tmp_path / f"{count}.avi", count=count, bf="2")
        with open_source(str(path)) as source:
            assert source.num_frames == count
            assert (source._kept and len(source._kept)) == kept
            assert source.read([count - 1]).shape == (1, 48, 64, 3)
