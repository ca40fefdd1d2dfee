"""A job in one process and in two, killed and resumed: the same descendants; and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datasets.demo import CLASS_NAMES
from runtime.errors import UserError
from scaling.job import Job
from scaling.original import Original
from scaling.parallel import train_all
from scaling.store import MANIFEST, read_manifest
from weights.files import read_file

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def job(make_checkpoint, motion_videos):
    weights = make_checkpoint("demo_tsm", CLASS_NAMES)
    return Job(str(weights), str(motion_videos), sparsities=(0.0, 0.5), epochs=2, batch_size=8)


def begin(job, folder, processes=1):
    """A process that does the job, set up as the command is: with the kernels and the CPU settings of its own."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom configs.cli import Asked\nfrom configs.limits import Limits\n"
        "from runtime.preparation import prepare\nfrom scaling.job import Job\n"
        "if __name__ == '__main__':\n    prepare('cpu', 1)\n    from scaling.parallel import train_all\n"
        f"    train_all({job!r}, Path(sys.argv[1]), {processes}, 1, 1)\n"
    )
    script = folder.with_suffix(".py")
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, script, folder], cwd=ROOT, env=environment, start_new_session=True)


@pytest.fixture(scope="module")
def whole(job, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "scaled"
    assert begin(job, folder).wait() == 0
    return folder


def weights_in(folder):
    return {path.name: dict(read_file(path)) for path in sorted((folder / "descendants").iterdir())}


def assert_equal(found, expected):
    manifests = [{**read_manifest(folder), "job": None} for folder in (found, expected)]  # it has relative paths
    assert manifests[0] == manifests[1]
    ours, theirs = weights_in(found), weights_in(expected)
    assert ours.keys() == theirs.keys()
    for name, arrays in theirs.items():
        for key, array in arrays.items():
            np.testing.assert_array_equal(ours[name][key], array, err_msg=f"{name} {key}")


def test_a_job_leaves_a_manifest_and_a_file_for_each_descendant(job, whole):
    folder = whole
    manifest = read_manifest(folder)
    assert [one["block"] for one in manifest["descendants"]] == [block["path"] for block in manifest["blocks"]]
    assert manifest["facts"]["model"] == "tsm_tiny"
    assert len(manifest["facts"]["weights"]["sha256"]) == 64
    for one in manifest["descendants"]:
        assert one["sparsity"] == 0.5
        assert len(one["errors"]) == 3  # as it was cut, and after each epoch
        assert min(one["errors"]) < one["errors"][0]
        assert (folder / one["file"]).is_file()
    assert not list((folder / "training").iterdir())
    assert train_all(job, folder).manifest == manifest  # nothing is left to do


def test_samples_that_are_held_out_are_not_trained_on(job):
    original = Original(job)
    taught, held_out = (
        {entry.path for entry in loader.dataset.annotation.entries} for loader in (original._taught, original._held_out)
    )
    assert taught
    assert held_out
    assert not taught & held_out
    assert len(taught) + len(held_out) == len(original.train.entries)


def test_two_processes_give_the_same_bits(job, whole, tmp_path):
    assert begin(job, tmp_path / "scaled", processes=2).wait() == 0
    assert_equal(tmp_path / "scaled", whole)


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.whole)])
def test_a_job_that_is_killed_goes_on_to_the_same_bits(job, whole, tmp_path, processes):
    folder = tmp_path / "scaled"
    process = begin(job, folder, processes)
    end = time.monotonic() + 300
    while not list(folder.glob("training/*.safetensors")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not read_manifest(folder)["descendants"]
    assert begin(job, folder, processes).wait() == 0
    assert_equal(folder, whole)


def test_a_folder_of_another_job_is_refused(job, whole):
    with pytest.raises(UserError, match=r"is of another job: its seed is 0, now it is 1; name another --output"):
        train_all(replace(job, seed=1), whole)


def test_a_manifest_that_was_changed_is_refused(job, whole, tmp_path):
    folder = tmp_path / "scaled"
    folder.mkdir()
    (folder / MANIFEST).write_text(json.dumps({"version": 1}))
    with pytest.raises(UserError, match="was not written by this program"):
        train_all(job, folder)


def test_too_few_samples_are_named(job):
    with pytest.raises(UserError, match=r"names 32 training samples: a step takes 100, and one of 10 is"):
        Original(replace(job, batch_size=100))
