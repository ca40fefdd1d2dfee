"""What is seen of a training: boards have its figures once, whatever ended it, and change none of them."""

import subprocess
import sys

import numpy as np
import paddle
import pytest

from configs import get_preset
from datasets.transforms import denormalized
from engine import boards, watch
from runtime.errors import UserError
from tests.commands.small_runs import ROOT, train_flags
from tests.commands.test_training_modes import arrays_of


class Shown:
    """A board in memory."""

    name = "shown"
    size = 7

    def __init__(self):
        self.figures, self.images, self.texts = [], {}, {}

    def scalar(self, name, value, step):
        self.figures.append((name, step, value))

    def image(self, name, image, step):
        self.images[name, step] = image

    def text(self, name, text, step):
        self.texts[name, step] = text


def test_the_norm_is_that_of_all_gradients_together():
    model = paddle.nn.Sequential(paddle.nn.Linear(3, 4), paddle.nn.Linear(4, 2))
    assert watch.gradient_norm(model) == 0
    (model(paddle.randn([5, 3])) ** 2).sum().backward()
    everything = np.concatenate([parameter.grad.numpy().ravel() for parameter in model.parameters()])
    assert watch.gradient_norm(model) == pytest.approx(np.linalg.norm(everything), rel=1e-6)


def test_a_strip_shows_frames_as_they_were():
    recipe = get_preset("demo_tsm")
    view = np.random.default_rng(0).standard_normal((16, 3, 96, 96)).astype(np.float32)
    found = watch.strip(view, recipe)
    assert found.shape == (96, 8 * 96, 3)
    assert np.array_equal(found[:, :96], denormalized(view[:1], recipe.pixels)[0])
    assert np.array_equal(found[:, -96:], denormalized(view[-1:], recipe.pixels)[0])
    assert watch.strip(view[0], recipe).shape == (96, 96, 3)


def test_a_line_has_the_shares_since_the_last_one():
    shown = Shown()
    watching = watch.Watch(shown)
    watching.begin_epoch()
    for part in ("reading", "forward", "other"):
        watching.mark(part)
    watching.line(3, {"loss": 1.5, "lr": float("nan")})
    figures = {name: value for name, step, value in shown.figures if step == 3}
    assert figures["train/loss"] == 1.5
    assert not {"train/lr", "train/gradient_norm"} & set(figures)  # not finite, or not known yet
    assert sum(figures[f"share/{part}"] for part in watch.PARTS) == pytest.approx(1)
    watching.mark("step")
    watching.line(4, {})
    assert {name: value for name, step, value in shown.figures if step == 4}["share/step"] == pytest.approx(1)
    assert watching.end_epoch() == []  # no profile


def test_a_package_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UserError, match="--log tensorboard needs tensorboardX: pip install tensorboardX"):
        boards.open_board("tensorboard", tmp_path)


# ---------------------------------------------------------------------------------------------------------------------
# Whole runs


def points(run, kind, tag):
    """(step, value) of a curve, as the board's own reader gives them."""
    if kind == "visualdl":
        from visualdl import LogReader

        reader = LogReader(file_path=str(run / kind / boards.VisualDL.FILE))
        return [(point.id, point.value) for point in reader.get_data("scalar", tag)]
    return sorted(tensorboard_points(run / kind, tag).items())


def tensorboard_points(folder, tag):
    """As TensorBoard shows them: what a later file purges is gone."""
    import struct

    from tensorboardX.proto.event_pb2 import Event, SessionLog

    found = {}
    for path in sorted(folder.glob("events.*")):
        content, place = path.read_bytes(), 0
        while place < len(content):
            (size,) = struct.unpack_from("<Q", content, place)
            event = Event.FromString(content[place + 12 : place + 12 + size])
            place += 16 + size
            if event.session_log.status == SessionLog.START:
                found = {step: value for step, value in found.items() if step < event.step}
            for one in event.summary.value:
                if one.tag == tag:
                    found[event.step] = one.simple_value
    return found


FLAGS = ("--max_epochs", 2, "--log_iters", 1, "--seed", 5)


@pytest.fixture(scope="module")
def unwatched(motion_videos, tmp_path_factory):
    run = tmp_path_factory.mktemp("unwatched") / "run"
    subprocess.run([sys.executable, "train.py", *train_flags(motion_videos, run, *FLAGS)], cwd=ROOT, check=True)
    return run


@pytest.mark.parametrize("kind", ["visualdl", pytest.param("tensorboard", marks=pytest.mark.whole)])
def test_a_watched_run_is_the_same_run_and_shows_each_batch_once(kind, motion_videos, unwatched, tmp_path):
    pytest.importorskip(boards.BOARDS[kind].package)
    run = tmp_path / "run"
    flags = train_flags(motion_videos, run, *FLAGS, "--checkpoint_iters", 3, "--log", kind, "--profile")
    command_line = [sys.executable, "train.py", *flags]
    with subprocess.Popen(command_line, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "batch_id: 5" in line:  # of 8, two after the checkpoint
                process.kill()
    more = ["--output_dir", run, "--resume", "--threads", 1, "--log_iters", 1, "--checkpoint_iters", 3, "--profile"]
    resumed = subprocess.run(
        [sys.executable, "train.py", *map(str, more), "--log", kind],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    said = resumed.stdout + resumed.stderr
    assert (run / "metrics.jsonl").read_bytes() == (unwatched / "metrics.jsonl").read_bytes()
    expected = arrays_of(unwatched / "last.pdparams")
    for name, array in arrays_of(run / "last.pdparams").items():
        assert np.array_equal(array, expected[name]), name
    assert said.count("profile of ") == 2
    losses = points(run, kind, "train/loss")
    assert [step for step, _ in losses] == list(range(1, 17))
    logged = [line for line in (unwatched / "train.log").read_text().splitlines() if line.startswith("[TRAIN]")]
    assert [float(line.partition("loss: ")[2].split()[0]) for line in logged] == pytest.approx(
        [loss for _, loss in losses], abs=1e-6
    )
    norms = points(run, kind, "train/gradient_norm")
    assert len(norms) == 16
    assert all(norm > 0 for _, norm in norms)
    assert [step for step, _ in points(run, kind, "eval/top1_acc")] == [8, 16]
    if kind == "visualdl":
        check_pictures(run / kind)


def check_pictures(folder):
    """A board of VisualDL has clips, a confusion matrix and the graph."""
    from visualdl import LogReader

    found = LogReader(file_path=str(folder / boards.VisualDL.FILE)).tags()
    tags = {tag.rpartition("/")[2].replace("%", "/"): kind for tag, kind in found.items()}
    assert tags["train/clips"] == tags["eval/confusion_matrix"] == "image"
    assert tags["train/clips_are"] == "text"
    assert b"conv2d" in next(folder.glob("vdlgraph.*")).read_bytes()
