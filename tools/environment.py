"""Makes an environment for the commands of the Makefile: `python -m tools.environment .venv requirements.txt ...`.

A Paddle that is there for the Python which runs this is taken as it is, above all one for a GPU; otherwise Paddle is
installed. Versions are those of constraints.txt. Needs nothing but Python.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import venv
from pathlib import Path

from runtime import command
from runtime.errors import UserError

PYTHONS = ((3, 10), (3, 13))  # the first and the last that is tested
PADDLES = ((3, 0), (3, 3))
CONSTRAINTS = Path("constraints.txt")
OUTSIDE = "outside.pth"  # names the folders that the new environment takes over from the one that it was made in


def main(argv: list[str] | None = None) -> None:
    """Makes or completes the environment."""
    parser = command.parser(__doc__ or "")
    parser.add_argument("folder", type=Path, help="of the virtual environment")
    parser.add_argument("requirements", nargs="+", type=Path, help="files of requirements")
    parser.add_argument("--no_deps", nargs="*", type=Path, default=[], help="such files that are taken literally")
    args = parser.parse_args(argv)
    check_python()
    python = args.folder / "bin" / "python"
    make(args.folder, python)
    (packages,) = args.folder.glob("lib/python3*/site-packages")
    paddle = None if list(packages.glob("paddlepaddle*.dist-info")) else installed_paddle()
    if paddle:
        name, version = paddle.metadata["Name"], paddle.version
        command.say(f"{name} {version} of {paddle.locate_file('')} is taken")
        if not PADDLES[0] <= tuple(map(int, re.findall(r"\d+", version)[:2])) <= PADDLES[1]:
            command.say(f"note: Paddle {_range(PADDLES)} are tested", error=True)
        (packages / OUTSIDE).write_text(f"{paddle.locate_file('')}\n", encoding="utf-8")
    _pip(python, args.requirements, [] if paddle else ["paddlepaddle"])
    if args.no_deps:
        _pip(python, args.no_deps, ["--no-deps"])


def check_python() -> None:
    """Raises UserError unless the running Python is one that is tested."""
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        here = sys.version.split()[0]
        raise UserError(f"this is Python {here}, {_range(PYTHONS)} are tested: make PYTHON=python3.11")


def make(folder: Path, python: Path) -> None:
    """Makes the environment, also where one was begun and has no pip; raises UserError if another Python made it."""
    version = "{}.{}".format(*sys.version_info)
    if python.exists():
        code = "import sys, pip; print('{}.{}'.format(*sys.version_info))"
        made_by = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False).stdout.strip()
        if made_by not in ("", version):
            raise UserError(f"{folder} is of Python {made_by}, this is {version}: make clean, or VENV=FOLDER")
        if made_by:
            return
    try:
        venv.create(folder, with_pip=True, symlinks=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(f"no environment can be made in {folder} ({error}): is Python's venv installed?") from error


def installed_paddle() -> importlib.metadata.Distribution | None:
    """The Paddle of the running Python: `paddlepaddle`, `paddlepaddle-gpu` or another build; None without one."""
    for distribution in importlib.metadata.distributions():
        if (distribution.metadata["Name"] or "").lower().startswith("paddlepaddle"):
            return distribution
    return None


def _pip(python: Path, requirements: list[Path], arguments: list[str]) -> None:
    files = [word for path in requirements for word in ("-r", str(path))]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not sys.dont_write_bytecode:  # the first import compiles what it needs: a fraction of the packages' files
        pip.append("--no-compile")
    if code := subprocess.run([*pip, "-c", str(CONSTRAINTS), *files, *arguments], check=False).returncode:
        raise UserError(f"pip ended with exit code {code}, see above")


def _range(versions: tuple[tuple[int, int], tuple[int, int]]) -> str:
    return " to ".join(".".join(map(str, version)) for version in versions)


if __name__ == "__main__":
    with command.clear_errors():
        main()
