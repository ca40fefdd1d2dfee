"""What a program of another language needs: absent, broken, not downloaded, or there."""

import json
import re
import sysconfig
from pathlib import Path

import pytest

from runtime.errors import UserError
from runtime.owned import ForeignError
from test_tipc import toolchains
from test_tipc.config import ConfigError, read_config
from test_tipc.cpp import chain
from test_tipc.toolchains import TOOLCHAINS, Program, Toolchain, install, missing

ROOT = Path(__file__).resolve().parents[2]
CONFIG = read_config(ROOT / "test_tipc" / "configs" / "tsn" / "inference_node.txt")


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Puts a toolchain in the place of Node's."""
    pins = tmp_path / "pins.txt"
    pins.write_text("one==1\n")

    def put(*install, programs=("true",)):
        programs = tuple(program if isinstance(program, Program) else Program(program) for program in programs)
        tools = Toolchain(tmp_path / "build" / "node", programs, (str(pins),), install)
        monkeypatch.setitem(toolchains.TOOLCHAINS, CONFIG.form, tools)
        return tools.folder, pins

    return put


def test_a_program_that_is_absent_is_the_reason(tools, capsys):
    folder, _ = tools(programs=("true", "no-such-program"))
    assert missing(CONFIG, "node_infer") == "no-such-program is not found"
    install(CONFIG.form)
    assert "no-such-program is not found: the chain will be skipped" in capsys.readouterr().out
    assert not folder.exists()


def test_a_program_that_does_not_run_is_absent(tools, tmp_path, monkeypatch):
    """As a shim of pyenv for a version that is not chosen."""
    (tmp_path / "shim").write_text("#!/bin/sh\nexit 127\n")
    (tmp_path / "shim").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    tools(programs=("shim",))
    assert missing(CONFIG, "node_infer") == f"{tmp_path}/shim --version does not run"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("echo v18.3.0", ""),
        ("echo v20.20.2", ""),
        ("echo cmake version 18.3", ""),
        ("echo v18.2.9", "/shim is 18.2.9, 18.3 is needed"),
        ("echo v9.11.2", "/shim is 9.11.2, 18.3 is needed"),
        ("echo unknown", "/shim is of no version, 18.3 is needed"),
        ("exec sleep 60", "/shim --version does not answer within 1 s"),
    ],
)
def test_a_program_that_is_too_old_or_silent_is_absent(body, reason, tools, tmp_path, monkeypatch):
    (tmp_path / "shim").write_text(f"#!/bin/sh\n{body}\n")
    (tmp_path / "shim").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    if "sleep" in body:
        monkeypatch.setattr(toolchains, "PROBE_S", 1)
    tools(programs=(Program("shim", (18, 3)),))
    assert missing(CONFIG, "node_infer") == (f"{tmp_path}{reason}" if reason else "")


def test_versions_are_those_of_the_files_that_need_them():
    folder = ROOT / "test_tipc"
    package, lock = (json.loads((folder / "node" / name).read_text()) for name in ("package.json", "package-lock.json"))
    cmake = (folder / "cpp" / "CMakeLists.txt").read_text()
    (node, _), (builder, _) = (TOOLCHAINS[form].programs for form in ("node_infer_params", "cpp_infer_params"))
    assert package["engines"] == {"node": f">={'.'.join(map(str, node.minimum))}"}
    assert re.findall(r"cmake_minimum_required\(VERSION (\S+)\)", cmake) == [".".join(map(str, builder.minimum))]
    pinned = lock["packages"][""]
    assert {name: package[name] for name in pinned} == pinned
    for name, version in package["dependencies"].items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version


def test_python_without_its_headers_builds_no_program(tmp_path, monkeypatch):
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: 1)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    assert chain._lack_of_python() == f"{tmp_path}/Python.h is not there, which python3-dev has, or python3-devel"
    (tmp_path / "Python.h").touch()
    assert chain._lack_of_python() == ""
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: 0)
    assert "has no shared libpython" in chain._lack_of_python()


def test_it_is_installed_once_from_its_pins(tools, capsys):
    folder, pins = tools(["cp", "pins.txt", "installed.txt"])
    with pytest.raises(ConfigError, match=r"node is not prepared: bash test_tipc/prepare\.sh .*_node\.txt node_infer"):
        missing(CONFIG, "node_infer")
    install(CONFIG.form)
    assert (folder / "installed.txt").read_text() == "one==1\n"
    assert missing(CONFIG, "node_infer") == ""
    install(CONFIG.form)
    assert capsys.readouterr().out.splitlines() == [
        f"$ (cd {folder} && cp pins.txt installed.txt)", f"{folder}: installed", f"{folder}: nothing to install",
    ]  # fmt: skip
    pins.write_text("one==2\n")
    with pytest.raises(ConfigError, match="is not prepared"):
        missing(CONFIG, "node_infer")
    install(CONFIG.form)
    assert (folder / "installed.txt").read_text() == "one==2\n"


NPM = "npm error code {0}\nnpm error syscall getaddrinfo\nnpm error A complete log of this run can be found in: x.log\n"
PIP = (
    "WARNING: Retrying (Retry(total={0}, connect=None)) after connection broken by 'NewConnectionError('')': /numpy/\n"
    "ERROR: Could not find a version that satisfies the requirement numpy\nERROR: No match\n"
)


@pytest.mark.parametrize(
    ("text", "reason", "is_network"),
    [
        (NPM.format("ENOTFOUND"), "npm error code ENOTFOUND", True),
        (NPM.format("EAI_AGAIN").replace("npm error", "npm ERR!"), "npm ERR! code EAI_AGAIN", True),
        (NPM.format("ECONNREFUSED"), "npm error code ECONNREFUSED", True),
        (NPM.format("EUSAGE"), "npm error code EUSAGE", False),
        (NPM.format("EINTEGRITY"), "npm error code EINTEGRITY", False),
        (PIP.format(0), "ERROR: Could not find a version that satisfies the requirement numpy", True),
        (PIP.format(4), "ERROR: Could not find a version that satisfies the requirement numpy", False),
        ("first\nlast\n\n", "last", False),
        ("", "it printed nothing", False),
    ],
)
def test_the_network_alone_is_a_reason_to_skip(text, reason, is_network, tools, tmp_path, capsys):
    (tmp_path / "said").write_text(text)
    folder, _ = tools(["sh", "-c", f"cat {tmp_path}/said; exit 3"], ["touch", "never"])
    for _ in range(2):  # it is tried again
        if is_network:
            install(CONFIG.form)
            assert capsys.readouterr().out.endswith(f" ended with 3: {reason}: the chain will be skipped\n")
            assert missing(CONFIG, "node_infer").endswith(f" ended with 3: {reason}")
        else:
            with pytest.raises(UserError, match=f" ended with 3: {re.escape(reason)}; see {folder}/install.log"):
                install(CONFIG.form)
            with pytest.raises(ConfigError, match="is not prepared"):
                missing(CONFIG, "node_infer")
    assert not (folder / "never").exists()


def test_an_installation_that_hangs_is_ended(tools, monkeypatch, capsys):
    monkeypatch.setattr(toolchains, "INSTALL_S", 0.5)
    tools(["sleep", "60"])
    install(CONFIG.form)
    assert capsys.readouterr().out.endswith("sleep 60 is not over after 0.5 s: the chain will be skipped\n")


def test_another_folder_of_that_name_stays(tools):
    folder, _ = tools(["true"])
    folder.mkdir(parents=True)
    (folder / "mine").write_text("x")
    with pytest.raises(ForeignError, match="mine was not written by this program"):
        install(CONFIG.form)
    assert (folder / "mine").read_text() == "x"
