"""The demo's table and its claim, on made-up results; the demo itself is a run of minutes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datasets.demo import CLASS_NAMES, MOTIONS
from tools.demo import claim_holds, direction_accuracy, table

ROOT = Path(__file__).resolve().parents[2]


def confusion(right, reversed_, elsewhere):
    counts = np.zeros((8, 8), int)
    for _, forward, backward in MOTIONS:
        first, second = CLASS_NAMES.index(forward), CLASS_NAMES.index(backward)
        for label, twin in ((first, second), (second, first)):
            counts[label, label], counts[label, twin] = right, reversed_
            other = next(i for i in range(8) if i not in (label, twin))
            counts[label, other] = elsewhere
    return counts


def row(right, reversed_, elsewhere=0):
    counts = confusion(right, reversed_, elsewhere)
    return {"confusion": counts.tolist(), "top1_acc": float(np.trace(counts) / counts.sum()), "train_seconds": 60}


def test_direction_counts_only_a_class_and_its_reverse():
    assert direction_accuracy(confusion(3, 1, 5)) == 0.75
    assert direction_accuracy(confusion(2, 2, 0)) == 0.5


@pytest.mark.parametrize(
    ("mvf", "tsm", "tsn", "holds"),
    [
        (row(19, 1), row(19, 1), row(5, 5, 10), True),
        (row(17, 3), row(19, 1), row(5, 5, 10), False),
        (row(19, 1), row(17, 3), row(5, 5, 10), False),
        (row(19, 1), row(19, 1), row(6, 5, 9), False),
    ],
)
def test_the_claim(mvf, tsm, tsn, holds):
    rows = {"mvf": mvf, "tsm": tsm, "tsn": tsn}
    assert claim_holds(rows) is holds
    assert f"| TSN | no | {tsn['top1_acc']:.1%} |" in table(rows)


@pytest.mark.slow
@pytest.mark.whole
def test_the_demo_ends_with_its_table(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tools.demo", "--output_dir", str(tmp_path / "demo")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "| TSN | no |" in done.stdout
    assert "Top1 class:" in done.stdout
