"""The benchmark of whole commands: what it computes from two times, and that its programs run."""

import importlib.util
import math
import sys
from pathlib import Path

import pytest

from configs.presets import get_preset
from runtime.errors import UserError
from tools import bench_machine
from tools.bench_machine import WORKS, Setup, Times


def test_rate_start_and_cores_come_from_the_difference():
    """5 s of start and 2 videos a second, of which each takes 0.75 s of CPU time; the slower turn does not count."""
    times = Times(wall={8: [9.0, 9.5], 16: [13.0]}, cpu={8: [11.0], 16: [17.0]})
    assert times.rate() == pytest.approx(2)
    assert times.start() == pytest.approx(5)
    assert times.cores() == pytest.approx(1.5)
    lines = bench_machine.table("test, videos", {"ours": times, "theirs": Times({8: [10.0], 16: [18.0]}, times.cpu)})
    assert "| 2.00 | ours | 2.00 | 5.0 | 1.50 |" in lines
    assert "| 1.00 | theirs | 1.00 | 2.0 | 0.75 |" in lines


def test_more_videos_in_less_time_are_no_rate():
    assert math.isnan(Times(wall={8: [9.0], 16: [8.0]}, cpu={8: [9.0], 16: [8.0]}).rate())


def test_a_program_that_fails_is_named():
    with pytest.raises(UserError, match=r"-c raise SystemExit\('no way'\) ended with 1: no way"):
        bench_machine._run([sys.executable, "-c", "raise SystemExit('no way')"])


@pytest.mark.whole
def test_every_program_runs(tmp_path):
    recipe = get_preset("demo_tsm").with_(
        num_classes=bench_machine.CLASSES, sampling="dense", test_clips=2, short_side=40, crop_size=32, test_size=32
    )
    setup = Setup(tmp_path, "demo_tsm", recipe, batch=2, threads=1)
    bench_machine.prepare(setup, [2])
    done = []
    for name, work in WORKS.items():
        for program in work.programs:
            argv = program.argv(setup, 2)
            if argv and (name, program.label) not in done:
                wall, cpu = bench_machine._run(argv)
                assert min(wall, cpu) > 0
                done.append((name, program.label))
    assert len(done) == 8  # without mmaction2, which has no such network, and processes, of one core


def test_networks_have_their_configuration_in_mmaction2():
    spec = importlib.util.find_spec("mmaction")
    if spec is None:
        pytest.skip("mmaction2 is not installed")
    configs = Path(spec.origin).parent / ".mim/configs/recognition"
    for config in bench_machine.CONFIGS.values():
        assert (configs / config).is_file(), config
