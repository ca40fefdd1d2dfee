"""The benchmark of choices and exchanges runs, and its table says what it measured."""

import re

import pytest

from tools import bench_scaling


@pytest.mark.whole
def test_the_benchmark_runs(trained, capsys, monkeypatch):
    monkeypatch.setattr(bench_scaling, "BLOCKS", 4)
    bench_scaling.main(["--scaling", str(trained), "--rounds", "3", "--threads", "1"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert [row.split("|")[1].strip().split(",")[0].partition(" exchanged")[0] for row in rows] == [
        "a budget", "a budget", "one block of tsm_tiny", "one block",
    ]  # fmt: skip
    for row in rows:
        median, largest = (float(cell) for cell in re.findall(r"\| ([\d.]+)(?= \|)", row)[-2:])
        assert 0 < median <= largest
    assert "a budget, tsm_tiny, 8 blocks" in rows[0]
    assert "4 blocks x 5" in rows[1]
