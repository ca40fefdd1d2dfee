"""What the programs of other languages need, in `test_tipc/build/<name>`: prepare.sh installs it.

A tool that is absent, or that cannot be downloaded, is a reason to skip a chain: no failure, and no success.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from runtime import command
from runtime.owned import Owned, digest_of
from runtime.records import read_record
from test_tipc.config import Config, ConfigError

BUILD = Path("test_tipc/build")
STAMP = "installed.json"


class Stamp(TypedDict):
    """What stands in a folder that `install` has filled.

    Attributes:
        files: Files that it was made of -> their SHA-256.
        failure: Why it is not complete; empty if it is.
    """

    files: dict[str, str]
    failure: str


@dataclass(frozen=True)
class Toolchain:
    """How a chain comes to the program that it runs.

    Attributes:
        folder: Where it is made.
        programs: Must be on the PATH, and answer to `--version`.
        files: What is installed, pinned; they are copied into the folder.
        install: Commands that fill the folder, run in it; they download.
    """

    folder: Path
    programs: tuple[str, ...]
    files: tuple[str, ...] = ()
    install: tuple[Sequence[str], ...] = ()


# Form of a config -> what its program is made with
TOOLCHAINS = {
    "cpp_infer_params": Toolchain(BUILD / "cpp", ("cmake", "c++")),
    "lite_infer_params": Toolchain(
        BUILD / "lite", ("python3.10",),  # the only one that Paddle Lite's wheel is for
        ("test_tipc/lite/requirements.txt",),
        (
            ("python3.10", "-m", "venv", "."),
            ("bin/python", "-m", "pip", "install", "--disable-pip-version-check", "-r", "requirements.txt"),
        ),
    ),
    "node_infer_params": Toolchain(
        BUILD / "node", ("node", "npm"),
        ("test_tipc/node/package.json", "test_tipc/node/package-lock.json", "test_tipc/node/infer.mjs"),
        (("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"),),  # its script would download what is for GPUs
    ),
}  # fmt: skip


def install(form: str) -> None:
    """Fills the folder of a form, unless it is there and made of the same files; says what it runs, or why it cannot.

    Raises:
        ForeignError: Something else is in that folder.
    """
    tools = TOOLCHAINS[form]
    if absent := _absent(tools):
        command.say(f"{tools.folder}: {absent}: the chain will be skipped")
    elif not tools.install or _stamp(tools) == _made_of(tools):
        command.say(f"{tools.folder}: nothing to install")
    else:
        Owned(tools.folder).remove_all()
        owned = Owned.create_private(tools.folder)
        owned.write({Path(name).name: Path(name).read_bytes() for name in tools.files})
        stamp = _made_of(tools)
        stamp["failure"] = next(filter(None, (_run(argv, tools.folder) for argv in tools.install)), "")
        owned.write({STAMP: (json.dumps(stamp) + "\n").encode()})
        command.say(
            f"{tools.folder}: {stamp['failure']}: the chain will be skipped" * bool(stamp["failure"])
            or f"{tools.folder}: installed"
        )


def missing(config: Config, mode: str) -> str:
    """Why the program of a config cannot be made or run here; empty if it can.

    Raises:
        ConfigError: prepare.sh has not installed what it needs, as it is pinned now.
    """
    tools = TOOLCHAINS[config.form]
    if (absent := _absent(tools)) or not tools.install:
        return absent
    stamp = _stamp(tools)
    if stamp is None or stamp["files"] != _made_of(tools)["files"]:
        raise ConfigError(f"{tools.folder} is not prepared: bash test_tipc/prepare.sh {config.path} {mode}")
    return stamp["failure"]


def _absent(tools: Toolchain) -> str:
    """The first program that is not there, or does not run, as a sentence; empty if all do."""
    for name in tools.programs:
        path = shutil.which(name)
        if path is None:
            return f"{name} is not found"
        if subprocess.run([path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode:
            return f"{path} does not run"
    return ""


def _made_of(tools: Toolchain) -> Stamp:
    return {"files": {name: digest_of(Path(name)) for name in tools.files}, "failure": ""}


def _stamp(tools: Toolchain) -> Stamp | None:
    path = tools.folder / STAMP
    return read_record(path, Stamp, ConfigError, f": remove {tools.folder}") if path.is_file() else None


def _run(argv: Sequence[str], folder: Path) -> str:
    """Runs a command in a folder and says so; returns why it failed, or nothing."""
    command.say(f"$ (cd {folder} && {shlex.join(argv)})")
    done = subprocess.run(
        argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    last = [line for line in done.stdout.splitlines() if line.strip()][-1:] or ["it printed nothing"]
    return f"{shlex.join(argv)} ended with {done.returncode}: {last[0].strip()}" if done.returncode else ""
