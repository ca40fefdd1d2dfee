"""The data benchmark: it compares routes that read the same frames, and says so of one that does not."""

import json

import numpy as np
import pytest

from tools import bench_data


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    frames, bench_data.FRAMES = bench_data.FRAMES, 24
    try:
        return bench_data.write_media(tmp_path_factory.mktemp("media"))
    finally:
        bench_data.FRAMES = frames


def test_every_route_reads_the_same_frames(media):
    for path in media:
        times = bench_data.decode_times(path, rounds=1)
        assert times.keys() == bench_data.readers_for(path).keys()
        assert all(ms and ms > 0 for ms in times.values()), times


def test_a_route_that_reads_other_frames_gets_no_figure(media, monkeypatch):
    readers = {"ours": bench_data.read_ours, "good": bench_data.read_av, "also": bench_data.read_cv2}
    late = {**readers, "late": lambda path, indices: bench_data.read_ours(path, np.minimum(indices + 2, 23))}
    monkeypatch.setattr(bench_data, "readers_for", lambda path: late)
    times = bench_data.decode_times(media[0], rounds=1)
    assert times["late"] is None
    assert times["ours"]
    lines = bench_data.tables({"decode": {"h264.mp4": times}, "augment": {}, "loader": {}})
    assert "| late | other frames | - |" in lines


def test_ours_reading_other_frames_is_an_error(media, monkeypatch):
    readers = {"ours": bench_data.read_av, "good": bench_data.read_av, "also": bench_data.read_cv2}
    readers["ours"] = lambda path, indices: bench_data.read_av(path, np.minimum(indices + 2, 23))
    monkeypatch.setattr(bench_data, "readers_for", lambda path: readers)
    with pytest.raises(RuntimeError, match="our decoder reads other frames"):
        bench_data.decode_times(media[0], rounds=1)


def test_the_transform_is_timed_in_both_ways():
    times = bench_data.augment_times(rounds=1)
    assert times.keys() == {"exact", "fused"}
    assert min(times.values()) > 0


def test_the_command_prints_what_it_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench_data, "loader_rates", lambda path, rounds: {"ours, 0 workers": 12.25})
    bench_data.main(["--rounds", "1", "--json", str(tmp_path / "report.json")])
    out = capsys.readouterr().out
    assert "| ours, 0 workers | 12.2 |" in out
    assert out.count("CPU ms per clip | ratio") == 3
    assert set(json.loads((tmp_path / "report.json").read_text())["decode"]) == {"h264.mp4", "mpeg4.avi", "jpeg"}
