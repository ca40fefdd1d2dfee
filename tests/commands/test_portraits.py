"""Masks by the same commands: train, resume, test, predict; a video keeps its sound."""

import hashlib
import json
import os
import subprocess
import sys
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from datasets.figures import draw_figure, write_figures
from deploy import frames

RATE = 10
SMALL = ("--preset", "demo_unet", "--batch_size", 4, "--num_workers", 0, "--threads", 1, "--lr", 0.05)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_figures(tmp_path_factory.mktemp("people") / "set", train=16, val=4, size=64, seed=1)


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    """Two seconds of a drawn person who moves, 72 x 48, with a tone."""
    path = tmp_path_factory.mktemp("movie") / "person.mp4"
    image, _ = draw_figure(np.random.default_rng(3), 72)
    image = cv2.resize(image, (72, 48))
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=RATE)
        picture.width, picture.height, picture.pix_fmt = 72, 48, "yuv420p"
        sound = container.add_stream("aac", rate=16000)
        for i in range(2 * RATE):
            frame = av.VideoFrame.from_ndarray(np.roll(image, i, axis=1), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            container.mux(picture.encode(frame))
        tone = np.sin(np.arange(32000) * 0.2).astype(np.float32)[None]
        for start in range(0, 32000, 1024):
            block = av.AudioFrame.from_ndarray(tone[:, start : start + 1024].copy(), format="fltp", layout="mono")
            block.sample_rate, block.pts = 16000, start
            container.mux(sound.encode(block))
        container.mux(picture.encode(None))
        container.mux(sound.encode(None))
    return path


def train(people, folder, *flags, code=0, program=("train.py",)):
    """A training of two epochs in a process of its own."""
    argv = [sys.executable, *program, "--output_dir", folder, *flags]
    argv += [] if "--resume" in flags else ["--dataset_root", people, *SMALL, "--max_epochs", 2]
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return folder / "best.pdparams"


@pytest.fixture(scope="module")
def weights(people, tmp_path_factory):
    return train(people, tmp_path_factory.mktemp("run") / "unet")


# Ends the process behind its first checkpoint, in the middle of the first epoch.
CUT = """
import os, runpy, sys
from engine import checkpoint
save = checkpoint.save_last
def once(*given): save(*given); os._exit(9)
checkpoint.save_last = once
sys.argv = sys.argv[1:]
runpy.run_path("train.py", run_name="__main__")
"""


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def seen(path):
    """Frames [T, H, W, 3], their times, and the samples of the sound."""
    with av.open(str(path)) as container:
        pairs = [(f.to_ndarray(format="rgb24"), float(f.pts * f.time_base)) for f in container.decode(video=0)]
    with av.open(str(path)) as container:
        sound = [f.to_ndarray() for f in container.decode(audio=0)] if container.streams.audio else []
    images, times = zip(*pairs, strict=True)
    return np.stack(images), np.array(times), np.concatenate(sound, axis=1) if sound else None


def test_a_run_that_is_resumed_is_the_run_that_was_not_interrupted(people, weights, tmp_path):
    train(people, tmp_path / "cut", "--checkpoint_iters", 1, code=9, program=("-c", CUT, "train.py"))
    assert json.loads((tmp_path / "cut/state.json").read_text())["batch"] == 1
    train(people, tmp_path / "cut", "--resume", "--num_workers", 0, "--threads", 1)
    assert digest(tmp_path / "cut/last.pdparams") == digest(weights.with_name("last.pdparams"))
    metrics = [json.loads(line) for line in (tmp_path / "cut/metrics.jsonl").read_text().splitlines()]
    assert {"miou", "pixel_acc", "boundary_f", "image_miou", "strip_error"} <= set(metrics[-1])


def test_a_static_graph_trains_the_same(command, people, weights, tmp_path):
    flags = ("--dataset_root", people, "--output_dir", tmp_path / "static", *SMALL, "--max_epochs", 2, "--to_static")
    assert command("train.py", *flags)[0] == 0
    losses = [
        json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["loss"]
        for run in (tmp_path / "static", weights.parent)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)  # float32, eight steps


def test_a_test_reports_the_worst(command, people, weights, tmp_path):
    code, said = command("test.py", "--dataset_root", people, "--pretrained", weights, "--output_dir", tmp_path / "out",
                         "--num_workers", 0, "--threads", 1)  # fmt: skip
    assert code == 0, code
    assert "image_miou: 0." in said
    assert "(standard error 0.0" in said
    record = json.loads((tmp_path / "out/test.json").read_text())
    assert record["samples"] == 4
    sheet = cv2.imread(str(tmp_path / "out/worst_masks.png"))
    assert sheet.shape == (4 * 64, 3 * 64, 3)


def predict(command, weights, *flags):
    return command("predict.py", "--pretrained", weights, "--threads", 1, *flags)


def test_pictures_are_told_and_drawn(command, people, weights, tmp_path):
    picture = next((people / "val/images").iterdir())
    code, said = predict(command, weights, "--video", picture)
    assert code == 0, code
    first, *ranks = said.splitlines()
    assert first.startswith("Top1 class:")
    shares = [float(line.split()[-1]) for line in ranks]
    assert sum(shares) == pytest.approx(1, abs=1e-3)
    out = tmp_path / "out.png"
    assert predict(command, weights, "--video", picture, "--output", out, "--background", "#00ff00")[0] == 0
    assert cv2.imread(str(out)).shape == cv2.imread(str(picture)).shape
    code, _ = predict(command, weights, "--video", picture, "--output", out)
    assert code == f"error: --output {out} exists: remove it, or choose another name"
    assert (
        predict(command, weights, "--video", *(people / "val/images").iterdir(), "--output", tmp_path / "all")[0] == 0
    )
    assert len(list((tmp_path / "all").iterdir())) == 4


@pytest.mark.parametrize("background", ["mask", "blur"])
def test_a_video_keeps_its_times_and_its_sound(command, movie, weights, tmp_path, background):
    out = tmp_path / "out.mp4"
    code, said = predict(command, weights, "--video", movie, "--output", out, "--background", background,
                         "--smoothing", 0.5)  # fmt: skip
    assert code == 0, code
    assert "20 frames" in said
    images, times, sound = seen(out)
    before, wanted, heard = seen(movie)
    np.testing.assert_allclose(times, wanted, atol=1e-3)
    np.testing.assert_array_equal(sound, heard)  # packet by packet as it was
    assert images.shape == before.shape
    if background == "mask":
        assert np.abs(images[..., 0].astype(int) - images[..., 1]).max() < 12  # gray
    assert os.listdir(tmp_path) == ["out.mp4"]


def test_a_video_without_sound_says_so_and_frames_may_be_pictures(command, movie, weights, tmp_path):
    silent = tmp_path / "silent.mp4"
    with av.open(str(movie)) as source, av.open(str(silent), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    code, said = predict(command, weights, "--video", silent, "--output", tmp_path / "out.mp4")
    assert (code, said.strip()) == (0, f"{tmp_path / 'out.mp4'}: 20 frames, no sound, as it has none")
    code, said = predict(command, weights, "--video", silent, "--output", tmp_path / "frames")
    assert code == 0, code
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == [f"{i:06}.png" for i in range(20)]


class Camera:
    """A camera that gives ten frames, of which the sixth comes after a gap."""

    fps, num_frames, dropped = 0.0, 0, 0

    def __init__(self, name):
        self.closed = False

    def __iter__(self):
        image, _ = draw_figure(np.random.default_rng(5), 64)
        for i in range(10):
            yield frames.Frame(image[:48, :48], i, 0.0, anew=i == 5, seconds=i / 25)

    def close(self):
        self.closed = True


def test_a_camera_is_drawn_until_its_time_is_over(command, weights, tmp_path, monkeypatch):
    from deploy import portraits

    monkeypatch.setattr(portraits, "LiveFrames", Camera)
    out = tmp_path / "camera.mp4"
    code, said = predict(command, weights, "--video", "0", "--output", out, "--seconds", 0.2, "--smoothing", 0.5,
                         "--background", "blur")  # fmt: skip
    assert (code, said.strip()) == (0, f"{out}: 6 frames, no sound, as it has none")
    np.testing.assert_allclose(seen(out)[1], np.arange(6) / 25, atol=1e-3)


WRONG = {
    "no such file": (("--video", "none.mp4", "--output", "x.mp4"), "none.mp4 does not exist"),
    "no background": (("--video", "MOVIE", "--output", "x.mp4", "--background", "green"), "--background must be mask,"),
    "too much smoothing": (("--video", "MOVIE", "--output", "x.mp4", "--smoothing", "1"), "--smoothing must be 0 or"),
    "a container that is none": (("--video", "MOVIE", "--output", "x.doc"), "frames go into a video, as out.mp4"),
    "one file for two": (("--video", "MOVIE", "MOVIE", "--output", "x.mp4"), "is one file for 2 sources"),
    "an address": (("--video", "rtsp://x", "--output", "x.mp4"), "--allow_network lets this program"),
    "no picture": (("--video", "MOVIE"), "is no readable picture"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_named_in_one_line(command, movie, weights, tmp_path, case):
    flags, message = WRONG[case]
    flags = [str(movie) if flag == "MOVIE" else flag for flag in flags]
    flags = [str(tmp_path / flag) if flag.startswith("x.") else flag for flag in flags]
    code, _ = predict(command, weights, *flags)
    assert message in str(code)
    assert "\n" not in str(code)
    assert not list(tmp_path.iterdir())


def test_a_classifier_draws_nothing(command, make_classifier, movie, tmp_path):
    code, _ = predict(command, make_classifier, "--video", movie, "--output", tmp_path / "out.png")
    assert "out.png must end with one of .csv, .json" in str(code)


@pytest.fixture
def make_classifier(tmp_path_factory):
    from configs import get_preset
    from engine.checkpoint import pickled
    from models import from_recipe

    recipe = get_preset("demo_tsn").with_(num_classes=2)
    folder = tmp_path_factory.mktemp("classifier")
    arrays = {name: tensor.numpy() for name, tensor in from_recipe(recipe).state_dict().items()}
    (folder / "best.pdparams").write_bytes(pickled(arrays))
    (folder / "recipe.json").write_text(recipe.to_json())
    return folder / "best.pdparams"
