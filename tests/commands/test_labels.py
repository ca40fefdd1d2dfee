"""predict.py on many files and long films: tables, pages, subtitles; broken files; interruptions; several processes."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from datasets.decode import open_source
from datasets.demo import CLASS_NAMES
from deploy.frames import Frame
from deploy.timeline import command as labels
from deploy.timeline.journal import Journal
from deploy.timeline.scoring import Scored
from engine.pretrained import load_pretrained
from runtime.errors import UserError
from runtime.owned import ForeignError
from tasks.view_scores import softmax
from tests.deploy.timeline.colors import write_film

QUICK = ("--views", "quick", "--threads", "1", "--engine", "dygraph")


@pytest.fixture(scope="module")
def checkpoint(make_checkpoint):
    return make_checkpoint("demo_tsm", CLASS_NAMES)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_film(tmp_path_factory.mktemp("film") / "film.mp4", [("red", 30), ("blue", 33)])


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_folder_becomes_a_table_and_broken_files_are_named(command, checkpoint, motion_videos, tmp_path, monkeypatch):
    shutil.copytree(motion_videos / "val" / CLASS_NAMES[0], tmp_path / "videos")
    (tmp_path / "videos" / "broken.mp4").write_text("no video")
    flags = ("--video", tmp_path / "videos", "--pretrained", checkpoint, *QUICK)
    said, say = [], labels.command.say
    monkeypatch.setattr(
        labels.command, "say", lambda *lines, error=False: said.extend(lines) or say(*lines, error=error)
    )
    code, out = command("predict.py", *flags, "--output", tmp_path / "one.csv")
    assert code == "error: 1 of 3 videos could not be read: they are named above"
    assert any(line.startswith(f"error: {tmp_path}/videos/broken.mp4 is no readable video") for line in said)
    rows = rows_of(tmp_path / "one.csv")
    assert [Path(row["source"]).name for row in rows] == ["scene_0000.mp4", "scene_0001.mp4"]
    assert all(0 < float(row["end"]) < 10 for row in rows)
    _, out = command("predict.py", *flags)
    assert [line.split("class:")[1].split(" prob")[0] for line in out.splitlines() if "Top1" in line] == [
        row["label1"] for row in rows
    ]
    code, _ = command("predict.py", *flags, "--output", tmp_path / "two.csv", "--processes", 2)
    assert code == "error: 1 of 3 videos could not be read: they are named above"
    for one, two in zip(rows, rows_of(tmp_path / "two.csv"), strict=True):  # which computed with other threads
        assert [two["source"], two["label1"]] == [one["source"], one["label1"]]
        assert float(two["probability1"]) == pytest.approx(float(one["probability1"]), abs=1e-4)
    code, _ = command("predict.py", *flags, "--output", tmp_path / "two.csv")
    assert "exists: remove it" in str(code)
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == [
        "one.csv",
        "two.csv",
        "videos",
    ]


def test_each_film_gets_its_subtitles(command, checkpoint, film, tmp_path):
    for name in "ab":
        shutil.copy(film, tmp_path / f"{name}.mp4")
    flags = ("--video", tmp_path / "*.mp4", "--pretrained", checkpoint, *QUICK, "--window", 2, "--stride", 1)
    assert command("predict.py", *flags, "--output", tmp_path / "{name}.srt")[0] == 0
    assert (tmp_path / "a.srt").read_bytes() == (tmp_path / "b.srt").read_bytes()
    assert (tmp_path / "a.srt").read_text().startswith("1\n00:00:00,000 --> ")
    (tmp_path / "list.txt").write_text("a.mp4 3\n\nb.mp4 7\n")
    code, out = command("predict.py", "--video", tmp_path / "list.txt", *flags[2:])
    assert code == 0
    assert [line for line in out.splitlines() if line.endswith(".mp4")] == [
        str(tmp_path / "a.mp4"),
        str(tmp_path / "b.mp4"),
    ]


@pytest.mark.parametrize("after", [1, 4])
def test_a_film_that_was_interrupted_goes_on(command, checkpoint, film, tmp_path, monkeypatch, after):
    flags = ("--video", film, "--pretrained", checkpoint, *QUICK, "--window", 1.6, "--stride", 0.5)
    assert command("predict.py", *flags, "--output", tmp_path / "whole.json")[0] == 0
    count = len(json.loads((tmp_path / "whole.json").read_text())[0]["windows"])
    add, kept = Journal.add, []

    def interrupted(self, number, found):
        if len(kept) == after:
            raise KeyboardInterrupt
        kept.append(found)
        add(self, number, found)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", interrupted)
        assert command("predict.py", *flags, "--output", tmp_path / "parts.json")[0] != 0
    assert not (tmp_path / "parts.json").exists()
    with (tmp_path / "parts.json.part").open("a") as file:
        file.write("[0, 3.0, 4.")  # a line that a kill has cut
    again = []
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", lambda self, number, found: again.append(found) or add(self, number, found))
        assert command("predict.py", *flags, "--output", tmp_path / "parts.json")[0] == 0
    assert (len(kept), len(again)) == (after, count - after)
    assert (tmp_path / "parts.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert not (tmp_path / "parts.json.part").exists()


def test_a_journal_of_something_else_is_begun_anew_and_a_foreign_file_is_kept(tmp_path):
    one = Scored(0.0, float("nan"), np.array([0.1, 0.9], np.float32))
    journal = Journal(tmp_path / "a.csv", {"weights": "one"})
    journal.add(0, one)
    journal.finish(0)
    again = Journal(tmp_path / "a.csv", {"weights": "one"})
    assert again.done == {0}
    np.testing.assert_array_equal(again.known[0][0].scores, one.scores)
    assert np.isnan(again.known[0][0].end)
    assert not Journal(tmp_path / "a.csv", {"weights": "two"}).known
    (tmp_path / "b.csv.part").write_text("mine")
    with pytest.raises(ForeignError):
        Journal(tmp_path / "b.csv", {})
    Journal(tmp_path / "c.csv", {})
    with (tmp_path / "c.csv.part").open("a") as file:
        file.write("[0, 1]\n")
    with pytest.raises(UserError, match="is damaged: remove it"):
        Journal(tmp_path / "c.csv", {})


def test_a_predictor_is_what_the_command_is(command, checkpoint, film, motion_videos, tmp_path):
    from predict import Predictor

    video = str(next((motion_videos / "val").rglob("*.mp4")))
    predictor = Predictor(str(checkpoint), views="quick", threads=1, engine="dygraph")
    found = predictor(video)
    assert (
        command("predict.py", "--video", video, "--pretrained", checkpoint, *QUICK, "--output", tmp_path / "a.csv")[0]
        == 0
    )
    (row,) = rows_of(tmp_path / "a.csv")
    assert [(name, f"{share:.6f}") for name, share in found.top(2)] == [
        (row[f"label{rank}"], row[f"probability{rank}"]) for rank in (1, 2)
    ]
    assert found.top(1)[0].name in found._repr_html_()
    over_time = predictor(str(film), window=2.0, stride=1.0)
    assert len(over_time.windows) == 6
    assert f"{over_time.segments()[0].end:.1f} s" in over_time._repr_html_()
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(UserError, match="no readable video"):
        predictor(str(tmp_path / "a.mp4"))


def test_features_of_windows_are_what_the_classifier_sees(command, checkpoint, film, tmp_path):
    flags = ("--video", film, "--pretrained", checkpoint, *QUICK, "--window", 2, "--stride", 1)
    assert command("predict.py", *flags, "--features", tmp_path / "a.npz", "--output", tmp_path / "a.json")[0] == 0
    with np.load(tmp_path / "a.npz") as found:
        assert found["features"].shape == (6, 128)
        assert found["classes"].tolist() == list(CLASS_NAMES)
        features, scores, starts = found["features"], found["scores"], found["start"]
    windows = json.loads((tmp_path / "a.json").read_text())[0]["windows"]
    assert [window["start"] for window in windows] == starts.tolist()
    assert [window["top"][0]["probability"] for window in windows] == pytest.approx(scores.max(axis=1), abs=1e-6)
    model = load_pretrained(str(checkpoint)).model
    logits = features @ model.cls_head.new_fc.weight.numpy() + model.cls_head.new_fc.bias.numpy()
    np.testing.assert_allclose(softmax(logits), scores, atol=1e-5)  # the classifier is linear
    parquet = pytest.importorskip("pyarrow.parquet")
    assert command("predict.py", *flags, "--features", tmp_path / "a.parquet")[0] == 0
    table = parquet.read_table(tmp_path / "a.parquet")
    np.testing.assert_allclose(np.array(table.column("features").to_pylist()), features, rtol=1e-6)
    code, _ = command("predict.py", *flags, "--features", tmp_path / "a.csv")
    assert "--features" in str(code)
    assert "must end with one of .npz, .parquet" in str(code)


def test_a_camera_stands_alone(command, checkpoint, film):
    flags = ("--pretrained", checkpoint, *QUICK)
    code, _ = command("predict.py", "--video", "0", film, *flags)
    assert "a camera or an address stands alone" in str(code)
    code, _ = command("predict.py", "--video", "0", *flags, "--processes", 2)
    assert "--processes 2 share files" in str(code)
    code, _ = command("predict.py", "--video", "rtsp://127.0.0.1/a", *flags)
    assert "--allow_network lets this program connect" in str(code)


def test_a_camera_is_watched_and_its_labels_are_kept(command, checkpoint, film, tmp_path, monkeypatch):
    """A film stands for the camera, a frame each tenth of a second."""

    class Camera:
        def __init__(self, name):
            assert name == "7"

        def __iter__(self):
            with open_source(str(film)) as source:
                for number, image in source.frames(range(source.num_frames)):
                    yield Frame(image, number, 0.0, seconds=number / 10)

        def close(self):
            pass

    monkeypatch.setattr("deploy.frames.LiveFrames", Camera)
    flags = ("--video", "7", "--pretrained", checkpoint, *QUICK, "--seconds", 5, "--output", tmp_path / "a.jsonl")
    code, out = command("predict.py", *flags)
    assert code == 0
    times = [float(line.split()[0]) for line in out.splitlines() if " s  " in line]
    assert times == [2.0, 3.0, 4.0, 5.0]
    kept = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [one["end"] for one in kept] == times
    code, _ = command("predict.py", *flags[:-1], tmp_path / "a.mp4")
    assert "a film of a camera is not kept" in str(code)
