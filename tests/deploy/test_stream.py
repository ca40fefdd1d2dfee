"""A stream from its frames to events: pacing, smoothing, what comes in its way."""

import contextlib
import http.server
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from configs import get_preset
from datasets import VideoDataset, unlabeled
from datasets.demo import MOTIONS, draw_video, encode_video
from deploy import frames, infer
from deploy.artifact import open_artifact
from deploy.engines import open_engine
from deploy.events import Course, Event, Smoothing, advance
from deploy.frames import Frame, LiveFrames
from deploy.parity import clip_by_frames
from deploy.stream import FrameStream, Report, follow, rate_of, seen
from runtime.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "a.mp4"
    encode_video(path, draw_video(np.random.default_rng(0), MOTIONS[0][0], 40, 64))
    return path


def events_of(labels, smoothing, classes=4):
    """Events of frames of which each is sure of one label."""
    course, found = Course(), []
    for number, label in enumerate(labels):
        course, event = advance(course, number, 9.0 * np.eye(classes)[label], smoothing)
        found += [event] if event else []
    return [(event.frame, event.label) for event in found]


@pytest.mark.parametrize(
    ("labels", "smoothing", "wanted"),
    [
        ([0, 0, 0, 1, 1, 1], Smoothing(window=1, hold=1), [(0, 0), (3, 1)]),
        ([0, 0, 0, 1, 1, 1], Smoothing(window=1, hold=2), [(0, 0), (3, 1)]),  # the onset is the first frame of those
        ([0, 0, 1, 0, 0, 1, 1], Smoothing(window=1, hold=2), [(0, 0), (5, 1)]),  # one frame is none
        ([0, 1, 2, 1, 2, 1], Smoothing(window=1, hold=2), []),  # nothing holds
        ([0, 0, 2, 2, 2, 1, 1], Smoothing(window=1, hold=2, ignore={2}), [(0, 0), (5, 1)]),
        ([0] * 4 + [1] * 8, Smoothing(window=4, hold=1), [(0, 0), (6, 1)]),  # more than half of the window
        ([0, 0, 1, 1], Smoothing(window=2, hold=1, threshold=0.9), [(0, 0), (3, 1)]),
    ],
)
def test_labels_become_events(labels, smoothing, wanted):
    assert events_of(labels, smoothing) == wanted


def test_a_course_is_left_as_it_is():
    course, scores = Course(), np.array([0.0, 3.0])
    first = advance(course, 0, scores, Smoothing(hold=1))
    assert course == Course()
    assert advance(course, 0, scores, Smoothing(hold=1))[1] == first[1] == Event(0, 1, pytest.approx(0.95257, abs=1e-5))


def lines_of(capsys):
    said = capsys.readouterr()
    return [json.loads(line) for line in said.out.splitlines()], said.err


def test_files_and_folders_are_followed_to_their_end(stream_artifact, video, tmp_path, capsys):
    capture, folder = cv2.VideoCapture(str(video)), tmp_path / "frames"
    folder.mkdir()
    for number in range(40):
        cv2.imwrite(str(folder / f"img_{number:05}.png"), capture.read()[1])
    argv = ["--model_dir", str(stream_artifact), "--stream", "--threads", "1", "--hold", "1"]
    infer.main([*argv, "--video", str(video), str(folder)])
    found, said = lines_of(capsys)
    by_file, by_folder = ([event for event in found if event["source"] == str(path)] for path in (video, folder))
    assert by_file
    assert by_file[0]["frame"] == 0
    assert by_file[0]["onset"] == 0.0
    assert by_file[0]["label"] == open_artifact(stream_artifact).class_names[by_file[0]["class"]]
    assert [event["onset"] for event in by_folder] == [None] * len(by_folder)  # nothing says how fast they are
    assert f"{video}: 40 frames, 0 dropped, latency" in said


def test_the_events_are_those_of_the_clip_seen_frame_by_frame(stream_artifact, video):
    """By the transform of a test and the engine, without the stream's own code."""
    artifact = open_artifact(stream_artifact)
    recipe = artifact.recipe.with_(clip_len=40, frame_interval=1, test_clips=1, test_crops="center")
    clip = VideoDataset(unlabeled([str(video)]), recipe, "test").load(0, 0)[0][0]  # [T, 3, H, W]
    engine = open_engine(None, stream_artifact, threads=1)
    stream = FrameStream(engine, artifact.recipe, "full")
    with_states = [stream.scores(frame.image) for frame in frames.RecordedFrames(str(video), None)]
    np.testing.assert_allclose(np.mean(with_states, axis=0), clip_by_frames(engine, clip[None])[0], atol=1e-5)


def test_latencies_are_counted_in_a_memory_that_does_not_grow():
    report, rng = Report(), np.random.default_rng(0)
    seconds = rng.gamma(2.0, 0.01, 20_000)
    for value in seconds:
        report.add(value)
    for percent in (50, 95, 99):
        assert report.percentile(percent) == pytest.approx(np.percentile(seconds, percent), rel=0.02)
    assert report.frames == 20_000
    assert len(report.latencies) < 700
    assert report.line().startswith("20000 frames, 0 dropped, latency ")
    assert Report().line() == "0 frames"


def test_frames_of_another_size_begin_anew(stream_artifact, capsys):
    stream = FrameStream(open_engine(None, stream_artifact, threads=1), open_artifact(stream_artifact).recipe, "full")
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    larger = cv2.resize(image, (128, 96))
    given = [Frame(image, 0, 0.0), Frame(larger, 1, 0.0), Frame(larger, 2, 0.0), Frame(larger, 3, 0.0, anew=True)]
    found = list(follow(given, stream, Smoothing(hold=1), Report(), "a source"))
    assert {0, 1, 3} <= {event.frame for event, _ in found}  # each time the first label is an event
    said = capsys.readouterr().err
    assert "note: a source, frame 1: frames are 128x96 now; the stream begins anew" in said
    assert "note: a source, frame 3: the source was gone; the stream begins anew" in said


def numbers_seen(fps, wanted, count=12, every=1):
    at = [None if fps is None else number / fps for number in range(count)]
    frames = [Frame(picture(0), number, 0.0, seconds=seconds) for number, seconds in enumerate(at)]
    return [frame.number for frame in seen(frames, every, wanted, "a source")]


def test_the_network_sees_the_frames_of_its_own_rate(capsys):
    assert numbers_seen(30.0, 15.0) == [0, 2, 4, 6, 8, 10]
    assert numbers_seen(25.0, 10.0) == [0, 3, 5, 8, 10]  # at 0, .12, .2, .32 and .4 s: the first of each tenth
    assert numbers_seen(15.0, 15.0) == list(range(12))
    assert numbers_seen(30.0, 0.0, every=4) == [0, 4, 8]
    assert capsys.readouterr().err == ""
    assert numbers_seen(10.0, 25.0) == list(range(12))
    assert capsys.readouterr().err == "note: a source has fewer than 25 frames a second (--fps): all are seen\n"
    with pytest.raises(UserError, match=r"--fps 5: nobody says how many frames of a source are a second"):
        numbers_seen(None, 5.0)


def test_the_rate_of_the_network_is_that_of_its_clips():
    recipe = get_preset("demo_tsm").with_(frame_interval=2)
    assert rate_of(recipe) == 0
    assert rate_of(recipe.with_(sampling="pyslowfast", fps=30.0)) == 15


class Capture:
    """Stands in for a camera: what `read` gives comes from a list, and the end of the list is its end."""

    def __init__(self, images, pause=0.0):
        self.images, self.pause = list(images), pause

    def read(self):
        time.sleep(self.pause)
        return (True, self.images.pop(0)) if self.images else (False, None)

    def release(self):
        pass


def picture(value):
    return np.full((8, 8, 3), value, np.uint8)


def test_a_late_reader_gets_the_newest_frame_and_the_others_are_counted(monkeypatch):
    monkeypatch.setattr(frames, "_opened", lambda name: Capture([picture(i) for i in range(50)], 0.01))
    source = LiveFrames("0", patience=0)
    seen = []
    for frame in source:
        seen.append(frame.number)
        time.sleep(0.05)
    assert seen == sorted(set(seen))
    assert 3 < len(seen) < 40
    assert source.dropped == 50 - len(seen)
    source.close()


def test_colors_of_a_camera_are_red_green_blue(monkeypatch):
    blue = np.zeros((8, 8, 3), np.uint8)
    blue[..., 0] = 200  # OpenCV's order
    monkeypatch.setattr(frames, "_opened", lambda name: Capture([blue]))
    (frame,) = LiveFrames("0", patience=0)
    assert frame.image[0, 0].tolist() == [0, 0, 200]


def test_a_camera_that_comes_back_begins_anew(monkeypatch):
    captures = [Capture([picture(1)], 0.05), None, Capture([picture(2)], 0.05)]
    monkeypatch.setattr(frames, "_opened", lambda name: captures.pop(0) if captures else None)
    monkeypatch.setattr(frames, "RETRY_SECONDS", 0.01)
    source = LiveFrames("0", patience=0.5)
    first, second = source
    assert [(frame.number, frame.anew) for frame in (first, second)] == [(0, False), (1, True)]
    assert 0 < first.seconds + 0.04 < second.seconds  # by the clock


def test_what_is_wrong_is_one_line(stream_artifact, exported, video):
    argv = ["--stream", "--threads", "1", "--model_dir"]
    with pytest.raises(UserError, match="--video rtsp://a is an address: --allow_network"):
        infer.main([*argv, str(stream_artifact), "--video", "rtsp://a"])
    with pytest.raises(UserError, match="--video 77 cannot be opened"):
        infer.main([*argv, str(stream_artifact), "--video", "77"])
    with pytest.raises(UserError, match="this one takes clips"):
        infer.main([*argv, str(exported), "--video", str(video)])
    with pytest.raises(UserError, match="--fps must be at least 0, got -3"):
        infer.main([*argv, str(stream_artifact), "--video", str(video), "--fps", "-3"])
    with pytest.raises(UserError, match="--ignore sleeping: no class of this network"):
        infer.main([*argv, str(stream_artifact), "--video", str(video), "--ignore", "sleeping"])
    with pytest.raises(UserError, match=r"missing\.mp4 does not exist"):
        infer.main([*argv, str(stream_artifact), "--video", "missing.mp4"])


class Camera(http.server.BaseHTTPRequestHandler):
    """A camera on the network: JPEGs one after the other."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        rng = np.random.default_rng(0)
        for image in draw_video(rng, MOTIONS[0][0], 2000, 64):
            data = cv2.imencode(".jpg", image)[1].tobytes()
            try:
                self.wfile.write(b"--next\r\nContent-Type: image/jpeg\r\n\r\n" + data + b"\r\n")
            except OSError:
                return
            time.sleep(0.02)

    def log_message(self, *_):
        pass


def test_a_camera_on_the_network_is_followed(stream_artifact, capsys):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    try:
        infer.main(["--model_dir", str(stream_artifact), "--stream", "--threads", "1", "--video", address,
                    "--allow_network", "--seconds", "4"])  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()
    found, said = lines_of(capsys)
    assert found
    assert int(said.split(f"{address}: ")[1].split(" frames")[0]) > 10


@pytest.mark.whole
def test_a_minute_of_a_camera_takes_no_more_memory_at_its_end(stream_artifact, capsys):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    argv = ["-m", "deploy.infer", "--model_dir", str(stream_artifact), "--stream", "--threads", "1"]
    argv += ["--video", address, "--allow_network", "--seconds", "60"]
    process = subprocess.Popen([sys.executable, *argv], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    resident = []
    try:
        while process.poll() is None:
            time.sleep(5)
            with contextlib.suppress(OSError, StopIteration):  # it has ended meanwhile
                lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
                resident.append(int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024)
    finally:
        process.kill()
        server.shutdown()
        server.server_close()
    _, said = process.communicate()
    assert process.returncode == 0, said
    with capsys.disabled():
        print(f"\n{said.splitlines()[-1]}; resident {', '.join(f'{size:.0f}' for size in resident)} MB")
    begun = resident[3:]  # after 20 s
    assert max(begun) - begun[0] < 0.02 * begun[0]
