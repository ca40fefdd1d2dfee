"""A disk that takes no more: one line, exit code 1, nothing half-written, what was there before as it was."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.owned import Owned

ROOT = Path(__file__).resolve().parents[2]


def run(argv, most_bytes=None):
    """The command, whose files the kernel lets grow no larger than so many bytes."""
    limit = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))) if most_bytes else None
    own = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}  # a file, too
    return subprocess.run(
        [sys.executable, *map(str, argv)], cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=limit,
        env=own,
    )  # fmt: skip


def commands(folder, data, checkpoint, exported):
    """Name -> a command that writes into `folder`, and a size that its files exceed sooner or later."""
    video = next((data / "val").rglob("*.mp4"))
    artifact = ["--model_dir", exported, "--threads", 1]
    export = ["-m", "deploy.export", "--pretrained", checkpoint, "--output", folder / "artifact", "--threads", 1]
    return {
        "export": ([*export, "--formats", "onnx"], (1000, 400_000)),
        "export of every format": ([*export, "--formats", "paddle", "legacy", "onnx"], (1000, 400_000)),
        "quantize": (["-m", "deploy.quantize", *artifact, "--output", folder / "int8", "--dataset_root", data,
                      "--clips", 4], (1000, 100_000)),
        "demo": (["-m", "datasets.demo", folder / "set"], (1000, 3000)),
        "test": (["test.py", "--dataset_root", data, "--pretrained", checkpoint, "--output_dir", folder / "test",
                  "--threads", 1, "--num_workers", 0, "--engine", "dygraph"], (300, 5000)),
        "infer": (["-m", "deploy.infer", *artifact, "--video", video, "--save_json", folder / "scores.json"], (50,)),
        "convert": (["-m", "tools.convert", checkpoint, folder / "mine.npz", "--target", "mmaction2"], (1000,)),
    }  # fmt: skip


LONG = ("export", "export of every format", "demo", "test")
NAMES = [
    *("quantize", "infer", "convert"),
    *(pytest.param(name, marks=pytest.mark.whole) for name in LONG),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_is_one_line_and_nothing_is_left(name, tmp_path, motion_videos, of_the_demo_set):
    argv, sizes = commands(tmp_path, motion_videos, *of_the_demo_set)[name]
    for size in sizes:
        done = run(argv, size)
        lines = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
        assert (done.returncode, len(lines)) == (1, 1), done.stderr
        assert lines[0].startswith("error: "), done.stderr
        left = [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith((".", "lock"))]
        assert not [path for path in left if ".actionalign" not in path.parts], left
    done = run(argv)
    assert done.returncode == 0, done.stderr
    if name.startswith(("export", "quantize")):
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert run(argv, sizes[0]).returncode == 1
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        (folder,) = tmp_path.iterdir()
        Owned(folder).check_all()
