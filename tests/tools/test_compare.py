"""Tests side by side, against the first of them."""

import json

import pytest

from runtime.errors import UserError
from tools import compare

CLASSES = ["a", "b"]


def write(folder, predicted, labels=(0, 0, 0, 1, 1, 1), **more):
    """The test.json of a run."""
    confusion = [[0, 0], [0, 0]]
    for label, found in zip(labels, predicted, strict=True):
        confusion[label][found] += 1
    share = sum(label == found for label, found in zip(labels, predicted, strict=True)) / len(labels)
    results = [
        [f"v{k}.mp4", label, found, 0.9, 1] for k, (label, found) in enumerate(zip(labels, predicted, strict=True))
    ]
    record = {
        "model": "tsm_tiny", "view": "1x8x3x32x32", "top1_acc": share, "top5_acc": 1.0, "mean_acc": share,
        "classes": CLASSES, "intervals": {"top1_acc": [0.1, 0.9]}, "confusion": confusion, "results": results,
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "test.json").write_text(json.dumps({**record, **more}))
    return str(folder)


def test_runs_stand_side_by_side(tmp_path, capsys):
    runs = [
        write(tmp_path / "one" / "test", (0, 0, 0, 1, 1, 0)), write(tmp_path / "two" / "test", (1, 0, 0, 0, 0, 1)),
        write(tmp_path / "three" / "test", (0, 0, 0, 1, 1, 1)),
    ]  # fmt: skip
    compare.main([*runs[:2], f"{runs[2]}/test.json", "--output", str(tmp_path / "page.html")])
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:5]]
    assert [line[0] for line in cells] == ["one/test", "two/test", "three/test"]
    assert cells[0][3:6] == ["6", "0.8333", "0.1000 to 0.9000"]
    assert cells[1][6:] == ["-0.3333", "0.3043", "1, 3", "0.625"]
    assert cells[2][6:] == ["+0.1667", "0.1521", "1, 0", "1"]
    page = (tmp_path / "page.html").read_text()
    assert "<td>a</td><td class=n>100.0%</td><td class=n>66.7%</td><td class=n>100.0%</td>" in page
    assert "<td>two/test</td><td class=n>0.625</td><td class=n></td><td class=n>0.25</td>" in page


def test_what_cannot_be_compared_is_refused(tmp_path):
    one = write(tmp_path / "one", (0, 0, 0, 1, 1, 0))
    masks = {"miou": 0.5, "boundary_f": 0.5, "pixel_acc": 0.5, "results": [["a.png", 0.5]]}
    other = write(tmp_path / "masks", (0, 0, 0, 1, 1, 1), top1_acc="none", **masks)
    with pytest.raises(UserError, match="is the test of another task"):
        compare.main([one, other])
    more = write(tmp_path / "more", (0, 0, 0, 1, 1, 1, 1), (0, 0, 0, 1, 1, 1, 1))
    with pytest.raises(UserError, match="other samples"):
        compare.main([one, more])
