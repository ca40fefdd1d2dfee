"""Nodes on the loopback address: all end well, or nothing is left of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from test_tipc import chains, fleet
from test_tipc import session as module
from test_tipc.chains import compare_nodes
from test_tipc.processes import contained
from test_tipc.session import Session, StepError
from test_tipc.steps import Training
from tests.test_tipc.test_session import ends

ROOT = Path(__file__).resolve().parents[2]
# Node 1 fails; node 0 does not care for SIGTERM.
DYING = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1] + os.environ["PADDLE_TRAINER_ID"], "w").write(str(os.getpid()))
while len([name for name in os.listdir(os.path.dirname(sys.argv[1])) if name.startswith("pid")]) < 2:
    time.sleep(0.05)
sys.exit(3) if os.environ["PADDLE_TRAINER_ID"] == "1" else time.sleep(600)
"""
RANK = """
import os, sys, time
names = ("PADDLE_TRAINER_ID", "PADDLE_TRAINERS_NUM", "PADDLE_LOCAL_RANK")
open(sys.argv[1] + os.environ[names[0]], "w").write(" ".join(os.environ[name] for name in names))
# The node that ends first takes with it where the others meet: Paddle's launcher there waits for nobody
while not all(os.path.exists(sys.argv[1] + str(rank)) for rank in range(int(os.environ[names[1]]))):
    time.sleep(0.1)
"""


def test_a_node_that_dies_ends_all_and_leaves_no_process(tmp_path):
    """Run by hand, without a chain that would kill what is left."""
    (tmp_path / "dying.py").write_text(DYING)
    (tmp_path / "pids").mkdir()
    argv = ["--log_dir", tmp_path / "logs", "--", tmp_path / "dying.py", tmp_path / "pids" / "pid"]
    code = f"import sys; from test_tipc import fleet; fleet._ENDING = 1.0; fleet.main({list(map(str, argv))})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 1
    assert "NodeError: node " in done.stderr
    pids = [int(path.read_text()) for path in (tmp_path / "pids").iterdir()]
    assert len(pids) == 2
    assert all(map(ends, pids))
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in read(path)]


def test_nodes_of_several_processes_meet_whatever_proxy_is_set(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "rank.py").write_text(RANK)
    argv = [
        sys.executable, "-m", "test_tipc.fleet", "--nodes", "2", "--nproc_per_node", "2", "--log_dir",
        str(tmp_path / "logs"), "--", str(tmp_path / "rank.py"), str(tmp_path / "rank"),
    ]  # fmt: skip
    with (tmp_path / "said").open("wb") as said, contained(argv, output=said) as process:
        assert process.wait(300) == 0
    assert (tmp_path / "said").read_text().endswith("2 nodes ended with 0\n")
    ranks = sorted((tmp_path / f"rank{rank}").read_text() for rank in range(4))
    assert ranks == ["0 4 0", "1 4 1", "2 4 0", "3 4 1"]
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["node_0", "node_1"]


def test_a_proxy_keeps_what_it_was_told_to_leave_out(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "mirror.example")
    monkeypatch.delenv("no_proxy", raising=False)
    assert fleet._environment()["no_proxy"] == fleet._environment()["NO_PROXY"] == "mirror.example,127.0.0.1"


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_there_must_be_something_to_run(tmp_path):
    for argv in ([], ["--"]):
        with pytest.raises(fleet.NodeError, match="there is nothing to run"):
            fleet.main(["--log_dir", str(tmp_path), *argv])


def test_several_nodes_learn_what_one_does_or_fail(tmp_path):
    for run in ("one", "several"):
        (tmp_path / run).mkdir()
        (tmp_path / run / "best.pdparams").write_bytes(b"weights")
        (tmp_path / run / "train.log").write_text("[TRAIN] epoch: [1/1], loss: 2.000000 lr: 0.1\n")
    one, several = (tmp_path / run / "best.pdparams" for run in ("one", "several"))
    assert compare_nodes(one, several)["nodes_losses"] == 1
    several.write_bytes(b"Weights")
    with pytest.raises(StepError, match=r"losses begin \[2\.0\] with several nodes, \[2\.0\] with one"):
        compare_nodes(one, several)
    several.write_bytes(b"weights")
    several.with_name("train.log").write_text("[TRAIN] epoch: [1/1], loss: 2.000001 lr: 0.1\n")
    with pytest.raises(StepError, match=r"losses begin \[2\.000001\]"):
        compare_nodes(one, several)


def test_several_nodes_without_one_to_compare_with_are_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "OUTPUT", tmp_path)
    session = Session("tsn", "fleet_lite_train_lite_infer")
    session.judge("train", dict)
    chains._note_nodes(session, Training("-1", "cpu", "", ["train.py"], 2), tmp_path / "best.pdparams", {})
    assert session.steps[-1].reason == "no entry of gpu_list before it has trained with 2 processes on one node"
    assert session.finish() == 1
