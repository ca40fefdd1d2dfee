"""What a program of another language needs: absent, broken, not downloaded, or there."""

from pathlib import Path

import pytest

from runtime.owned import ForeignError
from test_tipc import toolchains
from test_tipc.config import ConfigError, read_config
from test_tipc.toolchains import Toolchain, install, missing

ROOT = Path(__file__).resolve().parents[2]
CONFIG = read_config(ROOT / "test_tipc" / "configs" / "tsn" / "inference_node.txt")


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Puts a toolchain in the place of Node's."""
    pins = tmp_path / "pins.txt"
    pins.write_text("one==1\n")

    def put(*install, programs=("true",)):
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
    assert missing(CONFIG, "node_infer") == f"{tmp_path}/shim does not run"


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


def test_what_cannot_be_downloaded_is_the_reason_and_tried_again(tools, capsys):
    folder, _ = tools(["sh", "-c", "echo; echo getaddrinfo ENOTFOUND; exit 3"], ["touch", "never"])
    for _ in range(2):
        install(CONFIG.form)
        assert capsys.readouterr().out.endswith("ENOTFOUND: the chain will be skipped\n")
    assert missing(CONFIG, "node_infer").endswith("ended with 3: getaddrinfo ENOTFOUND")
    assert not (folder / "never").exists()


def test_another_folder_of_that_name_stays(tools):
    folder, _ = tools(["true"])
    folder.mkdir(parents=True)
    (folder / "mine").write_text("x")
    with pytest.raises(ForeignError, match="mine was not written by this program"):
        install(CONFIG.form)
    assert (folder / "mine").read_text() == "x"
