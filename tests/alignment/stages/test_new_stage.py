"""A stage is one file and one entry: it runs in its place, stands in the report, and can fail."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
import torch

from alignment.reports.files import read_report, write_report
from alignment.sides.pair import Pair
from alignment.sides.state import read_weights, write_weights
from alignment.stages import STAGES, Entry
from alignment.suite import align_pair


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """The file and the entry of the stage `toy`."""
    spec = importlib.util.spec_from_file_location("alignment.stages.toy", Path(__file__).with_name("toy.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "alignment.stages.toy", module)
    monkeypatch.setitem(STAGES, "toy", Entry())


def pair(shift=0.0):
    theirs, ours = torch.nn.Linear(4, 3), paddle.nn.Linear(4, 3)
    write_weights(ours, read_weights(theirs))
    ours.bias.set_value(ours.bias + shift)
    inputs = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    return Pair(theirs, ours, (inputs,), np.zeros(2, np.int64), carry=False, title="two layers")


def test_it_runs_and_stands_in_the_report(tmp_path):
    report = align_pair(pair())
    assert "toy" in [stage.name for stage in report.stages]
    assert report.passed
    assert "toy" in report.text()
    write_report(report, tmp_path)
    (stage,) = [stage for stage in read_report(tmp_path).stages if stage.name == "toy"]
    assert [record.name for record in stage.records] == ["mean of the logits"]


def test_it_may_be_asked_for_alone_and_fails():
    report = align_pair(pair(shift=0.5), steps=["weights", "toy"])
    assert not report.passed
    assert report.stages[-1].sentence == "The means of the logits differ."
