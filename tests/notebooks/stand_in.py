"""A stand-in of AI Studio: its home with this repository in it, and an image's Python 3.10 that has Paddle."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACES = """
import importlib.util, sys
missing = [name for name in sys.argv[1:] if importlib.util.find_spec(name) is None]
print(*sys.version_info[:2], ",".join(missing) or "-", *(path for path in sys.path if path.endswith("site-packages")))
"""


def python_of_image(folder, *needed):
    """A Python in `folder` that sees what the first Python 3.10 has which is found, and lets a user install more.

    Looked for: what ACTIONALIGN_PYTHON310 names, the Python of the tests, `python3.10`. Skips the test without one.
    """
    reasons = []
    for python in filter(None, (os.environ.get("ACTIONALIGN_PYTHON310"), sys.executable, shutil.which("python3.10"))):
        done = subprocess.run([python, "-c", PLACES, *needed], capture_output=True, text=True, check=False)
        if done.returncode:
            reasons.append(f"{python} does not run")
            continue
        major, minor, missing, *places = done.stdout.split()
        if (major, minor, missing) == ("3", "10", "-"):
            subprocess.run([python, "-m", "venv", "--system-site-packages", "--without-pip", folder], check=True)
            (packages,) = folder.glob("lib/python3.10/site-packages")
            (packages / "image.pth").write_text("".join(f"{place}\n" for place in places))
            return folder / "bin" / "python"
        reasons.append(f"{python} is {major}.{minor}" + (f" without {missing}" if missing != "-" else ""))
    pytest.skip(f"no Python 3.10 with {', '.join(needed)} for the image: {'; '.join(reasons)}")


def copy_repository(target):
    """What git has of this repository."""
    names = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def environment(python, **more):
    """Variables of a process of the image: its Python comes first, and no other environment is active."""
    kept = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH")}
    return {**kept, "PATH": f"{python.parent}:{os.environ['PATH']}", **more}
