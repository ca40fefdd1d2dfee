"""The report of a classifier: what stands in it is counted right, safe, and says what cannot be compared."""

import csv
import html
import json
import re
from pathlib import Path

import numpy as np
import pytest

from configs import Recipe
from datasets import VideoDataset, load_annotation
from runtime.errors import UserError
from tasks.accuracy import summarize
from tasks.classification import Classification
from tasks.classification_report import write_report
from tasks.outcome import Outcome
from tasks.past_test import names_of, read_test
from tasks.report_page import Beside

TASK = [Classification()]
NAMES = ["a$_{x$", "行走", "<b>&c"]
SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.2, 0.5, 0.3]])
LABELS = np.array([0, 0, 2, 1])


@pytest.fixture(scope="module")
def dataset(motion_videos):
    """The first four videos."""
    annotation = load_annotation(str(motion_videos), "val")
    entries = annotation.entries[:4]
    return VideoDataset(type(annotation)(entries, tuple(NAMES), annotation.source), Recipe(), "test")


def outcome_of(dataset, scores=SCORES, names=NAMES):
    return Outcome(scores, LABELS, names_of(dataset.annotation), names)


def written(folder, dataset, scores=SCORES, beside=None, names=NAMES):
    outcome = outcome_of(dataset, scores, names)
    write_report(folder, outcome, {"model": "mine", **summarize(scores, LABELS)}, beside or Beside(), dataset)
    return (folder / "report.html").read_text()


def test_what_follows_from_an_outcome_is_counted(dataset):
    outcome = outcome_of(dataset)
    assert outcome.ranks.tolist() == [1, 3, 2, 1]  # of equal scores the higher index comes first
    assert outcome.predicted.tolist() == [0, 2, 1, 1]
    assert outcome.confused(5) == [(0, 2, 1), (2, 1, 1)]
    assert outcome.mistakes(5) == [1, 2]
    assert outcome.mistakes(1) == [1]
    assert outcome.results()[1][1:] == [0, 2, 0.7, 3]
    low, high = outcome.intervals()["top1_acc"]
    assert low < 0.5 < high


def test_every_name_is_shown_and_nothing_is_asked_of_a_network(tmp_path, dataset):
    page = written(tmp_path / "report", dataset)
    assert "<b>&c" not in page
    assert all(html.escape(name) in page for name in NAMES)
    assert "<script" not in page
    places = re.findall(r'(?:src|srcset|href)="([^"]*)"', page) + re.findall(r"url\(([^)]*)\)", page)
    assert all(place.startswith(("data:", "#")) for place in places)
    rows = list(csv.DictReader((tmp_path / "report" / "per_class.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["class"] for row in rows] == NAMES
    assert [row["accuracy"] for row in rows] == ["0.5000", "1.0000", "0.0000"]
    assert [row["most_confused_with"] for row in rows] == ["<b>&c", "", "行走"]
    assert (rows[1]["high"], rows[2]["low"]) == ("1.0000", "0.0000")
    assert (tmp_path / "report" / "confusion_matrix.png").stat().st_size > 1000


def test_the_worst_mistakes_are_shown_first_and_move(tmp_path, dataset):
    page = written(tmp_path / "report", dataset)
    assert page.count("data:image/webp") == 4  # a moving and a still one each
    names = names_of(dataset.annotation)
    shown = re.findall(r'alt="([^"]*)"', page)
    assert shown == [f"{names[1]}: a$_{{x$, taken for &lt;b&gt;&amp;c", f"{names[2]}: &lt;b&gt;&amp;c, taken for 行走"]
    assert "data:image/webp" not in written(tmp_path / "report", dataset, beside=Beside(thumbnails=0))


def test_a_video_that_is_gone_leaves_a_line(tmp_path, motion_videos, dataset):
    lost = [
        type(entry)("gone/a.mp4" if k == 1 else entry.path, 0) for k, entry in enumerate(dataset.annotation.entries)
    ]
    without = VideoDataset(type(dataset.annotation)(tuple(lost), tuple(NAMES), "list"), Recipe(), "test")
    outcome = outcome_of(dataset)
    write_report(tmp_path / "report", outcome, summarize(SCORES, LABELS), Beside(), without)
    page = (tmp_path / "report/report.html").read_text()
    assert "gone/a.mp4" in page
    assert page.count("data:image/webp") == 2


def test_curves_of_the_training_are_drawn(tmp_path, dataset):
    epochs = [{"epoch": n, "loss": 1 / n, "train_acc": 0.1 * n, "top1_acc": 0.2 * n} for n in (1, 2)]
    assert "training loss" in written(tmp_path / "report", dataset, beside=Beside(epochs))
    assert "training loss" not in written(tmp_path / "report", dataset)


def test_two_runs_are_compared_on_the_samples_in_which_they_differ(tmp_path, dataset):
    better = np.eye(3)[LABELS]
    better[3] = [1, 0, 0]
    written(tmp_path / "other", dataset, better)
    other = read_test(str(tmp_path / "other"), TASK).of(names_of(dataset.annotation), NAMES)
    assert (other.dtype, other.tolist()) == (bool, [True, True, True, False])
    page = written(tmp_path / "report", dataset, beside=Beside((), "other/test.json", other))
    assert "other/test.json" in page
    assert "<td>samples that are better here, there</td><td class=n>1, 2</td>" in page
    assert "<td>p</td><td class=n>1</td>" in page


def test_what_cannot_be_compared_is_refused(tmp_path, dataset):
    written(tmp_path / "other", dataset)
    path = tmp_path / "other" / "test.json"
    content = path.read_text()
    record, names = json.loads(content), names_of(dataset.annotation)
    with pytest.raises(UserError, match="is of other classes"):
        read_test(str(path), TASK).of(names, ["a", "b", "c"])
    for change, message in (
        ({"results": record["results"][:3]}, "3 other samples than the 4 here: .* is not among them"),
        ({"results": [*record["results"], ["more.mp4", 0, 0, 1.0, 1]]}, "5 other samples than the 4 here: it has more"),
        ({"results": [["x"]]}, r"damaged: \['x'\] is no result"),
        ({"results": [["x", "label", 1, 0.5]]}, "is no result of a sample"),
        ({"results": []}, "is of no sample"),
        ({"results": 7}, "results must be a list"),
        ({"top1_acc": "all"}, "is the test of another task"),
    ):
        path.write_text(json.dumps({**record, **change}))
        with pytest.raises(UserError, match=message):
            read_test(str(path), TASK).of(names, NAMES)
    del record["results"]
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match="no results of single samples"):
        read_test(str(path), TASK).of(names, NAMES)


def test_names_do_not_depend_on_where_the_data_lies(dataset):
    assert all(not Path(name).is_absolute() for name in names_of(dataset.annotation))
    moved = [type(entry)(f"/elsewhere{entry.path}", 0) for entry in dataset.annotation.entries]
    assert names_of(type(dataset.annotation)(tuple(moved), (), "")) == names_of(dataset.annotation)
    one = type(dataset.annotation)(dataset.annotation.entries[:1], (), "")
    assert names_of(one) == [Path(dataset.annotation.entries[0].path).name]
