"""Ray labels a list as deploy.infer does, each video once, whatever ends the job."""

import csv
import json
import os
import signal
import time
from pathlib import Path

import pytest

from cluster import predict
from deploy import infer
from tests.cluster.conftest import job_flags, rows_of, start


@pytest.fixture(scope="module")
def done(artifact, videos, tmp_path_factory):
    """(folder of a job that has ended, what it said, its exit code)."""
    output = tmp_path_factory.mktemp("done") / "job"
    process = start(job_flags(artifact, videos, output, "--csv", "--max_bad_samples", 0.2))
    said, _ = process.communicate(timeout=600)
    return output, said, process.returncode


@pytest.mark.whole
def test_rows_are_those_of_infer_and_failures_are_rows(done, artifact, videos, tmp_path, own_signals):
    output, said, code = done
    assert code == 0, said
    rows = rows_of(output)
    names = videos.read_text().splitlines()
    assert [row["source"] for row in rows] == names
    infer.main(["--model_dir", str(artifact), "--threads", "1", "--save_json", str(tmp_path / "scores.json"),
                "--video", *names[:14]])  # fmt: skip
    expected = json.loads((tmp_path / "scores.json").read_text())["scores"]
    for row in rows[:14]:
        assert row["scores"] == pytest.approx(expected[row["source"]], abs=1e-6)
        assert row["error"] is None
        assert row["probability"] == max(row["scores"])
        assert row["scores"][row["label"]] == row["probability"]
    for row in rows[14:]:
        assert row["source"] in row["error"]
        assert row["label"] is row["scores"] is None
    with (output / predict.CSV).open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [line["source"] for line in table] == names
    assert [line["name"] for line in table] == [row["name"] or "" for row in rows]
    summary = json.loads((output / "summary.json").read_text())
    assert (summary["videos"], summary["failed"], summary["shards"]) == (16, 2, 6)
    assert not (output / ".unfinished").exists()


@pytest.mark.whole
def test_what_is_there_is_not_computed_again(done, artifact, videos):
    output, *_ = done
    before = rows_of(output)
    lost = output / "shards" / "part-00000003.parquet"
    times = {path: path.stat().st_mtime_ns for path in (output / "shards").iterdir()}
    lost.unlink()
    process = start(job_flags(artifact, videos, output, "--csv"))
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 1
    assert "2 of 16 videos could not be read" in said  # of which a hundredth would be allowed
    assert "3 computed now" in said
    assert lost.exists()
    assert [path for path in times if path != lost and path.stat().st_mtime_ns != times[path]] == []
    assert rows_of(output) == before


@pytest.mark.whole
def test_a_driver_that_is_killed_is_gone_on_with(done, artifact, videos, tmp_path):
    expected = rows_of(done[0])
    output = tmp_path / "job"
    flags = job_flags(artifact, videos, output, "--max_bad_samples", 1, "--shard_size", 1)
    process = start(flags)
    wait_for(lambda: len(list((output / "shards").glob("*.parquet"))) >= 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    finished = {path.name: path.stat().st_mtime_ns for path in (output / "shards").glob("*.parquet")}
    assert len(finished) >= 2
    again = start(flags)
    said, _ = again.communicate(timeout=600)
    assert again.returncode == 0, said
    assert rows_of(output) == expected
    for name, written in finished.items():
        assert (output / "shards" / name).stat().st_mtime_ns == written


def wait_for(holds, seconds=300):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max_bad_samples", 2], "--max_bad_samples must be from 0 to 1"),
        (["--model_dir", "nowhere"], "nowhere"),
        (["--use_gpu", "True"], "workers compute on CPU"),
        (["--input", "nothing_*.mp4"], "no video fits the pattern"),
    ],
)
@pytest.mark.whole
def test_what_cannot_be_is_refused_before_ray_starts(flags, message, artifact, videos, in_this_process, tmp_path):
    code, _ = in_this_process(predict.main, *job_flags(artifact, videos, tmp_path / "job", *flags))
    assert message in str(code)
    assert not Path(tmp_path / "job" / "shards").exists()
