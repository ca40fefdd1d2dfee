"""Who is asked to end takes along what it has started, and leaves it the time to clear away."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_tipc.test_session import ends

ROOT = Path(__file__).resolve().parents[2]
# A chain, or a training: it has a step in a session of its own, and clears away when it is asked to end.
CHAIN = """#!{python}
import os, pathlib, subprocess, sys, time
sys.path.insert(0, {root!r})
from runtime.command import clear_errors
here = pathlib.Path({here!r})
with clear_errors():
    step = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        (here / "fresh").write_text(f"{{os.getpid()}} {{step.pid}}")
        (here / "fresh").rename(here / "pids")
        step.wait()
    finally:
        time.sleep(0.5)
        step.kill()
        (here / "cleared").touch()
"""
CERTIFY = "from test_tipc import certify; run = lambda: certify.run('chain', [])"
PREPARE = (
    "from pathlib import Path; from test_tipc.config import read_config; from test_tipc.prepare import _train; "
    "run = lambda: _train(read_config('config.txt'), Path('data'), 'data')"
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("code", [CERTIFY, PREPARE], ids=["certify", "prepare"])
def test_a_signal_ends_the_running_chain_by_its_own_clearing_away(code, number, tmp_path):
    chain = tmp_path / "chain"
    chain.write_text(CHAIN.format(python=sys.executable, root=str(ROOT), here=str(tmp_path)))
    chain.chmod(0o755)
    (tmp_path / "test_tipc").mkdir()
    (tmp_path / "test_tipc" / "chain.sh").write_text(f"exec {chain}\n")
    rows = (ROOT / "test_tipc" / "configs" / "tsn" / "train_infer_python.txt").read_text().splitlines()
    rows[2], rows[36] = f"python:{chain}", f"infer_model:{tmp_path}/run/best.pdparams"
    (tmp_path / "config.txt").write_text("\n".join(rows))
    whole = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}\n"
    whole += "from runtime.command import clear_errors\nwith clear_errors(): run()"
    process = subprocess.Popen(
        [sys.executable, "-c", whole], cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not (tmp_path / "pids").is_file() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number
    assert said.splitlines()[-1] == f"stopped by {'Ctrl-C' if number == signal.SIGINT else 'SIGTERM'}"
    assert (tmp_path / "cleared").is_file()
    assert all(map(ends, map(int, (tmp_path / "pids").read_text().split())))
