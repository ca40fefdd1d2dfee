"""The driver of a job needs no more memory the longer its list is."""

import json
import os
import subprocess
import sys

import pytest

from tests.cluster.conftest import ROOT

pytest.importorskip("ray")

DRIVER = """
import json, sys
from pathlib import Path
from cluster import job, shards
from cluster.storage import Storage

class Cheap:
    def __init__(self, output):
        self.shards = shards.Shards(Storage(output))
        self.storage = Storage(output)

    def __call__(self, batch):
        numbers = [int(number) for number in batch["item"]]
        videos = [len(self.shards.sources(number)) for number in numbers]
        for number in numbers:
            self.storage.write(shards.file_of(number), b"rows")
        return {"shard": numbers, "videos": videos, "failed": [0] * len(numbers)}

if __name__ == "__main__":
    output, count = sys.argv[1], int(sys.argv[2])
    names = (f"/videos/of/a/folder/with/a/long/name/video_{number:09d}.mp4" for number in range(count))
    parts = shards.begin(Storage(output), names, 64, {})
    with job.cluster():
        done = job.run(Cheap, output, parts.unfinished(), 2, 1, lambda videos, failed: None)
    assert done.videos == count
    assert not parts.unfinished()
    status = Path("/proc/self/status").read_text()
    print(json.dumps(int(status.partition("VmHWM:")[2].split()[0]) / 1024))
"""


@pytest.mark.whole
def test_a_list_a_hundred_times_as_long_takes_the_same_memory(tmp_path):
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    peaks = []
    for count in (1000, 100_000):
        done = subprocess.run(
            [sys.executable, script, str(tmp_path / f"job{count}"), str(count)], cwd=ROOT, capture_output=True,
            text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        peaks.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"peaks of the driver: {peaks} MB")
    assert peaks[1] < 1.1 * peaks[0]
