"""What the programs of other languages need, in `test_tipc/build/<name>`: prepare.sh installs it.

A tool that is absent or too old, or that the network does not bring, is a reason to skip a chain: no failure, and no
success. Any other error of an installation is a failure, as it may be of what is pinned here.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypedDict

from runtime import command
from runtime.errors import UserError
from runtime.owned import Owned, digest_of
from runtime.records import read_record
from test_tipc.config import Config, ConfigError
from test_tipc.processes import contained

BUILD = Path("test_tipc/build")
STAMP = "installed.json"
LOG = "install.log"
PROBE_S, INSTALL_S = 60.0, 900.0  # seconds that a program may take to answer, and a command to install
# What npm and pip print when the network is the reason; pip says how many attempts are left.
_UNREACHABLE = re.compile(
    r"^npm (?:error|ERR!) code (?:ENOTFOUND|EAI_AGAIN|ECONN\w+|ETIMEDOUT|E(?:NET|HOST)UNREACH|ERR_SOCKET_TIMEOUT)$"
    r"|^WARNING: Retrying \(Retry\(total=0,.* after connection broken by "
    r"|^ERROR:.*Max retries exceeded|ReadTimeoutError",
    re.M,
)
_REASON = re.compile(r"^(?:npm (?:error|ERR!) code|ERROR:) .*", re.M)


class Stamp(TypedDict):
    """What stands in a folder that `install` has filled.

    Attributes:
        files: Files that it was made of -> their SHA-256.
        failure: Why it is not complete; empty if it is.
    """

    files: dict[str, str]
    failure: str


class Program(NamedTuple):
    """A program on the PATH, the arguments that it must answer, and the oldest version that the answer may tell."""

    name: str
    minimum: tuple[int, ...] = ()
    probe: tuple[str, ...] = ("--version",)


@dataclass(frozen=True)
class Toolchain:
    """How a chain comes to the program that it runs.

    Attributes:
        folder: Where it is made.
        programs: Must all be there.
        files: What is installed, pinned; they are copied into the folder.
        install: Commands that fill the folder, run in it; they download.
    """

    folder: Path
    programs: tuple[Program, ...]
    files: tuple[str, ...] = ()
    install: tuple[Sequence[str], ...] = ()


# Form of a config -> what its program is made with
TOOLCHAINS = {
    "cpp_infer_params": Toolchain(BUILD / "cpp", (Program("cmake", (3, 19)), Program("c++"))),
    "lite_infer_params": Toolchain(
        # The only Python that Paddle Lite's wheel is for, with what makes a venv; Debian has that in another package.
        BUILD / "lite", (Program("python3.10", probe=("-m", "ensurepip", "--version")),),
        ("test_tipc/lite/requirements.txt",),
        (
            ("python3.10", "-m", "venv", "."),
            ("bin/python", "-m", "pip", "install", "--disable-pip-version-check", "-r", "requirements.txt"),
        ),
    ),
    "node_infer_params": Toolchain(
        BUILD / "node", (Program("node", (18, 3)), Program("npm")),
        ("test_tipc/node/package.json", "test_tipc/node/package-lock.json", "test_tipc/node/infer.mjs"),
        (("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"),),  # its script would download what is for GPUs
    ),
}  # fmt: skip


def install(form: str) -> None:
    """Fills the folder of a form, unless it is there and made of the same files; says what it runs, or why it cannot.

    Raises:
        ForeignError: Something else is in that folder.
        UserError: A command has failed, and not for want of a network.
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
    """The first program that is not there, does not run, or is too old, as a sentence; empty if all are right."""
    return next(filter(None, map(_lack_of, tools.programs)), "")


def _lack_of(program: Program) -> str:
    path = shutil.which(program.name)
    if path is None:
        return f"{program.name} is not found"
    argv = [path, *program.probe]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=PROBE_S
        )
    except subprocess.TimeoutExpired:
        return f"{shlex.join(argv)} does not answer within {PROBE_S:g} s"
    if done.returncode:
        return f"{shlex.join(argv)} does not run"
    found = re.search(r"\d+(?:\.\d+)+", done.stdout)
    if program.minimum and (found is None or tuple(map(int, found[0].split("."))) < program.minimum):
        return f"{path} is {found[0] if found else 'of no version'}, {'.'.join(map(str, program.minimum))} is needed"
    return ""


def _made_of(tools: Toolchain) -> Stamp:
    return {"files": {name: digest_of(Path(name)) for name in tools.files}, "failure": ""}


def _stamp(tools: Toolchain) -> Stamp | None:
    path = tools.folder / STAMP
    return read_record(path, Stamp, ConfigError, f": remove {tools.folder}") if path.is_file() else None


def _run(argv: Sequence[str], folder: Path) -> str:
    """Runs a command in a folder and says so; returns why the network kept it from its end, or nothing.

    Raises:
        UserError: It has failed for another reason.
    """
    command.say(f"$ (cd {folder} && {shlex.join(argv)})")
    log = folder / LOG
    with log.open("wb") as file, contained(argv, folder=folder, output=file) as process:
        try:
            code = process.wait(INSTALL_S)
        except subprocess.TimeoutExpired:
            return f"{shlex.join(argv)} is not over after {INSTALL_S:g} s"
    if not code:
        return ""
    text = log.read_text(encoding="utf-8", errors="replace")
    found = _REASON.search(text)
    reason = found[0] if found else (text.strip() or "it printed nothing").splitlines()[-1]
    failure = f"{shlex.join(argv)} ended with {code}: {reason.strip()}"
    if not _UNREACHABLE.search(text):
        raise UserError(f"{failure}; see {log}")
    return failure
