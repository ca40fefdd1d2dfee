"""Help texts: what is used most comes first, and defaults are shown."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ORDER = {
    "train.py": ["--dataset_root", "--pretrained", "--preset", "--model", "--lr", "--device"],
    "test.py": ["--dataset_root", "--pretrained", "--engine", "--device", "--preset", "--model"],
    "predict.py": ["--video", "--pretrained", "--engine", "--device", "--preset", "--model"],
}


def help_of(script):
    done = subprocess.run([sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    return " ".join(done.stdout.partition("options:")[2].split())


@pytest.mark.parametrize("script", ORDER)
def test_flags_come_in_the_order_of_their_use(script):
    shown = help_of(script)
    places = [shown.index(f" {flag} ") for flag in ORDER[script]]
    assert places == sorted(places)


def test_defaults_are_shown_where_a_flag_has_one():
    shown = help_of("train.py")
    for text in ("nearest to --model", "(default: mvf_r50)", "learning rate at base_batch_size (default: 0.00125)"):
        assert text in shown
    assert "Nesterov momentum (default: on)" in shown
    assert "(default: 1.0,0.875,0.75,0.66)" in shown
    shown = help_of("predict.py")
    assert "classes to print (default: 5)" in shown
    assert "in recipe.json beside the weights" in shown
    assert "dropout before the classifier (default" not in shown  # the recipe beside the weights says it
