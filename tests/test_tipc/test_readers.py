"""TIPC's public readers make of our logs what they say; the whole chains are in test_chains.py."""

import pytest

from engine.log import EpochMeter, Speed
from test_tipc import session as module
from test_tipc.session import Session
from tests.test_tipc.public_readers import benchmark, extracted_losses, has_succeeded, report, status_lines


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "OUTPUT", tmp_path)
    session = Session("mvf", "whole_infer", timeout_s=30)
    yield session
    session._lock.close()


def test_every_step_is_a_row_of_the_report(session):
    session.run("train", ["true", "train.py"], session.folder / "train.log")
    session.run("export", ["false", "-m", "deploy.export"], session.folder / "export.log")
    session.judge("the first losses are equal", dict)
    session.skip("amp", "needs a GPU")
    lines = status_lines(session.folder)
    assert report(lines) == [
        ("success", "mvf", "train"), ("failed", "mvf", "inference"), ("success", "mvf", "inference"),
    ]  # fmt: skip
    assert all(len(line.split(" - ")) == 4 for line in lines)
    assert not has_succeeded(lines)
    assert has_succeeded(lines[:1])
    session.finish()


def train_log(losses):
    meter, lines = EpochMeter(), []
    for step, loss in enumerate(losses, start=1):
        meter.data_arrived()
        meter.batch_done(loss, hits=0, samples=1)
        lines.append(meter.train_line(1, 1, step, step, 0.1, batches_left=0))
    speed = Speed(len(losses))
    speed.batch_done(8)
    return "\n".join([*lines, "[EVAL] epoch=1", speed.line()])


def test_losses_are_extracted():
    assert extracted_losses(train_log([2.0, 1.0, 3.0])) == [2.0, 1.5, 2.0]


def test_the_benchmark_finds_speed_and_loss():
    speed, loss = benchmark(train_log([2.0] * 8))
    assert speed > 0
    assert float(loss) == 2.0
    assert benchmark(train_log([2.0] * 5)) == (0.0, "2.000000"), "the line of the mean is none of a step"


@pytest.mark.parametrize(
    "line",
    [
        "[TRAIN] epoch=1, batch_id=1, loss=2.0, lr=0.1,acc=0.5, avg_ips: 3.1 images/sec",  # of PaddleMVF, as ours was
        "epoch: [1/2], batch_id: 1, loss: 2.0, avg_ips: 3.1 images/sec",  # of the guide
    ],
)
def test_the_rules_refuse_other_forms(line):
    assert not extracted_losses(line)
    assert benchmark(line, skip_steps=0)[0] == 0.0
    with pytest.raises(ValueError, match="not enough values"):
        report(["Run successfully with command - python train.py!"])
