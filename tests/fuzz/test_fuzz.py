"""Damaged files give what they hold or one clear error: no traceback, no signal, no hang, memory within limits.

`ACTIONALIGN_FUZZ=20` reads so many times more of them; `make fuzz` does.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FACTOR = int(os.environ.get("ACTIONALIGN_FUZZ", "1"))
# kind -> files, most CPU seconds that one may take, most MB by which the process may grow
COUNTS = {"videos": (450, 60, 1500), "pictures": (400, 10, 1000), "weights": (400, 10, 500), "records": (600, 10, 300)}


@pytest.mark.parametrize("seed", range(FACTOR))
@pytest.mark.parametrize("kind", COUNTS)
def test_damaged_files_give_one_clear_error_each(tmp_path, kind, seed, record_property):
    count, seconds, megabytes = COUNTS[kind]
    argv = [sys.executable, "-m", "tests.fuzz.worker", kind, str(seed), str(count), str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"signal or error {done.returncode} at {lines[-1:]}: {done.stderr[-2000:]}"
    outcome = json.loads(lines[-1])
    record_property("outcome", outcome)
    print(kind, seed, {**outcome, "tracebacks": len(outcome["tracebacks"])})
    assert not outcome["tracebacks"], "\n".join(outcome["tracebacks"][:3])
    assert outcome["read"] + outcome["refused"] == count
    assert outcome["refused"] > count / 10
    assert outcome["slowest_s"] < seconds
    assert outcome["grown_mb"] < megabytes
