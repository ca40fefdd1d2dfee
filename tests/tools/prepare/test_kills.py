"""A preparation that is killed at any moment and run again gives the files of one that is not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.owned import FOLDER
from tests.tools.prepare import miniatures
from tests.tools.prepare.conftest import content

ROOT = Path(__file__).resolve().parents[3]
# Sends a signal to itself instead of, or before, the rename of that number; prints how many there were.
KILLED = """
import os, sys
from runtime.command import clear_errors
from tools.prepare.__main__ import main
number, moment = int(sys.argv[1]), int(sys.argv[2])
replace, calls = os.replace, []
def replacing(source, target):
    calls.append(target)
    if len(calls) == moment:
        os.kill(os.getpid(), number)
    replace(source, target)
os.replace = replacing
with clear_errors():
    main(sys.argv[3:])
print(len(calls))
"""
FLAGS = ("--frames", "--reencode", "32", "--workers", "2")


def run(root, source, moment, number=signal.SIGKILL):
    flags = ["kinetics400", "--source", str(source), "--root", str(root), *FLAGS]
    return subprocess.run(
        [sys.executable, "-c", KILLED, str(int(number)), str(moment), *flags],
        cwd=ROOT, check=False, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """(source, content of the root, number of renames)."""
    folder = tmp_path_factory.mktemp("undisturbed")
    source = miniatures.kinetics400(folder / "source")
    done = run(folder / "root", source, 0)
    assert done.returncode == 0, done.stderr
    return source, content(folder / "root"), int(done.stdout.splitlines()[-1])


def check_resumed(root, source, expected):
    assert content(root) != expected
    assert run(root, source, 0).returncode == 0
    assert content(root) == expected
    assert not list((root / FOLDER / "unfinished").glob("scratch*"))


def test_sigkill_amid_it_and_then_again(undisturbed, tmp_path):
    source, expected, renames = undisturbed
    assert run(tmp_path / "root", source, renames // 2).returncode == -signal.SIGKILL
    check_resumed(tmp_path / "root", source, expected)


def test_sigterm_ends_it_with_one_line(undisturbed, tmp_path):
    source, expected, renames = undisturbed
    done = run(tmp_path / "root", source, renames // 3, signal.SIGTERM)
    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, "stopped by SIGTERM\n")
    assert not list((tmp_path / "root" / FOLDER / "unfinished").glob("scratch*"))
    check_resumed(tmp_path / "root", source, expected)


@pytest.mark.whole
@pytest.mark.parametrize("part", range(1, 21))
def test_sigkill_at_twenty_moments(undisturbed, tmp_path, part):
    source, expected, renames = undisturbed
    assert run(tmp_path / "root", source, 1 + (renames - 2) * part // 20).returncode == -signal.SIGKILL
    check_resumed(tmp_path / "root", source, expected)


@pytest.mark.whole
def test_one_root_is_killed_again_and_again(undisturbed, tmp_path):
    source, expected, renames = undisturbed
    for moment in range(2, renames, 3):
        if run(tmp_path / "root", source, moment).returncode == 0:
            break
    assert run(tmp_path / "root", source, 0).returncode == 0
    assert content(tmp_path / "root") == expected
