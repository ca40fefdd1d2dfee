"""SIGTERM and Ctrl-C at random moments of every command: one line, the exit code, nothing left, nothing running.

`ACTIONALIGN_FUZZ=10` tries ten times as many moments.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOMENTS = int(os.environ.get("ACTIONALIGN_FUZZ", "1"))
GIVEN_S = 120  # a safety net


def commands(folder, data, checkpoint, exported):
    """Name -> arguments of a command that takes some seconds, which writes into `folder`."""
    video = next((data / "val").rglob("*.mp4"))
    artifact = ["--model_dir", exported, "--threads", 1]
    return {
        "train": ["train.py", "--preset", "demo_tsm", "--dataset_root", data, "--output_dir", folder / "run",
                  "--max_epochs", 3, "--threads", 1, "--num_workers", 1, "--checkpoint_iters", 1],
        "test": ["test.py", "--dataset_root", data, "--pretrained", checkpoint, "--output_dir", folder / "test",
                 "--threads", 1, "--num_workers", 1],
        "predict": ["predict.py", "--video", *[video] * 20, "--pretrained", checkpoint, "--threads", 1],
        "demo": ["-m", "datasets.demo", folder / "demo"],
        "convert": ["-m", "tools.convert", checkpoint, folder / "mine.pth", "--target", "mmaction2"],
        "export": ["-m", "deploy.export", "--pretrained", checkpoint, "--output", folder / "artifact", "--threads", 1,
                   "--formats", "paddle", "onnx"],
        "infer": ["-m", "deploy.infer", *artifact, "--video", *[video] * 20, "--num_workers", 1],
        "quantize": ["-m", "deploy.quantize", *artifact, "--output", folder / "int8", "--dataset_root", data],
    }  # fmt: skip


def begin(argv, temporary):
    """The command in a session of its own, once it can be ended in order."""
    process = subprocess.Popen(
        [sys.executable, *map(str, argv)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env=os.environ | {"TMPDIR": str(temporary)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # jobs in the background ignore it
    )  # fmt: skip
    while process.poll() is None and not catches(status_of(process), signal.SIGTERM):
        time.sleep(0.005)
    return process


def status_of(process):
    """What the kernel says of a process that was not waited for."""
    return Path(f"/proc/{process.pid}/status").read_text()


def catches(status, number):
    """Whether a process has a handler of its own for a signal, by its /proc/PID/status."""
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def is_over(session):
    """Whether no process of a session is left, within seconds."""
    for _ in range(100):
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def left_in(folder):
    """What an ended command must not leave: a run may stay, as it can be resumed, and what is finished."""
    return [path for path in folder.rglob("*") if ".unfinished" in path.name or path.name.startswith(".mine")]


NAMES = ("train", "test", "predict", "demo", "convert", "export", "infer", "quantize")
HELD = ("train", "predict", "demo")  # on a terminal most of the time: Ctrl-C in `make test`
STOPPED = ("train", "predict", "export", "infer")  # by schedulers


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells when the handlers are there")
@pytest.mark.parametrize(
    ("name", "number", "said"),
    [
        pytest.param(name, signal.SIGTERM, "SIGTERM", marks=() if name in STOPPED else pytest.mark.whole)
        for name in NAMES
    ]
    + [pytest.param(name, signal.SIGINT, "Ctrl-C", marks=() if name in HELD else pytest.mark.whole) for name in NAMES],
)
def test_a_signal_at_any_moment_ends_in_order(name, number, said, tmp_path, motion_videos, of_the_demo_set):
    moments, taken = random.Random(f"{name} {said}"), 0
    for round in range(MOMENTS):
        folder, temporary = tmp_path / f"out{round}", tmp_path / f"tmp{round}"
        folder.mkdir()
        temporary.mkdir()
        process = begin(commands(folder, motion_videos, *of_the_demo_set)[name], temporary)
        time.sleep(moments.uniform(0, 4 if name != "convert" else 1.5))
        at_its_end = process.poll() is not None or not catches(status_of(process), number)  # Python takes handlers away
        process.send_signal(number)
        _, error = process.communicate(timeout=GIVEN_S)
        lines = [line for line in error.splitlines() if not line.startswith(("note: ", "\r"))]
        if at_its_end and process.returncode in (0, -number):
            assert not lines, error
        elif process.returncode == -number and not error and not list(folder.iterdir()):
            taken += 1  # Paddle's import has SIGTERM for a few milliseconds, before anything is begun
        elif process.returncode:  # it may have been over just now
            assert process.returncode == 128 + number, error
            assert lines == [f"stopped by {said}"], error
        else:
            assert not lines, error
        assert is_over(process.pid)
        assert not list(temporary.iterdir())
        assert not left_in(folder)
    assert taken <= MOMENTS // 20
