"""The official review's pair of files for data: equal for our pipeline, and for no wrong one."""

from dataclasses import replace

import numpy as np
import pytest

from alignment import command
from alignment.certification import certify
from alignment.certification.data import official
from alignment.certification.data.pipeline import ours, reference
from alignment.reports.reprod_log import diff, write_official
from alignment.sides.pair import Sides
from alignment.verdicts.record import Stage

reprod_log = pytest.importorskip("reprod_log", reason="reprod_log is not installed")
OURS = ours()


@pytest.fixture(scope="module")
def arrays():
    return official.official_data()


def test_ours_passes_and_the_official_helper_says_so(arrays, tmp_path):
    assert write_official(arrays, tmp_path) == {"data": True}
    assert "diff check passed" in (tmp_path / "log/data_diff.log").read_text()
    helper = reprod_log.ReprodDiffHelper()
    paddle, ref = (helper.load_info(str(tmp_path / f"data_{side}.npy")) for side in ("paddle", "ref"))
    assert paddle.keys() == ref.keys()
    assert paddle["length"] == 8
    assert paddle["labels"].tolist() == list(range(8))
    assert paddle["sample_4/test"].shape == (6, 4, 3, 48, 48)


def test_what_is_compared_depends_on_every_draw(arrays):
    clips = [arrays[f"data/sample_{i}/train"].candidate for i in range(official.SAMPLES)]
    assert all(not np.array_equal(clips[0], clip) for clip in clips[1:])
    labels = [int(arrays[f"data/sample_{i}/train_label"].candidate) for i in range(official.SAMPLES)]
    assert labels != list(range(official.SAMPLES)), "no clip was mirrored, so the exchange of labels is not seen"
    assert (
        arrays["data/sample_0/train_indices"].candidate.tolist()
        != arrays["data/sample_0/val_indices"].candidate[0].tolist()
    )


SLIPS = {
    "BGR": {"eval_clip": lambda *a: OURS.eval_clip(*a)[:, :, ::-1]},
    "one frame late": {"val_indices": lambda *a: OURS.val_indices(*a) + 1},
    "label before the flip": {"train_clip": lambda p, y, r, e: (OURS.train_clip(p, y, r, e)[0], y)},
}


@pytest.mark.parametrize("name", SLIPS)
def test_a_wrong_pipeline_differs(name, tmp_path):
    wrong = official.official_data(Sides(reference(), replace(OURS, **SLIPS[name])))
    assert write_official(wrong, tmp_path) == {"data": False}
    assert "diff check passed" not in (tmp_path / "log/data_diff.log").read_text()
    assert not diff(tmp_path, "data", "data_paddle.npy", "data_ref.npy")


@pytest.mark.parametrize("left_out", [0, 7])
def test_a_video_that_is_not_listed_is_seen(left_out, tmp_path, monkeypatch):
    real = official.load_annotation

    def shortened(*arguments):
        found = real(*arguments)
        return replace(found, entries=found.entries[:left_out] + found.entries[left_out + 1 :])

    monkeypatch.setattr(official, "load_annotation", shortened)
    assert write_official(official.official_data(), tmp_path) == {"data": False}
    assert "length" in (tmp_path / "log/data_diff.log").read_text().splitlines()[-1]


def test_the_command_fails_where_the_pair_differs(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(certify, "compare_data", lambda seed: Stage("data"))  # which has its own tests
    argv = ["--steps", "data", "--model", "tsm_tiny", "--output", str(tmp_path)]
    assert command.compare(argv) == command.PASSED
    real = official._listed
    monkeypatch.setattr(official, "_listed", lambda folder: [(path, (y + 1) % 8) for path, y in real(folder)])
    assert command.compare(argv) == command.DIFFERS
    assert "data/labels" in capsys.readouterr().out
