"""Batches must not depend on who loads them, and no way of dying may hang or leave a process behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from datasets.annotation import Annotation, DataError, load_annotation
from datasets.dataset import VideoDataset
from datasets.loader import Batch, ClipLoader, LoaderError

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def train_set(media_root):
    """Ten entries, of which number 4 does not decode."""
    return load_annotation(str(media_root), "train")


@pytest.fixture
def dataset(train_set, tiny_recipe):
    return VideoDataset(train_set, tiny_recipe, "train")


@pytest.fixture
def good_dataset(train_set, tiny_recipe):
    entries = tuple(entry for i, entry in enumerate(train_set.entries) if i != 4)
    return VideoDataset(Annotation(entries, (), ""), tiny_recipe, "train")


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        np.array_equal(a.clips, b.clips)
        and np.array_equal(a.targets, b.targets)
        and np.array_equal(a.indices, b.indices)
        and a.failures == b.failures
        for a, b in zip(first, second, strict=True)
    )


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie counts)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until_gone(pids: list[int], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if all(gone(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def pids_of(loader: ClipLoader) -> list[int]:
    return [process.pid for process in loader._workers._processes]


def test_batches(good_dataset):
    batches = list(ClipLoader(good_dataset, 4).epoch(0))
    assert [len(batch.targets) for batch in batches] == [4, 4, 1]
    assert np.concatenate([batch.indices for batch in batches]).tolist() == list(range(9))
    labels = [entry.target for entry in good_dataset.annotation.entries]
    assert np.concatenate([batch.targets for batch in batches]).tolist() == labels
    first = batches[0]
    assert first.clips.shape == (4, 1, 4, 3, 32, 32)
    assert (first.clips.dtype, first.targets.dtype, first.indices.dtype) == (np.float32, np.int64, np.int64)
    assert first.failures == ()
    assert np.array_equal(first.clips[2], good_dataset.load(2)[0])


@pytest.mark.parametrize(("drop_last", "count"), [(False, 3), (True, 2)])
def test_length(good_dataset, drop_last, count):
    loader = ClipLoader(good_dataset, 4, drop_last=drop_last)
    assert len(loader) == len(list(loader.epoch(0))) == count
    assert list(loader.epoch(0, start=count)) == []


def test_order_depends_on_seed_and_epoch_alone(good_dataset):
    def order(seed: int, epoch: int) -> list[int]:
        loader = ClipLoader(good_dataset, 4, shuffle=True, seed=seed)
        return np.concatenate([batch.indices for batch in loader.epoch(epoch)]).tolist()

    assert sorted(order(0, 0)) == list(range(9))
    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_workers_change_nothing(dataset):
    """Two epochs, a resumed one and one that is left half-way, with failures on the way."""

    def load(num_workers: int) -> list[list[Batch]]:
        with ClipLoader(dataset, 3, shuffle=True, num_workers=num_workers, seed=7, on_error="drop") as loader:
            runs = [list(loader.epoch(0)), list(loader.epoch(1))]
            pids = pids_of(loader) if num_workers else []
            runs.append([next(loader.epoch(2))])
            runs.append(list(loader.epoch(1, start=2)))
            assert not num_workers or pids_of(loader) == pids  # they live on from epoch to epoch
        assert wait_until_gone(pids)
        return runs

    alone, shared = load(0), load(2)
    assert all(same(a, b) for a, b in zip(alone, shared, strict=True))
    assert same(alone[3], alone[1][2:])  # `start` goes on where an interrupted epoch ended


def test_more_workers_than_samples(good_dataset):
    few = VideoDataset(Annotation(good_dataset.annotation.entries[:1], (), ""), good_dataset.recipe, "test")
    with ClipLoader(few, 8, num_workers=2) as loader:
        (batch,) = loader.epoch(0)
    assert np.array_equal(batch.clips[0], few.load(0)[0])


@pytest.mark.parametrize("num_workers", [0, 1])
def test_dropped_samples_are_reported_and_not_replaced(dataset, num_workers):
    with ClipLoader(dataset, 6, num_workers=num_workers, on_error="drop") as loader:
        first, second = loader.epoch(0)
    assert first.indices.tolist() == [0, 1, 2, 3, 5]
    assert first.clips.shape[0] == len(first.targets) == 5
    assert len(first.failures) == 1
    assert "clip 4.mp4 is no readable video" in first.failures[0]
    assert second.failures == ()
    assert np.array_equal(first.clips[4], dataset.load(5)[0])


def test_batch_of_failures_only(dataset):
    bad = VideoDataset(Annotation(dataset.annotation.entries[4:5] * 2, (), ""), dataset.recipe, "train")
    (batch,) = ClipLoader(bad, 2, on_error="drop").epoch(0)
    assert batch.clips.shape == (0, 1, 4, 3, 32, 32)
    assert batch.targets.shape == batch.indices.shape == (0,)
    assert len(batch.failures) == 2


@pytest.mark.parametrize("num_workers", [0, 1])
def test_bad_sample_raises_by_default_and_the_loader_lives_on(dataset, num_workers):
    with ClipLoader(dataset, 4, num_workers=num_workers) as loader:
        batches = loader.epoch(0)
        next(batches)
        with pytest.raises(DataError, match=r"clip 4.mp4 is no readable video"):
            next(batches)
        assert next(loader.epoch(1)).indices.tolist() == [0, 1, 2, 3]


def test_newer_epoch_ends_an_older_one(good_dataset):
    with ClipLoader(good_dataset, 2, num_workers=1) as loader:
        old = loader.epoch(0)
        next(old)
        next(loader.epoch(1))
        with pytest.raises(RuntimeError, match="ended by a newer one"):
            next(old)


def test_mistake_in_the_program_is_no_bad_sample(good_dataset):
    """Index 10**6 is not there: an IndexError of ours must not pass for a video that does not decode."""
    with ClipLoader(good_dataset, 1, num_workers=1, on_error="drop") as loader:
        next(loader.epoch(0))
        workers = loader._workers
        ticket = workers.begin([(10**6, 0)])
        with pytest.raises(RuntimeError, match=r"(?s)loader worker failed:.*IndexError"):
            workers.next_sample(ticket, np.empty(good_dataset.sample_shape, np.float32))


def test_killed_worker_is_an_error_and_not_a_hang(good_dataset):
    endless = VideoDataset(Annotation(good_dataset.annotation.entries * 200, (), ""), good_dataset.recipe, "train")
    with ClipLoader(endless, 2, num_workers=2) as loader:
        batches = loader.epoch(0)
        next(batches)
        pids = pids_of(loader)
        os.kill(pids[0], signal.SIGKILL)
        with pytest.raises(LoaderError, match=r"loader worker 0 \(pid \d+\) ended by signal SIGKILL"):
            for _ in batches:
                pass
        assert wait_until_gone(pids)


def test_interrupt_is_left_to_the_parent(good_dataset):
    """Ctrl-C reaches every process of a terminal; a parent that still writes its checkpoint needs its workers calm."""
    expected = list(ClipLoader(good_dataset, 2).epoch(0))
    with ClipLoader(good_dataset, 2, num_workers=1) as loader:
        batches = loader.epoch(0)
        first = next(batches)
        os.kill(pids_of(loader)[0], signal.SIGINT)
        assert same([first, *batches], expected)


def test_workers_start_again_after_close(good_dataset):
    loader = ClipLoader(good_dataset, 4, num_workers=1)
    first = next(loader.epoch(0))
    pids = pids_of(loader)
    loader.close()
    loader.close()
    assert wait_until_gone(pids)
    assert same([first], [next(loader.epoch(0))])
    loader.close()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_do_not_outlive_the_parent(media_root, tiny_recipe, tmp_path, death):
    """A parent that is killed, interrupted or told to go leaves no process and no shared memory behind."""
    recipe = tmp_path / "recipe.json"
    recipe.write_text(tiny_recipe.to_json())
    script = f"""
import json
from configs.recipe import Recipe
from datasets.annotation import load_annotation
from datasets.dataset import VideoDataset
from datasets.loader import ClipLoader, LoaderError

dataset = VideoDataset(load_annotation({str(media_root)!r}, "val"), Recipe.from_json({str(recipe)!r}), "train")
loader = ClipLoader(dataset, 2, num_workers=2)
for epoch in range(10**6):
    for batch in loader.epoch(epoch):
        if epoch == 0:
            print(json.dumps([process.pid for process in loader._workers._processes]), flush=True)
"""
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", script]
    parent = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=tmp_path,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # jobs in the background ignore it
    )
    try:
        pids = json.loads(parent.stdout.readline())
        if death == signal.SIGINT:
            os.killpg(parent.pid, death)  # as a terminal does it: to everyone
        else:
            parent.send_signal(death)
        assert parent.wait(timeout=20) != 0
        assert wait_until_gone(pids)
    finally:
        parent.kill()
        parent.communicate()


def test_workers_start_light():
    """What a worker imports: neither Paddle nor torch, nor a model."""
    code = "import sys, datasets.loader; print(sorted({m.split('.')[0] for m in sys.modules}))"
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert not {"paddle", "torch", "models", "engine"} & set(json.loads(answer.stdout.replace("'", '"')))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"batch_size": 1, "num_workers": -1}, "num_workers 0 or more"),
        ({"batch_size": 1, "on_error": "skip"}, "must be raise or drop, got 'skip'"),
    ],
)
def test_bad_arguments(good_dataset, arguments, message):
    with pytest.raises(DataError, match=message):
        ClipLoader(good_dataset, **arguments)


def test_processes_share_each_batch(good_dataset):
    """Nine samples in batches of two by two: no sample twice, none left out but the one that fills no batch."""
    options = {"shuffle": True, "drop_last": True, "seed": 3}
    whole = ClipLoader(good_dataset, 4, **options)
    parts = [ClipLoader(good_dataset, 2, part=(rank, 2), **options) for rank in range(2)]
    assert [len(loader) for loader in (whole, *parts)] == [2, 2, 2]
    assert [loader.left_out for loader in (whole, *parts)] == [1, 1, 1]
    for epoch, start in ((0, 0), (1, 1)):
        for batch, *ours in zip(whole.epoch(epoch, start), *(part.epoch(epoch, start) for part in parts), strict=True):
            assert np.array_equal(np.concatenate([part.clips for part in ours]), batch.clips)
            assert np.concatenate([part.indices for part in ours]).tolist() == batch.indices.tolist()


def test_what_is_not_dropped_is_not_left_out(good_dataset):
    loaders = [ClipLoader(good_dataset, 2, part=(rank, 2)) for rank in range(2)]
    assert [len(loader) for loader in loaders] == [3, 3]
    assert loaders[0].left_out == 0
    indices = [batch.indices.tolist() for loader in loaders for batch in loader.epoch(0)]
    assert indices == [[0, 1], [4, 5], [8], [2, 3], [6, 7], []]
