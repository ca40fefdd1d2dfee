"""What the documents name is there: files, commands, targets, rooms; and what GitHub reads can be read."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "README_cn.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "logs/bench/README.md")
ROOMS = sorted(path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file() and path.name[0] != ".")
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_and_commands_lead_somewhere(name):
    text = text_of(name)
    links = {link.partition("#")[0] for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text)} - {""}
    missing = [link for link in links if not (ROOT / name).parent.joinpath(link).exists()]
    assert not missing
    modules = set(re.findall(r"-m ((?:alignment|datasets|deploy|test_tipc|tools)(?:\.\w+)*)", text))
    assert not [module for module in modules if importlib.util.find_spec(module) is None]
    assert not set(re.findall(r"`make ([a-z-]+)", text)) - set(TARGETS)
    assert "THIS_REPOSITORY" not in text


def test_the_readme_is_short_and_no_room_is_missing():
    assert len(text_of("README.md").splitlines()) <= 250
    for document in ("README.md", "ARCHITECTURE.md"):
        assert not [room for room in ROOMS if f"{room}/" not in text_of(document)], document


def test_the_paths_of_contributing_exist():
    named = re.findall(r"`((?:\w+/)+[\w.]+\.py)`", text_of("CONTRIBUTING.md") + text_of("ARCHITECTURE.md"))
    assert named
    assert not [path for path in named if not (ROOT / path).is_file()]


def test_make_help_lists_every_target():
    printed = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, check=True, capture_output=True, text=True)
    assert [line.split()[0] for line in printed.stdout.splitlines()] == TARGETS


@pytest.mark.parametrize(
    "path",
    [*(ROOT / ".github").rglob("*.yml"), ROOT / "CITATION.cff", ROOT / ".pre-commit-config.yaml"],
    ids=lambda path: path.name,
)
def test_what_others_read_is_valid_yaml(path):
    content = pytest.importorskip("yaml").safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    if path.name == "CITATION.cff":
        assert {"cff-version", "message", "title", "authors"} <= content.keys()
        assert f'version = "{content["version"]}"' in text_of("pyproject.toml")
    if path.parent.name == "ISSUE_TEMPLATE":
        assert {"name", "description", "body"} <= content.keys()
        assert all({"type", "attributes"} <= item.keys() for item in content["body"])
