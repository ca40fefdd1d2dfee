"""Two nodes on this machine, and a worker, a node or the driver that dies at some moment: the rows are the same."""

import contextlib
import functools
import json
import os
import shutil
import signal
import time

import numpy as np
import pytest

from tests.cluster.conftest import ROOT, job_flags, rows_of, start
from tests.cluster.test_predict import wait_for

pytestmark = pytest.mark.whole
pytest.importorskip("ray")
VIDEOS, BROKEN = 2000, 20
ROUNDS = int(os.environ.get("ACTIONALIGN_FUZZ", "10"))


@pytest.fixture(scope="module")
def many(motion_videos, tmp_path_factory):
    """A list of 2,000 small videos, of which 20 cannot be read."""
    folder = tmp_path_factory.mktemp("many")
    originals = sorted(motion_videos.rglob("*.mp4"))
    broken = set(np.random.default_rng(1).choice(VIDEOS, BROKEN, replace=False).tolist())
    names = []
    for number in range(VIDEOS):
        path = folder / f"video_{number:04d}.mp4"
        original = originals[number % len(originals)]
        if number in broken:
            path.write_bytes(original.read_bytes()[:500])
        else:
            os.link(original, path) if original.stat().st_dev == folder.stat().st_dev else shutil.copy(original, path)
        names.append(str(path))
    (folder / "list.txt").write_text("\n".join(names) + "\n")
    return folder / "list.txt"


class Nodes:
    """Two nodes of Ray on this machine, each with one core."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        self.address = self._cluster.address
        self.add()

    def add(self):
        """A second node."""
        self._second = self._cluster.add_node(num_cpus=1)

    def kill_second(self):
        """SIGKILL to the second node, whose workers end with it."""
        self._cluster.remove_node(self._second, allow_graceful=False)

    def workers(self):
        """Processes that are at work on shards."""
        return [pid for pid in processes() if "MapWorker" in command_of(pid) and "ray::" in command_of(pid)]

    def stop(self):
        """Ends both."""
        self._cluster.shutdown()


def processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def command_of(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline") as file:
        return file.read()
    return ""


@pytest.fixture
def nodes(monkeypatch):
    for name, value in {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    started = Nodes()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def undisturbed(artifact, many, tmp_path_factory):
    output = tmp_path_factory.mktemp("undisturbed") / "job"
    process = start(job_flags(artifact, many, output, "--shard_size", 16))
    said, _ = process.communicate(timeout=1800)
    assert process.returncode == 0, said
    return rows_of(output)


def kill_worker(nodes, driver, rng):
    workers = nodes.workers()
    if workers:
        os.kill(int(rng.choice(workers)), signal.SIGKILL)
    return bool(workers)


def kill_node(nodes, driver, rng):
    nodes.kill_second()
    nodes.add()
    return True


def kill_driver(nodes, driver, rng):
    os.killpg(driver.pid, signal.SIGKILL)
    return True


@pytest.mark.parametrize("kill", [kill_worker, kill_node, kill_driver])
def test_the_rows_are_those_of_the_undisturbed_job(kill, nodes, artifact, many, undisturbed, tmp_path):
    """As many kills as rounds, at random moments of one job after the other."""
    rng, kills, jobs = np.random.default_rng(7), 0, 0
    while kills < ROUNDS:
        jobs += 1
        output = tmp_path / f"job{jobs}"
        flags = job_flags(artifact, many, output, "--shard_size", 16, "--address", nodes.address)
        log = (tmp_path / f"log{jobs}").open("w")  # not a pipe, which nobody reads meanwhile
        driver = start(flags, log)
        wait_for(functools.partial(has_begun, output, driver))
        while True:
            time.sleep(float(rng.uniform(0.2, 2.0)))
            if driver.poll() is None and kills < ROUNDS:
                kills += kill(nodes, driver, rng)
            if driver.poll() == -signal.SIGKILL:
                driver = start(flags, log)
            elif driver.poll() is not None:
                break
        log.close()
        assert driver.returncode == 0, (tmp_path / f"log{jobs}").read_text()[-3000:]
        assert rows_of(output) == undisturbed
        assert json.loads((output / "summary.json").read_text())["failed"] == BROKEN
    print(f"{kill.__name__}: {kills} kills in {jobs} jobs")


def has_begun(output, driver):
    return len(list((output / "shards").glob("*"))) > 1 or driver.poll() is not None
