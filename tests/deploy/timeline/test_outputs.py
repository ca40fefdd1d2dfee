"""Files of labels are what others read: subtitles by FFmpeg, Parquet by Arrow, a page, a film with its sound."""

import csv
import io
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from datasets.decode import open_source
from deploy.timeline import movie
from deploy.timeline.labeler import Source
from deploy.timeline.labels import Prediction
from deploy.timeline.outputs import WRITERS, check_new, kind_of, targets_of
from deploy.timeline.scoring import Scored
from runtime.errors import UserError
from tests.deploy.timeline.colors import write_film

NAMES = ["a <b> & c", "走\nrun", "x,y"]


def scores(*values):
    return np.array(values, np.float32)


ONE = Prediction("my film.mp4", NAMES, [
    Scored(0.0, 2.0, scores(0.7, 0.2, 0.1)), Scored(2.0, 4.0, scores(0.6, 0.3, 0.1)),
    Scored(4.0, 3661.5, scores(0.1, 0.8, 0.1)),
])  # fmt: skip
WHOLE = Prediction("short.mp4", NAMES, [Scored(0.0, float("nan"), scores(0.1, 0.2, 0.7))])


def test_a_table_has_a_row_for_each_window():
    rows = list(csv.DictReader(io.StringIO(WRITERS[".csv"].write([ONE, WHOLE], 2).decode())))
    assert [row["source"] for row in rows] == ["my film.mp4"] * 3 + ["short.mp4"]
    assert [(row["start"], row["end"]) for row in rows] == [
        ("0.00", "2.00"),
        ("2.00", "4.00"),
        ("4.00", "3661.50"),
        ("0.00", ""),
    ]
    assert [row["label1"] for row in rows] == ["a <b> & c", "a <b> & c", "走\nrun", "x,y"]
    assert [float(row["probability2"]) for row in rows] == pytest.approx([0.2, 0.3, 0.1, 0.2])


def test_json_has_windows_and_parts():
    one, whole = json.loads(WRITERS[".json"].write([ONE, WHOLE], 1))
    assert [part["label"] for part in one["segments"]] == ["a <b> & c", "走\nrun"]
    assert one["segments"][0]["probability"] == pytest.approx(0.65)
    assert whole["windows"] == [{"start": 0.0, "end": None, "top": [{"label": "x,y", "probability": 0.7}]}]
    lines = [json.loads(line) for line in WRITERS[".jsonl"].write([ONE, WHOLE], 3).decode().splitlines()]
    assert [(line["source"], line["end"], len(line["top"])) for line in lines][2:] == [
        ("my film.mp4", 3661.5, 3),
        ("short.mp4", None, 3),
    ]


@pytest.mark.parametrize("suffix", [".srt", ".vtt"])
def test_subtitles_are_read_by_ffmpeg(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(WRITERS[suffix].write([ONE], 1))
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
    times = [(float(p.pts * p.time_base), float(p.duration * p.time_base)) for p in packets]
    assert times == [(0.0, 4.0), (4.0, 3657.5)]
    shown = [bytes(packet).decode() for packet in packets]
    assert shown == (["a <b> & c 65%", "走 run 80%"] if suffix == ".srt" else ["a &lt;b&gt; &amp; c 65%", "走 run 80%"])


def test_arrow_reads_what_arrow_wrote(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "a.parquet").write_bytes(WRITERS[".parquet"].write([ONE, WHOLE], 5))
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.column("label").to_pylist() == ["a <b> & c", "a <b> & c", "走\nrun", "x,y"]
    np.testing.assert_array_equal(table.column("probabilities").to_pylist()[3], WHOLE.windows[0].scores)
    assert json.loads(table.schema.metadata[b"classes"]) == NAMES


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs pyarrow: pip install pyarrow"):
        kind_of(Path("a.parquet"))


def test_a_page_shows_names_as_they_are():
    page = WRITERS[".html"].write([ONE, WHOLE], 3).decode()
    assert "<b>" not in page
    assert "a &lt;b&gt; &amp; c, 65.0%" in page
    assert "<script" not in page
    assert page.count("<title>") >= 3  # of the page, and of the two parts


def test_a_film_has_its_labels_drawn_on_it_and_its_sound(tmp_path):
    source = write_film(tmp_path / "film.mp4", [("red", 40)], size=(120, 160))
    with_sound(source, tmp_path / "sound.mp4")
    found = Prediction(
        "film", ["quiet", "loud"], [Scored(0.0, 2.0, scores(0.9, 0.1)), Scored(2.0, 4.0, scores(0.2, 0.8))]
    )
    sounds = movie.write(found, Source(str(tmp_path / "sound.mp4")), tmp_path / "out.mp4", bar)
    with open_source(str(tmp_path / "out.mp4")) as drawn, open_source(str(source)) as own:
        assert drawn.num_frames == own.num_frames == 40
        off = np.abs(drawn.read(range(40)).astype(int) - own.read(range(40))).max(axis=3)  # [40, 120, 160]
    assert (off[:, 60:110, 120:].max(), off[:, :30, :60].max() > 50, off[:, 117:].max() > 50) == (
        pytest.approx(0, abs=30),
        True,
        True,
    )
    assert np.abs(off[30, :30, :80] - off[5, :30, :80]).max() > 50  # another label
    with av.open(str(tmp_path / "out.mp4")) as result, av.open(str(tmp_path / "sound.mp4")) as before:
        packets = [[bytes(p) for p in one.demux(one.streams.audio[0]) if p.size] for one in (result, before)]
    assert packets[0] == packets[1]
    assert sounds == len(packets[0]) > 10
    with pytest.raises(UserError, match=r"cannot write .*out\.mp4: File exists"):
        movie.write(found, Source(str(source)), tmp_path / "out.mp4", bar)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "out.mp4", "sound.mp4"]


class bar:  # noqa: N801  it stands for a function
    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self):
        pass


def with_sound(video, path):
    """The video with four seconds of a tone."""
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copied = target.add_stream_from_template(stream)
        tone = target.add_stream("aac", rate=16000, layout="mono")
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copied
                target.mux(packet)
        wave = (0.3 * np.sin(2 * np.pi * 440 * np.arange(64_000) / 16_000)).astype(np.float32)
        for start in range(0, len(wave), 1024):
            part = wave[start : start + 1024]
            frame = av.AudioFrame.from_ndarray(part[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
            target.mux(tone.encode(frame))
        target.mux(tone.encode(None))


def test_outputs_are_planned_before_anything_is_computed(tmp_path):
    paths = ["in/a.mp4", "in/b.mp4"]
    assert targets_of(f"{tmp_path}/x.csv", paths) == {tmp_path / "x.csv": [0, 1]}
    assert targets_of(f"{tmp_path}/{{name}}.srt", paths) == {tmp_path / "a.srt": [0], tmp_path / "b.srt": [1]}
    (tmp_path / "there.csv").touch()
    for output, files, message in (
        ("x.srt", paths, r"is of one video, and there are 2: take .*\{name\}.srt"),
        ("x.mp4", paths, "is of one video"),
        ("x.doc", paths, "must end with one of .csv, .json"),
        ("{name}.srt", ["in/a.mp4", "on/a.avi"], "in/a.mp4 and on/a.avi have the same name"),
    ):
        with pytest.raises(UserError, match=message):
            targets_of(f"{tmp_path}/{output}", files)
    there = [tmp_path / "new.csv", tmp_path / "there.csv"]
    with pytest.raises(UserError, match=r"there\.csv exists: remove it"):
        check_new(there, there[0])
    (tmp_path / "new.csv.part").touch()  # of a run that was interrupted
    check_new(there, there[0])


def test_subtitles_need_to_know_how_long_a_video_is():
    with pytest.raises(UserError, match=r"nobody says how long short\.mp4 is: --source_fps does"):
        WRITERS[".srt"].write([WHOLE], 1)
