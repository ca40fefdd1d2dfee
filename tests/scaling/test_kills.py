"""The command killed at five moments of training and of profiling, and given again: the same tables."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scaling import evaluate, profile
from scaling.evaluate import read_evaluations
from scaling.profile import read_profile
from scaling.store import read_manifest

ROOT = Path(__file__).resolve().parents[2]


def begun(job, folder):
    flags = ["--pretrained", job.pretrained, "--dataset_root", job.dataset_root, "--output", folder, "--threads", "1"]
    more = ["--sparsities", "0.3", "0.6", "--epochs", "1", "--batch_size", "4", "--checkpoint_iters", "1"]
    argv = [sys.executable, "-m", "scaling", "profile", *flags, *more, "--processes", "2", "--engine", "paddle"]
    return subprocess.Popen([str(word) for word in argv], cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)


def rows(found):
    """Of a profile, all but times and memory, which are measured."""
    left_out = ("latency_ms", "latency_share", "memory_bytes")
    return json.loads(
        json.dumps(found), object_hook=lambda one: {name: one[name] for name in one if name not in left_out}
    )


@pytest.mark.whole
def test_a_job_that_is_killed_five_times_gives_the_same_tables(job, tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    assert begun(job, whole).wait() == 0
    measured, timed = folder / evaluate.FILE, folder / profile.FILE
    moments = [
        lambda: any(folder.glob("training/*")),
        lambda: (folder / "scaling.json").exists() and len(read_manifest(folder)["descendants"]) == 16,
        lambda: measured.exists(),
        lambda: len(read_evaluations(folder)) > evaluate.KEPT_EVERY,
        lambda: timed.exists() and len(read_profile(folder)["blocks"]) > 0,
    ]
    for moment in moments:
        process, end = begun(job, folder), time.monotonic() + 600
        while not moment():
            assert process.poll() is None, "it ended before it was killed"
            assert time.monotonic() < end
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kept = read_profile(folder)["blocks"]
    assert len(kept) == 4
    assert begun(job, folder).wait() == 0
    assert {**read_manifest(folder), "job": None} == {**read_manifest(whole), "job": None}
    assert read_evaluations(folder) == read_evaluations(whole)
    found = read_profile(folder)
    assert rows(found) == rows(read_profile(whole))
    assert found["blocks"][: len(kept)] == kept  # what was timed before is not timed again
