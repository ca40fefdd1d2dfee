"""Ways to run one training: as a static graph, in several processes, for a few batches to see how fast it is."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from deploy import compiled
from deploy.engines import default_engine
from deploy.interface import Settings
from tests.commands.small_runs import ROOT, train_flags


def start(processes, logs, *command):
    """A program under Paddle's launcher, in so many processes."""
    launcher = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", str(processes)]
    return subprocess.Popen(
        [*launcher, "--log_dir", str(logs), *map(str, command)],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def launch(processes, logs, *command):
    """Its exit code and what the launcher printed, when it has ended."""
    process = start(processes, logs, *command)
    out, _ = process.communicate(timeout=240)
    return process.returncode, out


def arrays_of(path):
    with path.open("rb") as file:
        content = pickle.load(file)
    return {name: value for name, value in content.items() if isinstance(value, np.ndarray)}


# ---------------------------------------------------------------------------------------------------------------------
# A static graph


def losses(run):
    return [float(loss) for loss in re.findall(r" loss: ([\d.]+)", (run / "train.log").read_text())]


@pytest.mark.parametrize(
    "model", ["tsm_tiny", *(pytest.param(name, marks=pytest.mark.whole) for name in ("tsn_tiny", "mvf_tiny"))]
)
def test_a_static_graph_begins_with_the_losses_of_dygraph(motion_videos, command, tmp_path, model):
    """With dropout: the masks of both are the same. The rate is small, as rounding grows with each step."""
    more = ("--model", model, "--max_epochs", 2, "--warmup_epochs", 1, "--lr", 0.001, "--log_iters", 1)
    runs = {}
    for mode in ((), ("--to_static",)):
        run = tmp_path / f"run{len(mode)}"
        assert command("train.py", *train_flags(motion_videos, run, *more, *mode))[0] == 0
        runs[mode] = losses(run)
    assert len(runs[()]) == 16
    assert runs[("--to_static",)] == pytest.approx(runs[()], rel=1e-5)


@pytest.mark.whole
def test_a_run_goes_on_as_a_static_graph(motion_videos, command, tmp_path):
    more = ("--max_epochs", 2, "--warmup_epochs", 1, "--lr", 0.001, "--log_iters", 1, "--checkpoint_iters", 1)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "train.py", *train_flags(motion_videos, killed, *more)], cwd=ROOT)
    wait_for_line(killed / "train.log", "[TRAIN] epoch: [1/2], batch_id: 4")
    process.kill()
    process.wait()
    done = len(losses(killed))
    assert done < 16
    code, _ = command("train.py", "--output_dir", killed, "--resume", "--to_static", "--log_iters", 1, "--threads", 1)
    assert code == 0
    assert command("train.py", *train_flags(motion_videos, whole, *more))[0] == 0
    assert losses(killed)[-8:] == pytest.approx(losses(whole)[-8:], rel=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# Evaluation by an engine


@pytest.mark.whole
def test_an_engine_evaluates_many_views_and_leaves_no_trace(motion_videos, command, monkeypatch, tmp_path):
    runs = {}
    for name, many_views in (("engine", 1), ("dygraph", 10**6)):
        monkeypatch.setattr(compiled, "MANY_VIEWS", many_views)
        runs[name] = tmp_path / name
        assert command("train.py", *train_flags(motion_videos, runs[name], "--max_epochs", 2))[0] == 0
    log = (runs["engine"] / "train.log").read_text()
    assert f"[EVAL] epoch=2 engine={default_engine(Settings())}" in log
    assert "engine=" not in (runs["dygraph"] / "train.log").read_text()
    events = {
        name: [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for name, run in runs.items()
    }
    assert len(events["engine"]) == 2
    for by_engine, by_network in zip(events["engine"], events["dygraph"], strict=True):
        assert by_engine == pytest.approx(by_network, rel=1e-4)
    for file in ("last.pdparams", "last.pdopt"):
        expected = arrays_of(runs["dygraph"] / file)
        for key, array in arrays_of(runs["engine"] / file).items():
            assert np.array_equal(array, expected[key]), key


# ---------------------------------------------------------------------------------------------------------------------
# Speed


@pytest.mark.parametrize(("batches", "counted"), [(5, 5), (11, 11), (100, 16)])
def test_a_benchmark_ends_with_one_number(motion_videos, command, tmp_path, batches, counted):
    flags = train_flags(motion_videos, tmp_path / "run", "--max_epochs", 2, "--warmup_epochs", 0)
    code, out = command("train.py", *flags, "--max_iters", batches)
    assert code == 0
    warm_up = min(10, batches // 5)
    line = rf"benchmark: {counted} batches, the first {warm_up} not counted, avg_ips: ([\d.]+) images/sec"
    assert float(re.fullmatch(line, out.splitlines()[-1])[1]) > 0
    files = {path.name for path in (tmp_path / "run").glob("[!.]*")}
    assert files == {"recipe.json", "classes.txt", "metrics.jsonl", "train.log"}
    assert "[EVAL]" not in out


# ---------------------------------------------------------------------------------------------------------------------
# Several processes

TRAINING = """
import hashlib, sys
from pathlib import Path
from runtime import preparation
preparation.prepare("cpu", 1)
import paddle
from configs import get_preset
from datasets import ClipLoader, VideoDataset, load_annotation
from engine.processes import Processes
from engine.trainer import Trainer
from models import freeze_batch_norm, from_recipe

data, run, batch_size, frozen = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "frozen"
processes = Processes.join()
run.mkdir(exist_ok=True)
recipe = get_preset("demo_tsm").with_(
    short_side=40, crop_size=32, test_size=32, batch_size=batch_size, num_classes=8, dropout=0.0, max_epochs=2,
    warmup_epochs=0.0, max_bad_samples=0.1, precise_bn_epochs=0 if frozen else 2, precise_bn_batches=2, accumulate=2,
)
train = VideoDataset(load_annotation(data, "train", 1, 8, ""), recipe, "train")
val = VideoDataset(load_annotation(data, "val", 1, 8, ""), recipe, "val")
paddle.seed(recipe.training.seed)
model = from_recipe(recipe)
if frozen:
    learn = model.train
    model.train = lambda: (learn(), freeze_batch_norm(model, keep_first=False))
part = (processes.rank, processes.size)
with ClipLoader(train, batch_size, shuffle=True, drop_last=True, on_error="drop", seed=1, part=part) as loader:
    Trainer(recipe, model, loader, ClipLoader(val, 8, part=part), run, log_iters=1, processes=processes).fit()
state = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
(run / f"digest{processes.rank}").write_text(hashlib.sha256(state).hexdigest())
"""


@pytest.fixture(scope="module")
def damaged_videos(tmp_path_factory):
    """Thirty-two training videos, of which one does not decode."""
    from datasets.demo import write_demo_dataset

    data = write_demo_dataset(tmp_path_factory.mktemp("damaged") / "data", train_per_class=4, val_per_class=1)
    broken = sorted((data / "train" / "moving_left").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:300])
    return data


@pytest.mark.whole
@pytest.mark.parametrize("norms", ["training", "frozen"])
def test_two_processes_are_one_with_twice_the_batch(damaged_videos, tmp_path, norms):
    """With frozen BatchNorm; statistics of a batch are those of one process, so else only the processes are equal."""
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    one, two = tmp_path / "one", tmp_path / "two"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, script, damaged_videos, one, "8", norms], cwd=ROOT, env=environment, check=True)
    code, out = launch(2, tmp_path / "logs", script, damaged_videos, two, 4, norms)
    assert code == 0, out
    digests = [(two / f"digest{rank}").read_text() for rank in range(2)]
    assert digests[0] == digests[1]
    assert (two / "train.log").read_text().count("[SKIPPED]") == 2  # once in each epoch, whoever read it
    ours, theirs = arrays_of(two / "last.pdparams"), arrays_of(one / "last.pdparams")
    gap = max(float(np.abs(ours[name] - theirs[name]).max()) for name in theirs)
    velocities = arrays_of(two / "last.pdopt").values()
    assert max(float(np.abs(velocity).max()) for velocity in velocities) > 1e-3  # the steps were not empty
    if norms == "frozen":
        assert gap < 1e-6
        assert losses(two) == pytest.approx(losses(one), rel=1e-5)
    else:
        assert gap > 1e-6


MESSAGES = """
import sys, time
import paddle
paddle.set_device("cpu")
from paddle import nn
from engine.processes import Processes

processes = Processes.join()
rank = processes.rank
if processes.is_rank_zero:
    time.sleep(float(sys.argv[1]))
processes.barrier()
assert processes.all_reduce([rank, 0.5]) == [3.0, 1.5]
assert processes.all_gather([]) == []
assert processes.all_gather(["one", "two"] if rank == 1 else []) == ["one", "two"]
model = nn.Sequential(nn.Linear(4, 3, bias_attr=False), nn.BatchNorm1D(3), nn.BatchNorm1D(3))
model[2].eval()
model[1]._mean.set_value(paddle.full([3], float(rank)))
model[2]._mean.set_value(paddle.full([3], 0.1))
if rank:  # the first has read no sample and has no gradient
    (model[0].weight * rank).sum().backward()
processes.all_reduce_gradients(model)
assert model[0].weight.grad.numpy().tolist() == [[3.0] * 3] * 4
assert model[1]._mean.numpy().tolist() == [1.0] * 3
assert (model[2]._mean.numpy() == paddle.full([3], 0.1).numpy()).all()
if processes.is_rank_zero:
    print("all as it should be")
"""


@pytest.mark.parametrize("late", [0, pytest.param(40, marks=[pytest.mark.slow, pytest.mark.whole])])
def test_three_processes_tell_each_other(tmp_path, late):
    """Also where the first comes later than the 30 seconds after which gloo gives up, as after an evaluation."""
    script = tmp_path / "messages.py"
    script.write_text(MESSAGES)
    code, out = launch(3, tmp_path / "logs", script, late)
    assert code == 0, out
    assert "all as it should be" in out


LOSS = """
import os, sys, time
import paddle
paddle.set_device("cpu")
import engine.processes
from engine.processes import LostProcessError, Processes

engine.processes._GRACE_S = 0
processes = Processes.join()
what, rank = sys.argv[1], int(sys.argv[2])
processes.barrier()
if processes.rank == rank:
    time.sleep(1)
    if what == "ends":
        os._exit(0)  # the launcher goes on with the others
    time.sleep(6)
processes.barrier_timeout_s = 3.0 if what == "hangs" else 60.0
started = time.monotonic()
try:
    processes.barrier()
except LostProcessError as error:
    print(f"{time.monotonic() - started:.1f} s: {error}", flush=True)
time.sleep(4)  # rank zero holds the store
"""


@pytest.mark.parametrize(
    ("what", "rank", "message"),
    [
        ("ends", 1, r"process 0 of 2 has lost process 1, which has ended too early: its log names the cause"),
        pytest.param(
            *("ends", 0, r"process 1 of 2 has lost (process 0, which has ended too early|another)"),
            marks=pytest.mark.whole,
        ),
        pytest.param(
            *("hangs", 1, r"process 0 of 2 has waited 0.05 minutes for the others: look for the one that hangs"),
            marks=pytest.mark.whole,
        ),
    ],
)
@pytest.mark.whole
def test_a_barrier_ends_with_a_message_where_a_process_does_not_come(tmp_path, what, rank, message):
    script = tmp_path / "loss.py"
    script.write_text(LOSS)
    launch(2, tmp_path / "logs", script, what, rank)
    log = (tmp_path / "logs" / f"workerlog.{1 - rank}").read_text()
    found = re.search(rf"^([\d.]+) s: {message}", log, flags=re.M)
    assert found, log
    assert float(found[1]) >= 3 if what == "hangs" else float(found[1]) < 60


MORE = ("--max_epochs", 3, "--checkpoint_iters", 1, "--log_iters", 1, "--dropout", 0.5, "--mixup_alpha", 0.2)


@pytest.fixture(scope="module")
def broken_run(motion_videos, tmp_path_factory):
    """A run of two processes, the second of which loses its loader worker in the second epoch."""
    root = tmp_path_factory.mktemp("broken")
    process = start(2, root / "logs", "train.py", *train_flags(motion_videos, root / "run", *MORE))
    wait_for_line(root / "run" / "train.log", "[TRAIN] epoch: [2/3], batch_id: 2")
    second = next(pid for pid in children_of(process.pid) if b"PADDLE_TRAINER_ID=1\0" in environment_of(pid))
    workers = [pid for pid in children_of(second) if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(workers[0], signal.SIGKILL)
    out, _ = process.communicate(timeout=120)
    return root / "run", process.returncode, out


def children_of(pid):
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def environment_of(pid):
    return Path(f"/proc/{pid}/environ").read_bytes()


def wait_for_line(path, beginning, seconds=120):
    for _ in range(seconds * 50):
        if path.is_file() and beginning in path.read_text():
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} never said {beginning}")


def test_a_process_that_fails_ends_all_and_is_named(broken_run):
    _, code, out = broken_run
    assert code != 0
    assert re.search(r"Container rank 1 status failed .* code 1 ", out)
    assert re.search(r"^error: loader worker 0 .* ended by signal SIGKILL", out, flags=re.M)


def test_a_plan_of_two_processes_says_so(broken_run):
    _, _, out = broken_run
    assert "schedule  3 epochs of 4 batches of 4 in each of 2 processes, BatchNorm by process, cosine" in out
    assert "rate      0.025 (0.05 at batch 16, scaled to 8)" in out


def test_a_broken_run_of_two_processes_resumes_to_the_same_bits(broken_run, motion_videos, tmp_path):
    run, *_ = broken_run
    whole = tmp_path / "whole"
    code, out = launch(2, tmp_path / "logs", "train.py", *train_flags(motion_videos, whole, *MORE))
    assert code == 0, out
    assert out.count("[EVAL]") == 3
    resume = ("--output_dir", run, "--resume", "--threads", 1, "--num_workers", 0)
    code, out = launch(2, tmp_path / "logs", "train.py", *resume)
    assert code == 0, out
    assert (run / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    for name in ("last.pdparams", "last.pdopt", "best.pdparams"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name


CURVE = (  # a small rate, as rounding grows with each step
    "--max_epochs", 2, "--log_iters", 1, "--dropout", 0, "--sync_bn", "--checkpoint_iters", 1, "--lr", 0.01,
)  # fmt: skip
WHOLE_BATCH = 8


def curve_flags(data, run, processes):
    return train_flags(data, run, *CURVE, "--batch_size", WHOLE_BATCH // processes)


@pytest.fixture(scope="module")
def curve_of_one(motion_videos, tmp_path_factory):
    """The run of one process."""
    run = tmp_path_factory.mktemp("one") / "run"
    subprocess.run([sys.executable, "train.py", *curve_flags(motion_videos, run, 1)], cwd=ROOT, check=True)
    return run


def same_curves(run, expected):
    """Whether two runs are one but for the order of sums."""
    assert len(losses(expected)) == 8
    assert losses(run) == pytest.approx(losses(expected), rel=2e-6)
    events = [
        [json.loads(line) for line in (one / "metrics.jsonl").read_text().splitlines()] for one in (run, expected)
    ]
    assert [event["train_acc"] for event in events[0]] == [event["train_acc"] for event in events[1]]
    ours, theirs = arrays_of(run / "last.pdparams"), arrays_of(expected / "last.pdparams")
    for name, array in theirs.items():
        assert np.allclose(ours[name], array, rtol=1e-4, atol=1e-5), name


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.whole)])
def test_a_batch_that_is_shared_with_its_statistics_gives_the_same_curve(count, motion_videos, curve_of_one, tmp_path):
    code, out = launch(count, tmp_path / "logs", "train.py", *curve_flags(motion_videos, tmp_path / "run", count))
    assert code == 0, out
    assert f"batches of {WHOLE_BATCH // count} in each of {count} processes, BatchNorm over all" in out
    same_curves(tmp_path / "run", curve_of_one)


@pytest.mark.whole
def test_another_number_of_processes_goes_on_with_the_same_batches(motion_videos, curve_of_one, tmp_path):
    run = tmp_path / "run"
    process = start(2, tmp_path / "logs", "train.py", *curve_flags(motion_videos, run, 2))
    wait_for_line(run / "train.log", "[TRAIN] epoch: [2/2], batch_id: 1")
    for pid in children_of(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=240)
    assert 5 <= len(losses(run)) < 8
    more = ["--output_dir", str(run), "--resume", "--threads", "1", "--log_iters", "1"]
    again = subprocess.run([sys.executable, "train.py", *more], cwd=ROOT, check=True, capture_output=True, text=True)
    assert "batches of 8, " in again.stdout
    found = losses(run)
    assert found[-1] == pytest.approx(losses(curve_of_one)[-1], rel=2e-6)


@pytest.mark.whole
def test_statistics_over_all_processes_are_computed_in_dygraph(motion_videos, tmp_path):
    flags = curve_flags(motion_videos, tmp_path / "run", 2)
    code, out = launch(2, tmp_path / "logs", "train.py", *flags, "--to_static")
    assert code != 0
    assert "error: --sync_bn computes in dygraph: leave out --to_static" in out


@pytest.mark.whole
def test_a_test_in_two_processes_is_that_of_one_to_the_last_digit(motion_videos, make_checkpoint, tmp_path):
    """Of an odd number of videos, so that the shares differ; the engine computes each of them alone."""
    videos = sorted((motion_videos / "val").rglob("*.mp4"))[:13]
    names = sorted(path.name for path in (motion_videos / "val").iterdir())
    lines = [f"{video.relative_to(motion_videos)} {names.index(video.parent.name)}\n" for video in videos]
    (tmp_path / "some.txt").write_text("".join(lines))
    weights = make_checkpoint("demo_tsm", names, test_clips=2)
    flags = ["--dataset_root", motion_videos, "--val_list", tmp_path / "some.txt", "--pretrained", weights,
             "--threads", 1, "--num_workers", 0, "--thumbnails", 0]  # fmt: skip
    one, two = tmp_path / "one", tmp_path / "two"
    subprocess.run([sys.executable, "test.py", *map(str, flags), "--output_dir", one], cwd=ROOT, check=True)
    code, out = launch(2, tmp_path / "logs", "test.py", *flags, "--output_dir", two)
    assert code == 0, out
    found, expected = (json.loads((folder / "test.json").read_text()) for folder in (two, one))
    del found["seconds"], expected["seconds"]
    assert found == expected
    assert found["samples"] == 13
    assert (two / "per_class.csv").read_bytes() == (one / "per_class.csv").read_bytes()


def test_a_batch_that_two_processes_cannot_fill(motion_videos, tmp_path):
    code, out = launch(
        2, tmp_path / "logs", "train.py", *train_flags(motion_videos, tmp_path / "run", "--batch_size", 17)
    )
    assert code != 0
    assert "error: batch_size 17 in each of 2 processes is more than the 32 training videos" in out
