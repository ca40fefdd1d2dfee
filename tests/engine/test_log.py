"""Log lines and the file of events."""

import json

import pytest

from engine.log import EpochMeter, RunLog
from weights import CheckpointError


def test_a_resumed_log_forgets_what_the_checkpoint_does_not_know(tmp_path):
    log = RunLog(tmp_path)
    log.event(epoch=1)
    size = log.metrics_size
    log.event(epoch=2)
    log = RunLog(tmp_path, resume_at=size)
    log.event(epoch=2, again=True)
    events = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert events == [{"epoch": 1}, {"epoch": 2, "again": True}]
    with pytest.raises(CheckpointError, match="shorter than the checkpoint knows it"):
        RunLog(tmp_path, resume_at=10_000)


def test_a_full_disk_is_one_clear_error(tmp_path):
    log = RunLog(tmp_path)
    (tmp_path / "train.log").unlink()
    (tmp_path / "train.log").symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match=r"cannot write .*train.log: No space left on device; what was saved"):
        log.line("text")


def test_a_name_that_is_not_utf8_can_be_logged(tmp_path):
    RunLog(tmp_path).line("caf\udce9.mp4")
    assert "caf\\udce9.mp4" in (tmp_path / "train.log").read_text()


def test_the_meter_weighs_batches_by_their_samples():
    meter = EpochMeter()
    meter.data_arrived()
    meter.batch_done(loss=1.0, hits=1, samples=4)
    meter.batch_done(loss=4.0, hits=2, samples=2)
    assert (meter.loss, meter.accuracy) == (2.0, 0.5)
    line = meter.train_line(1, 3, 2, 2, 0.1, batches_left=0)
    assert " loss: 2.000000 lr: 0.100000 acc: 0.500, " in line
    assert "avg_samples: 3," in line
    assert "avg_samples: 0," in meter.train_line(1, 3, 2, 2, 0.1, batches_left=0)  # the window starts anew
