"""The rate at which a loss falls fastest: on curves whose answer is known, and on a training."""

import math
import re

import numpy as np
import pytest

from runtime.errors import UserError
from tests.commands.small_runs import SMALL
from tools import find_lr
from tools.find_lr import Sweep

RATES = [10.0**exponent for exponent in np.linspace(-5, 1, 200)]


def curve_of(loss, noise=0.01):
    """What a sweep keeps of a loss over the rate."""
    sweep, rng = Sweep(RATES), np.random.default_rng(0)
    for rate in RATES:
        if not sweep.batch(loss(rate) + noise * rng.standard_normal()):
            break
    return sweep.curve


def falling(rate):
    """Falls around 1e-2 like a logistic curve, and explodes above 1."""
    return 2 - 1.5 / (1 + (1e-2 / rate) ** 2) + rate**4


def test_the_steepest_and_the_best_place_are_found():
    curve = curve_of(falling)
    assert math.log10(curve.steepest) == pytest.approx(-2, abs=0.4)  # smoothing looks back ten batches
    assert -1.5 < math.log10(curve.best) < 0
    assert curve.losses[-1] > find_lr.ENDS_AT * min(curve.losses)  # where it ended, long before the last rate
    assert len(curve.losses) < len(RATES)


def test_smoothing_has_no_bias_towards_zero():
    assert curve_of(lambda rate: 2.0, noise=0).losses == pytest.approx([2.0] * len(RATES))


@pytest.mark.parametrize("loss", [lambda rate: 2.0, lambda rate: 2.0 + rate, lambda rate: 2.0 - 1e-3 * rate])
def test_what_chance_does_is_no_answer(loss):
    with pytest.raises(UserError, match="says nothing"):
        curve_of(loss, noise=0.1).steepest  # noqa: B018


@pytest.mark.whole
def test_a_training_says_its_rate_and_leaves_a_picture_alone(motion_videos, in_this_process, tmp_path):
    output = tmp_path / "lr.png"
    flags = [
        "--dataset_root",
        motion_videos,
        *SMALL,
        "--num_workers",
        0,
        "--batches",
        60,
        "--lowest",
        3e-3,
        "--highest",
        0.5,
        "--batch_size",
        8,
        "--base_batch_size",
        16,
        "--scale_lr",
        "--output",
        output,
    ]
    code, said = in_this_process(find_lr.main, *flags)
    assert code == 0, said
    assert output.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["lr.png"]
    best = float(re.search(r"is smallest at (\S+),", said)[1])
    flag, found = re.search(r"--lr (\S+) \(which is (\S+) for this batch\)", said).groups()
    assert float(found) == pytest.approx(best / 10, rel=0.06)
    assert float(flag) == pytest.approx(2 * best / 10, rel=0.06)  # which --scale_lr halves for half the batch
    assert "[TRAIN]" not in said


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--lowest", 1, "--highest", 0.1], "--lowest must be above 0 and below --highest"),
        (["--lowest", 0], "--lowest must be above 0"),
        (["--batches", 5], "--batches must be 10 at least"),
        (["--lowest", 1e8, "--highest", 1e9], "the loss explodes within"),
    ],
)
def test_flags_that_find_nothing_are_refused(flags, message, motion_videos, in_this_process, tmp_path):
    more = ["--dataset_root", motion_videos, *SMALL, "--num_workers", 0, "--output", tmp_path / "lr.png"]
    code, _ = in_this_process(find_lr.main, *more, *flags)
    assert message in str(code)
