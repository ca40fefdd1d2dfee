"""How a command ends."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_reader_that_goes_away_ends_a_command_without_a_word():
    code = (
        "from runtime.command import clear_errors\nwith clear_errors():\n for _ in range(10**6): print(1, flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "1\n"
        process.stdout.close()
        assert process.wait(30) == 141
        assert process.stderr.read() == ""
