"""SIGKILL at random moments: what was finished is whole, and the next start clears what is left.

`ACTIONALIGN_FUZZ=10` kills ten times as often.
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.artifact import open_artifact
from runtime.owned import FOLDER, Owned

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = int(os.environ.get("ACTIONALIGN_FUZZ", "1"))


def kill_at_a_random_moment(argv, moments, longest):
    process = subprocess.Popen(
        [sys.executable, *map(str, argv)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    time.sleep(moments.uniform(0.5, longest))
    os.killpg(process.pid, 9)
    process.wait()


def run(argv):
    done = subprocess.run([sys.executable, *map(str, argv)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def train_argv(data, folder):
    """A training, or what goes on with it once it has a checkpoint."""
    argv = ["train.py", "--output_dir", folder, "--threads", 1, "--num_workers", 0, "--checkpoint_iters", 1]
    if (folder / "state.json").exists():
        return [*argv, "--resume"]
    return [*argv, "--preset", "demo_tsm", "--dataset_root", data, "--max_epochs", 3, "--batch_size", 8]


@pytest.mark.whole
def test_trainings_side_by_side_come_to_the_same_end_however_often_they_are_killed(tmp_path, motion_videos):
    """Two that want one directory: one of them writes, and it goes on from whatever the last one left."""
    run(train_argv(motion_videos, tmp_path / "whole"))
    folder, moments = tmp_path / "killed", random.Random(1)
    for _ in range(ROUNDS):
        argv = [sys.executable, *map(str, train_argv(motion_videos, folder))]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        twins = [subprocess.Popen(argv, cwd=ROOT, **quiet) for _ in range(2)]
        time.sleep(moments.uniform(0.5, 8))
        for process in twins:
            process.kill()
        said = [process.communicate()[1] for process in twins]
        assert not any("Traceback" in text for text in said), said
    run(train_argv(motion_videos, folder))
    for name in ("last.pdparams", "last.pdopt", "best.pdparams", "metrics.jsonl"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    Owned(folder).check_all()


@pytest.mark.parametrize("before", [pytest.param(False, marks=pytest.mark.whole), True])
@pytest.mark.whole
def test_an_export_that_is_killed_leaves_the_old_artifact_or_none(tmp_path, checkpoint, before):
    argv = ["-m", "deploy.export", "--pretrained", checkpoint, "--output", tmp_path / "artifact", "--threads", 1]
    if before:
        run(argv)
    moments = random.Random(2)
    for _ in range(ROUNDS):
        kill_at_a_random_moment(argv, moments, 6)
        if before or (tmp_path / "artifact").exists():
            open_artifact(tmp_path / "artifact").graph("paddle")
    run(argv)
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]
    Owned(tmp_path / "artifact").check_all()


def test_a_quantization_that_is_killed_leaves_nothing_for_the_next(tmp_path, of_the_demo_set, motion_videos):
    argv = ["-m", "deploy.quantize", "--model_dir", of_the_demo_set[1], "--output", tmp_path / "int8", "--threads", 1,
            "--dataset_root", motion_videos, "--clips", 4]  # fmt: skip
    moments = random.Random(3)
    for _ in range(ROUNDS):
        kill_at_a_random_moment(argv, moments, 6)
        if (tmp_path / "int8").exists():
            open_artifact(tmp_path / "int8").graph("onnx")
    run(argv)
    assert [path.name for path in tmp_path.iterdir()] == ["int8"]


@pytest.mark.whole
def test_a_data_set_that_is_killed_while_it_is_written_is_written_by_the_next(tmp_path):
    argv = ["-m", "datasets.demo", tmp_path / "set"]
    moments = random.Random(4)
    for _ in range(ROUNDS):
        kill_at_a_random_moment(argv, moments, 5)
    run(argv)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert (tmp_path / "set" / FOLDER).is_dir()
    Owned(tmp_path / "set").check_all()
