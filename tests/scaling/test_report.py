"""The network that block scaling is held against, and the page that shows both."""

import re
import shutil

import numpy as np
import paddle
import pytest

from deploy.engines import open_engine
from engine.evaluation import evaluate
from models.temporal_module import find_layer
from runtime.errors import UserError
from scaling import report
from scaling.__main__ import main
from scaling.compose import size_bytes
from scaling.derive import derive
from scaling.front import Selector, read_measurements
from scaling.tuning import fine_tune, load, read_tuned, start_of
from tests.runtime.test_html_page import parsed


def test_a_pruned_network_has_every_block_cut_alike(original, descendants, clip):
    model = start_of(descendants, (0.5,) * 8, trained=False)
    for block in original.blocks:
        cut = derive(find_layer(original.model, block.path), block.groups, 0.5, original.job.multiple)
        for name, tensor in find_layer(model, block.path).state_dict().items():
            np.testing.assert_array_equal(tensor.numpy(), cut.state_dict()[name].numpy())
    assert model(clip).shape == original.model(clip).shape


def test_it_is_fine_tuned_and_written_down(trained, original, descendants):
    found = read_tuned(trained)[0]
    assert (found["choice"], found["trained"], found["epochs"]) == ([0.5] * 8, False, 1)
    start = start_of(descendants, (0.5,) * 8, trained=False)
    model = start_of(descendants, (0.5,) * 8, trained=False)
    load(model, trained / found["folder"])
    assert found["size_bytes"] == size_bytes(model)
    again = evaluate(model, original.validation, original.task).summary()
    assert found["metrics"] == pytest.approx(again, abs=1e-6)
    pairs = zip(model.parameters(), start.parameters(), strict=True)
    assert max(float((tensor - other).abs().max()) for tensor, other in pairs) > 0  # it has learned


def test_a_run_that_is_done_is_not_done_again(job, trained, monkeypatch):
    before = read_tuned(trained)
    monkeypatch.setattr("engine.trainer.Trainer.fit", lambda *_: pytest.fail("nothing is left to train"))
    assert fine_tune(job, trained, (0.5,), 1, trained=False) == before[0]


def test_what_cannot_be_fine_tuned_is_said(job, trained):
    with pytest.raises(UserError, match=r"no descendant of backbone.layer1.0 at 0.4: there are 0.5"):
        fine_tune(job, trained, (0.4,), 1)
    with pytest.raises(UserError, match=r"a sparsity must be from 0 to below 1, got 1\.5"):
        fine_tune(job, trained, (1.5,), 1, trained=False)
    with pytest.raises(UserError, match="a choice names a sparsity for each of 8 blocks, got 2"):
        fine_tune(job, trained, (0.5, 0.5), 1, trained=False)


def test_a_chosen_network_is_fine_tuned_and_written(trained, original, descendants, tmp_path, capsys):
    flags = ["--output", trained, "--finetune_epochs", "1", "--threads", "1", "--artifact", tmp_path / "out"]
    main(["select", *map(str, flags), "--formats", "paddle"])
    found = read_tuned(trained)[-1]
    assert (found["trained"], found["epochs"]) == (True, 1)
    assert f"fine-tuned 1 epochs: top1_acc {found['metrics']['top1_acc']:.4f}" in capsys.readouterr().out
    model = start_of(descendants, tuple(found["choice"]))
    load(model, trained / found["folder"])
    clips = original.held_out()[0]
    expected = model(paddle.to_tensor(clips)).numpy()
    engine = open_engine("paddle", tmp_path / "out", threads=1)
    np.testing.assert_allclose(engine(clips), expected, rtol=1e-4, atol=1e-4)
    assert f"{found['metrics']['top1_acc']:.4f}" in (trained / report.FILE).read_text()


def test_the_page_shows_every_network_and_asks_for_nothing(trained, piped):
    page = (trained / report.FILE).read_text()
    assert f"report   {trained / report.FILE}" in piped[1].splitlines()
    seen = parsed(page)
    points = read_measurements(trained)["points"]
    cells = [data for data in seen.data if data.strip()]
    assert "the original" in cells
    assert "all blocks at 0.5" in cells
    assert "all blocks at 0.5, cut, then fine-tuned 1 epochs" in cells
    marks = report.marks_of(trained, Selector(trained), read_measurements(trained))
    assert len(marks) == len(points) + len(read_tuned(trained))
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
