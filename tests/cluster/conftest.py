"""An artifact, some videos, and the rows that a job leaves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from datasets.demo import CLASS_NAMES
from deploy import export

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def artifact(make_checkpoint, tmp_path_factory):
    """Folder with an ONNX graph of a network that tells the embedded videos apart somehow."""
    pytest.importorskip("ray")
    pytest.importorskip("pyarrow")
    pytest.importorskip("paddle2onnx")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("cluster") / "artifact"
    weights = make_checkpoint("demo_tsm", CLASS_NAMES)
    export.main(["--pretrained", str(weights), "--output", str(folder), "--threads", "1", "--formats", "onnx"])
    return folder


@pytest.fixture(scope="session")
def videos(motion_videos, tmp_path_factory):
    """Fourteen videos and two that cannot be read, as a list."""
    folder = tmp_path_factory.mktemp("listed")
    found = sorted((motion_videos / "val").rglob("*.mp4"))[:14]
    (folder / "text.mp4").write_text("no video")
    (folder / "cut.mp4").write_bytes(found[0].read_bytes()[:700])
    names = [*map(str, found), str(folder / "text.mp4"), str(folder / "cut.mp4")]
    path = folder / "videos.txt"
    path.write_text("".join(f"{name}\n" for name in names))
    return path


def job_flags(artifact, videos, output, *more):
    flags = ("--model_dir", artifact, "--input", videos, "--output", output, "--shard_size", 3, "--workers", 2, *more)
    return [str(flag) for flag in flags]


def start(flags, output=subprocess.PIPE):
    """The command in a process and a session of its own, so that all of it can be killed."""
    return subprocess.Popen(
        [sys.executable, "-m", "cluster.predict", *flags], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
        text=True, start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def rows_of(output):
    """All rows of a job, in the order of its list."""
    from pyarrow import parquet

    tables = [parquet.read_table(path) for path in sorted((Path(output) / "shards").glob("*.parquet"))]
    return [row for table in tables for row in table.to_pylist()]
