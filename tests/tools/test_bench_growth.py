"""The benchmark of growth: what it computes from its measurements, and that its parts run."""

import json

import pytest

from tools import bench_data, bench_growth


def test_the_power_is_that_of_the_law():
    assert bench_growth.exponent([4, 8, 64], [0.5 * size**1.25 for size in (4, 8, 64)]) == pytest.approx(1.25)
    assert bench_growth.exponent([4, 8, 64], [2.0, 2.0, 2.0]) == pytest.approx(0)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("growth") / "clip.mp4"
    bench_data.write_h264(path)
    return path


def test_a_list_is_of_as_many_videos_as_it_says(video):
    few, more = (bench_growth.list_times(video, count, 1) for count in (5, 20))
    assert all(value > 0 for value in few.values())
    assert more["sent_mb"] > few["sent_mb"]
    assert [path.name for path in video.parent.iterdir()] == ["clip.mp4"]


@pytest.mark.whole
def test_it_prints_three_tables_and_writes_them(monkeypatch, tmp_path, capsys):
    def times(model, frames, side, rounds):
        return {"forward": frames * side**2, "step": frames * side}

    monkeypatch.setattr(bench_growth, "compute_times", times)
    monkeypatch.setattr(bench_growth.measure, "start_alike", lambda: None)  # which is for good
    bench_growth.main(["--quick", "--rounds", "1", "--json", str(tmp_path / "growth.json")])
    out = capsys.readouterr().out
    assert "| grows with the power | 1.00 | 1.00 | " in out  # of frames
    assert "| grows with the power | 1.00 | 0.50 | " in out  # of pixels
    report = json.loads((tmp_path / "growth.json").read_text())
    assert set(report["frames"]) == {"2", "4"}
    assert set(report["pixels"]) == {str(32**2), str(64**2)}
    assert set(report["entries"]) == {"50", "100"}
