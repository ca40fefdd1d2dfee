"""Two nodes on the loopback address: both end well, or nothing is left of them."""

import re
import sys
from pathlib import Path

import pytest

from test_tipc import fleet
from test_tipc import session as module
from test_tipc.chains import compare_nodes
from test_tipc.session import Session, StepError
from tests.test_tipc.test_session import alive

DYING = """
import os, sys, time
open(sys.argv[1] + os.environ["PADDLE_TRAINER_ID"], "w").write(str(os.getpid()))
while len([name for name in os.listdir(os.path.dirname(sys.argv[1])) if name.startswith("pid")]) < 2:
    time.sleep(0.05)
sys.exit(3) if os.environ["PADDLE_TRAINER_ID"] == "1" else time.sleep(600)
"""


def test_a_node_that_dies_fails_the_step_and_leaves_no_process(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "OUTPUT", tmp_path / "output")
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    session = Session("tsn", "fleet_lite_train_lite_infer", timeout_s=120)
    (tmp_path / "dying.py").write_text(DYING)
    (tmp_path / "pids").mkdir()
    argv = [
        sys.executable, "-m", "test_tipc.fleet", "--log_dir", str(tmp_path / "logs"), "--", str(tmp_path / "dying.py"),
        str(tmp_path / "pids" / "pid"),
    ]  # fmt: skip
    step = session.run("train, 2 nodes", argv, session.folder / "train.log")
    assert re.fullmatch(r"exit code 1: error: node [01] of 2 ended with exit code \d+", step.reason)
    assert session.finish() == 1
    pids = [int(path.read_text()) for path in (tmp_path / "pids").iterdir()]
    assert len(pids) == 2
    assert not any(map(alive, pids))
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in read(path)]


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
