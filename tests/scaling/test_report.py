"""The network that block scaling is held against, and the page that shows both."""

import re
import shutil
from dataclasses import replace

import numpy as np
import paddle
import pytest

from engine.evaluation import evaluate
from models.temporal_module import find_layer
from runtime.errors import UserError
from scaling import report
from scaling.compose import size_bytes
from scaling.derive import derive
from scaling.front import Selector, read_measurements
from scaling.uniform import fine_tune, pruned, read_uniform, tuned
from tests.runtime.test_html_page import parsed


def test_a_pruned_network_has_every_block_cut_alike(original, clip):
    model = pruned(original, 0.5)
    for block in original.blocks:
        cut = derive(find_layer(original.model, block.path), block.groups, 0.5, original.job.multiple)
        for name, tensor in find_layer(model, block.path).state_dict().items():
            np.testing.assert_array_equal(tensor.numpy(), cut.state_dict()[name].numpy())
    assert model(clip).shape == original.model(clip).shape


def test_it_is_fine_tuned_and_written_down(trained, original):
    (found,) = read_uniform(trained)
    assert (found["sparsity"], found["epochs"]) == (0.5, 1)
    model = tuned(original, trained, 0.5)
    assert found["size_bytes"] == size_bytes(model)
    again = evaluate(model, original.validation, original.task).summary()
    assert found["metrics"] == pytest.approx(again, abs=1e-6)
    moved = [
        float((tensor - other).abs().max())
        for tensor, other in zip(model.parameters(), pruned(original, 0.5).parameters(), strict=True)
    ]
    assert max(moved) > 0  # it has learned


def test_a_run_that_is_done_is_not_done_again(job, trained, monkeypatch):
    before = read_uniform(trained)
    monkeypatch.setattr("engine.trainer.Trainer._train_batch", lambda *_: pytest.fail("nothing is left to train"))
    assert fine_tune(job, trained, 0.5, 1) == before[0]


def test_what_cannot_be_fine_tuned_is_said(job, trained):
    with pytest.raises(UserError, match="a sparsity of 0 is the original"):
        fine_tune(job, trained, 0.0, 1)
    with pytest.raises(UserError, match="holds a run of another recipe: remove it"):
        fine_tune(job, trained, 0.5, 2)
    with pytest.raises(UserError, match=r"a sparsity must be from 0 to below 1, got 1\.5"):
        fine_tune(replace(job), trained, 1.5, 1)


def test_the_page_shows_every_network_and_asks_for_nothing(trained, piped):
    page = (trained / report.FILE).read_text()
    assert f"report   {trained / report.FILE}" in piped[1].splitlines()
    seen = parsed(page)
    points = read_measurements(trained)["points"]
    cells = [data for data in seen.data if data.strip()]
    assert "the original" in cells
    assert "all blocks at 0.5" in cells
    assert "all at 0.5, fine-tuned 1 epochs" in cells
    marks = report.marks_of(trained, Selector(trained), read_measurements(trained))
    assert len(marks) == len(points) + 1
    for mark in marks:
        assert f"{mark.accuracy:.4f}" in cells
        assert mark.error == pytest.approx(np.sqrt(mark.accuracy * (1 - mark.accuracy) / 16))
    assert sum(tag == "svg" for tag, _ in seen.tags) == 1
    assert not any(re.match("https?:", str(value)) for tag, attrs in seen.tags for key, value in attrs.items()
                   if key in ("src", "href", "xlink:href"))  # fmt: skip
    assert paddle.__version__ not in page  # the same job gives the same page


def test_a_page_of_a_job_that_is_not_measured_is_refused(trained, tmp_path):
    folder = tmp_path / "job"
    folder.mkdir()
    shutil.copy(trained / "scaling.json", folder)
    with pytest.raises(UserError, match=r"no profile\.json in"):
        report.write(folder)


def test_standard_errors_are_those_of_shares():
    assert report.standard_error(0.5, 100) == pytest.approx(0.05)
    assert report.standard_error(1.0, 100) == 0
    assert report.standard_error(1.02, 100) == 0  # which other metrics may give
