"""Whatever is asked of a video, it must be what decoding from the start gives."""

import struct
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import simplejpeg

from datasets import video
from datasets.decode import DecodeError, open_source
from tests.datasets.media import decode_in_order, moving_frames, write_frames, write_video

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
TASKS = Path("/proc/self/task")
VIDEOS = {
    "h264.mp4": {"codec": "libx264", "g": "12", "bf": "3"},
    "h264.mkv": {"codec": "libx264", "g": "5", "bf": "2"},
    "one_gop.mp4": {"codec": "libx264", "g": "250", "bf": "3"},
    "open_gop.mp4": {"codec": "libx264", "x264-params": "open-gop=1:keyint=10:bframes=3:b-adapt=0:scenecut=0"},
    "refresh.mp4": {"codec": "libx264", "x264-params": "intra-refresh=1:keyint=10"},
    "intra.mp4": {"codec": "libx264", "g": "1"},
    "mpeg4.avi": {"codec": "mpeg4", "g": "12"},
    "mpeg4_b.avi": {"codec": "mpeg4", "g": "12", "bf": "2"},
    "mpeg4_b.mp4": {"codec": "mpeg4", "g": "12", "bf": "2"},
    "vp8.webm": {"codec": "libvpx", "g": "12", "auto-alt-ref": "1", "lag-in-frames": "16"},
}


def read(path: Path, indices, num_frames: int | None = None) -> np.ndarray:
    with open_source(str(path), num_frames) as source:
        return source.read(indices)


def count_decoded(monkeypatch, source) -> list:
    """Packets that the decoder is given from now on."""
    given: list = []
    plain = source._decode

    def counting(packet):
        given.append(packet)
        return plain(packet)

    monkeypatch.setattr(source, "_decode", counting)
    return given


@pytest.mark.parametrize("name", VIDEOS)
def test_frames_are_those_of_sequential_decoding(tmp_path, name):
    path = write_video(tmp_path / name, **VIDEOS[name])
    expected = decode_in_order(path)
    rng = np.random.default_rng(0)
    with open_source(str(path)) as source:
        assert source.num_frames == len(expected) == 40
        for _ in range(12):
            indices = rng.integers(0, 40, size=int(rng.integers(1, 9)))
            frames = source.read(indices)
            assert frames.dtype == np.uint8
            assert np.array_equal(frames, expected[indices])
        for indices in ([39], [0], [39, 0, 39, 12, 11], list(range(40)), np.arange(39, -1, -1)):
            assert np.array_equal(source.read(indices), expected[np.asarray(indices)])


def test_frames_are_rgb(tmp_path):
    frames = read(write_video(tmp_path / "a.mp4", count=3, crf="4"), [0, 1, 2]).astype(int)
    as_rgb, as_bgr = (np.abs(f - moving_frames(3)).mean() for f in (frames, frames[..., ::-1]))
    assert as_rgb < as_bgr / 4


@pytest.mark.skipif(not TASKS.exists(), reason="Linux lists the threads of a process")
def test_a_video_is_read_in_the_thread_that_asks(tmp_path):
    """Threads of a decoder or a converter cost more than they bring, and many readers would multiply them."""
    path = write_video(tmp_path / "a.mp4", size=(288, 512), count=10)
    read(path, [0])
    before = len(list(TASKS.iterdir()))
    with open_source(str(path)) as source:
        source.read([1, 5])
        assert len(list(TASKS.iterdir())) == before


def test_a_late_frame_costs_only_its_own_group_of_pictures(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", g="10", bf="0", sc_threshold="0")
    with open_source(str(path)) as source:
        given = count_decoded(monkeypatch, source)
        source.read([32, 5])
        # 0..5 and 30..32, and one after each, which would come out first if the stamps were those of decoding
        assert sum(packet is not None for packet in given) == 7 + 4
        given.clear()
        source.read([30])
        assert sum(packet is not None for packet in given) == 2  # the key frame itself


def test_frames_that_no_other_needs_are_not_decoded(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", g="40", bf="3", **{"x264-params": "b-pyramid=none:b-adapt=0:scenecut=0"})
    with open_source(str(path)) as source:
        plain, shown = source._decode, []
        monkeypatch.setattr(source, "_decode", lambda packet: [shown.append(1) or frame for frame in plain(packet)])
        source.read([36])
    assert len(shown) <= 14  # of 37: the key frame, the P frames, and what was asked for


@pytest.mark.parametrize("kept_bytes", [video.KEPT_BYTES, 0])
def test_without_time_stamps_the_video_is_decoded_from_the_start(tmp_path, monkeypatch, kept_bytes):
    path = write_video(tmp_path / "a.mp4", g="12", bf="2")
    monkeypatch.setattr(video, "KEPT_BYTES", kept_bytes)
    monkeypatch.setattr(video.VideoFile, "_order", lambda self, shown: [])
    expected = decode_in_order(path)
    with open_source(str(path)) as source:
        assert source.num_frames == 40
        assert np.array_equal(source.read([30, 2, 30]), expected[[30, 2, 30]])
        assert np.array_equal(source.read([7]), expected[[7]])


def test_real_videos_agree_with_opencv():
    videos = sorted((SHARED / "clips").glob("*.avi")) + sorted((SHARED / "surveillance_fight/fight").glob("*.mp4"))[:2]
    if not videos:
        pytest.skip("the real clips are not beside the checkout")
    for path in videos:  # packed B-frames, plain MPEG-4, H.264 whose time stamps are all zero
        capture, expected = cv2.VideoCapture(str(path)), []
        while (answer := capture.read())[0]:
            expected.append(cv2.cvtColor(answer[1], cv2.COLOR_BGR2RGB))
        with open_source(str(path)) as source:
            assert source.num_frames == len(expected)
            indices = [len(expected) - 1, 0, len(expected) // 2, 7]
            assert np.array_equal(source.read(indices), np.stack([expected[i] for i in indices]))


@pytest.mark.parametrize(
    ("name", "options", "part"),
    [
        ("a.mp4", {"codec": "libx264"}, 0.9),  # its index is at the end
        ("fast.mp4", {"codec": "libx264", "container": {"movflags": "faststart"}}, 0.9),
        ("a.avi", {"codec": "mpeg4"}, 0.8),
        ("a.mkv", {"codec": "libx264"}, 0.98),
        ("a.webm", {"codec": "libvpx"}, 0.98),
        ("a.avi", {"codec": "mpeg4"}, 0.0),
    ],
)
def test_truncated_file_is_named(tmp_path, name, options, part):
    path = write_video(tmp_path / name, **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(DecodeError, match=rf"{name} (is truncated|is no readable video)"):
        open_source(str(path))


def test_index_lost_at_the_end_of_an_avi_does_no_harm(tmp_path):
    path = write_video(tmp_path / "a.avi", codec="mpeg4")
    data = path.read_bytes()
    expected = decode_in_order(path)
    path.write_bytes(data[: data.rindex(b"idx1")])
    assert np.array_equal(read(path, [39, 3]), expected[[39, 3]])


def test_avi_that_counts_too_many_frames_is_not_truncated(tmp_path):
    path = write_video(tmp_path / "a.avi", codec="mpeg4")
    expected = decode_in_order(path)
    data = bytearray(path.read_bytes())
    for field in (data.index(b"avih") + 8 + 16, data.index(b"strh") + 8 + 32):  # total frames, length of the stream
        assert struct.unpack_from("<I", data, field) == (40,)
        struct.pack_into("<I", data, field, 43)
    path.write_bytes(data)
    with open_source(str(path)) as source:
        assert source.num_frames == 40
        assert np.array_equal(source.read([39]), expected[[39]])


def test_vp8_packet_that_shows_nothing_is_no_frame(tmp_path):
    path = write_video(tmp_path / "a.webm", codec="libvpx", g="20")
    with av.open(str(path)) as file:
        packet = bytes([packet for packet in file.demux(video=0) if packet.size][25])
    data = bytearray(path.read_bytes())
    data[data.index(packet)] &= ~0x10  # the frame tag's show_frame bit
    path.write_bytes(data)
    expected = decode_in_order(path)
    with open_source(str(path)) as source:
        assert source.num_frames == len(expected) == 39
        assert np.array_equal(source.read([38, 25, 24]), expected[[38, 25, 24]])


def test_damage_inside_is_an_error(tmp_path):
    path = write_video(tmp_path / "a.mp4", g="40")
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    data[start : start + 2000] = bytes(2000)
    path.write_bytes(data)
    with pytest.raises(DecodeError, match=r"a.mp4"):
        read(path, [20])


def test_what_is_no_video(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"hello")
    with pytest.raises(DecodeError, match=r"a.mp4 is no readable video"):
        open_source(str(tmp_path / "a.mp4"))
    with pytest.raises(DecodeError, match=r"b.mp4 does not exist"):
        open_source(str(tmp_path / "b.mp4"))


@pytest.mark.parametrize("kind", ["video", "frames"])
@pytest.mark.parametrize("indices", [[12], [-1], []])
def test_indices_out_of_range(tmp_path, kind, indices):
    path = write_video(tmp_path / "a.mp4", count=12) if kind == "video" else write_frames(tmp_path / "a")
    with open_source(str(path)) as source, pytest.raises(DecodeError, match=r"frames 0\.\.11|no frame was asked for"):
        source.read(indices)


@pytest.mark.parametrize(
    ("template", "first"),
    [
        ("img_{:05d}.jpg", 1), ("img_{:05d}.jpg", 0), ("{:06d}.png", 1), ("image_{}.jpeg", 8), ("v1 f{:04d}.bmp", 120),
        ("x.y-{:03d}.JPG", 1),
    ],
)  # fmt: skip
def test_any_numbering_of_frames(tmp_path, template, first):
    folder = write_frames(tmp_path / "my frames", template=template, first=first)
    expected = [cv2.imread(str(folder / template.format(first + i))) for i in (11, 0, 11, 3)]
    with open_source(str(folder)) as source:
        assert source.num_frames == 12
        frames = source.read([11, 0, 11, 3])
    assert np.array_equal(frames, np.stack(expected)[..., ::-1])  # bit for bit what OpenCV reads, as RGB


def test_gray_jpeg_becomes_rgb(tmp_path):
    gray = moving_frames(1)[0, :, :, :1]
    (tmp_path / "f_1.jpg").write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(gray), colorspace="GRAY"))
    frames = read(tmp_path, [0])
    assert frames.shape == (1, 48, 64, 3)
    assert (frames == frames[..., :1]).all()


def test_list_may_promise_fewer_frames_but_not_more(tmp_path):
    folder = write_frames(tmp_path / "a")
    with open_source(str(folder), num_frames=5) as source:
        assert source.num_frames == 5
        with pytest.raises(DecodeError, match=r"frames 0\.\.4, asked for 5\.\.5"):
            source.read([5])
    with pytest.raises(DecodeError, match="holds 12 frames, the list says 13"):
        open_source(str(folder), num_frames=13)


def test_gap_names_the_first_missing_file(tmp_path):
    folder = write_frames(tmp_path / "a")
    for number in (6, 9):
        (folder / f"img_{number:05d}.jpg").unlink()
    with pytest.raises(DecodeError, match=r"a has a gap: img_00006.jpg is missing"):
        open_source(str(folder))


def test_flow_beside_the_frames_is_passed_over(tmp_path):
    folder = write_frames(tmp_path / "a")
    write_frames(folder, count=11, template="flow_x_{:05d}.jpg")
    (folder / "notes.txt").touch()
    with open_source(str(folder)) as source:
        assert source.num_frames == 12


def test_folders_that_are_no_video(tmp_path):
    with pytest.raises(DecodeError, match="holds no video and no numbered image"):
        open_source(str(tmp_path))
    write_frames(tmp_path, count=2, template="a_{:02d}.jpg")
    write_frames(tmp_path, count=2, template="b_{:02d}.jpg")
    with pytest.raises(DecodeError, match=r"several ways: a_01.jpg, b_01.jpg"):
        open_source(str(tmp_path))


def test_two_frames_of_one_number(tmp_path):
    write_frames(tmp_path, count=2, template="a_{:02d}.jpg")
    write_frames(tmp_path, count=1, template="a_{:03d}.jpg")
    with pytest.raises(DecodeError, match="two frames 1: a_"):
        open_source(str(tmp_path))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("content", [b"", b"no image"])
def test_unreadable_frame_is_named(tmp_path, suffix, content):
    folder = write_frames(tmp_path / "a", template="img_{:05d}." + suffix)
    (folder / f"img_00003.{suffix}").write_bytes(content)
    with pytest.raises(DecodeError, match=f"img_00003.{suffix} is no readable"):
        read(folder, [0, 2])
    assert len(read(folder, [0, 3])) == 2


def test_frames_of_different_size(tmp_path):
    folder = write_frames(tmp_path / "a")
    cv2.imwrite(str(folder / "img_00004.jpg"), np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(DecodeError, match=r"img_00004.jpg is 30x20, the frames before it 64x48"):
        read(folder, [2, 3])


def test_closed_source_gives_its_file_back(tmp_path):
    path = write_video(tmp_path / "a.mp4", count=5)
    open_files = Path("/proc/self/fd")
    if not open_files.is_dir():
        pytest.skip("open files are listed on Linux only")
    with open_source(str(path)):
        pass
    assert str(path) not in [str(link.readlink()) for link in open_files.iterdir() if link.is_symlink()]


def test_tags_that_are_not_utf8_do_not_matter(tmp_path):
    path = tmp_path / "tagged.mp4"
    with av.open(str(path), "w") as file:
        file.metadata["title"] = "ABCDEFGH"
        stream = file.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for level in range(5):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((32, 32, 3), level * 20, np.uint8))))
        file.mux(stream.encode(None))
    path.write_bytes(path.read_bytes().replace(b"ABCDEFGH", b"AB\xff\xfe\xe9FGH"))
    assert b"\xff\xfe\xe9" in path.read_bytes()
    with open_source(str(path)) as source:
        assert source.num_frames == 5


ONE, UNIT = 1 << 16, 1 << 30
MATRICES = {  # (a, b, c, d) of the display matrix -> what FFmpeg's -autorotate makes of [H, W, 3]
    "as it is": ((ONE, 0, 0, ONE), lambda image: image),
    "clockwise": ((0, ONE, -ONE, 0), lambda image: np.rot90(image, -1)),
    "half": ((-ONE, 0, 0, -ONE), lambda image: np.rot90(image, 2)),
    "counterclockwise": ((0, -ONE, ONE, 0), np.rot90),
    "mirrored": ((-ONE, 0, 0, ONE), lambda image: image[:, ::-1]),
    "upside down": ((ONE, 0, 0, -ONE), lambda image: image[::-1]),
    "transposed": ((0, ONE, ONE, 0), lambda image: image.swapaxes(0, 1)),
    "other diagonal": ((0, -ONE, -ONE, 0), lambda image: image.swapaxes(0, 1)[::-1, ::-1]),
    "twice as large": ((2 * ONE, 0, 0, 2 * ONE), lambda image: image),
    "all zero": ((0, 0, 0, 0), lambda image: image),
    "of no width": ((0, 0, 0, ONE), lambda image: image),
    "of no area": ((ONE, ONE, 0, 0), lambda image: image),
}


@pytest.mark.parametrize("name", MATRICES)
def test_the_display_matrix(tmp_path, name):
    (a, b, c, d), right = MATRICES[name]
    path = write_video(tmp_path / "a.mp4", count=4)
    expected = decode_in_order(path)
    set_matrix(path, (a, b, 0, c, d, 0, 0, 0, UNIT))
    assert np.array_equal(read(path, [2])[0], right(expected[2]))


def set_matrix(path, matrix):
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: forty bytes precede the matrix
    assert data[at : at + 36] == struct.pack(">9i", ONE, 0, 0, 0, ONE, 0, 0, 0, UNIT)
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)


def test_an_angle_between_is_what_ffmpegs_filter_makes(tmp_path):
    path = write_video(tmp_path / "a.mp4", count=4)
    with av.open(str(path)) as file:
        frame = [*file.decode(video=0)][2]
    graph = av.filter.Graph()
    source = graph.add_buffer(width=64, height=48, format="yuv420p", time_base=frame.time_base)
    graph.link_nodes(source, graph.add("rotate", "30*PI/180"), graph.add("buffersink")).configure()
    graph.push(frame)
    expected = graph.pull().to_ndarray(format="rgb24")
    cos, sin = round(ONE * np.cos(np.pi / 6)), round(ONE * np.sin(np.pi / 6))
    set_matrix(path, (cos, sin, 0, -sin, cos, 0, 0, 0, UNIT))
    assert np.array_equal(read(path, [2])[0], expected)
    assert not np.array_equal(expected, decode_in_order(path)[2])


def with_streams(path, streams):
    """A file of several video streams: (frames, disposition, seed) each."""
    with av.open(str(path), "w") as file:
        encoders = []
        for count, disposition, size in streams:
            codec = "mjpeg" if count == 1 else "libx264"
            stream = file.add_stream(codec, rate=25)
            stream.height, stream.width = size
            stream.pix_fmt = "yuvj420p" if count == 1 else "yuv420p"
            stream.disposition = disposition
            encoders.append((stream, moving_frames(count, *size, seed=len(encoders))))
        for stream, frames in encoders:
            for frame in frames:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_of_several_streams_it_is_the_one_that_ffmpeg_calls_the_best(tmp_path, suffix):
    path = with_streams(tmp_path / f"a.{suffix}", [(20, 0, (48, 64)), (20, 0, (96, 128))])
    with av.open(str(path)) as file:
        best = file.streams.best("video")
        expected = [frame.to_ndarray(format="rgb24") for frame in file.decode(best)]
    assert np.array_equal(read(path, [3, 17]), np.stack([expected[3], expected[17]]))


@pytest.mark.parametrize(
    "order", [[(1, 0x400, (96, 128)), (20, 1, (48, 64))], [(20, 1, (48, 64)), (1, 0x400, (96, 128))]]
)
def test_a_cover_picture_is_not_the_video(tmp_path, order):
    with open_source(str(with_streams(tmp_path / "a.mp4", order))) as source:
        assert source.num_frames == 20
        assert source.read([0]).shape == (1, 48, 64, 3)


def test_music_with_a_cover_picture_is_no_video(tmp_path):
    path = with_streams(tmp_path / "a.mp4", [(1, 0x400, (96, 128))])
    with pytest.raises(DecodeError, match=r"a.mp4 has no video stream, only a cover picture"):
        open_source(str(path))


@pytest.mark.parametrize(
    "name", ["12:30:05.mp4", "-a.mp4", "file:a.mp4", "http:a.mp4", "a%20b?.mp4", "pipe:0", "a|b.mp4"]
)
def test_a_path_is_a_path(tmp_path, monkeypatch, name):
    expected = decode_in_order(write_video(tmp_path / "plain.mp4", count=4))
    (tmp_path / "plain.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(read(name, [1, 3]), expected[[1, 3]])
    assert np.array_equal(read(tmp_path / name, [1, 3]), expected[[1, 3]])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"Some words.\n" * 400), ("a.srt", b"1\n00:00:00,000 --> 00:00:02,000\nHello\n" * 9),
        ("a.mp4", b"#EXTM3U\n#EXTINF:1,\nb.mp4\n"), ("a.ass", b"[Script Info]\n[Events]\n" * 9),
        ("a.mp4", b"ffconcat version 1.0\nfile b.mp4\n"), ("a.mp4", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0" + bytes(40)),
        ("a.mp4", b"GIF89a\x01\0\x01\0"), ("a.mp4", b""),
    ],
)  # fmt: skip
def test_what_a_demuxer_could_draw_is_no_video(tmp_path, monkeypatch, name, content):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "b.mp4", count=4)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DecodeError, match=rf"^{name} "):
        open_source(name)
