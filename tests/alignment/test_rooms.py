"""Which room of alignment imports which, read from the syntax trees; the list of stages in the README."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

from alignment.command import STEPS

ROOT = Path(__file__).resolve().parents[2]
HOUSE = ROOT / "alignment"
FILES = sorted(HOUSE.rglob("*.py"))
# From the ground up: a room imports itself and the floors below, not its neighbors.
FLOORS = (
    {"reference", "sides"},
    {"verdicts"},
    {"audit", "reports"},
    {"stages"},
    {"suite"},
    {"certification", "process"},
    {"mutation", "upstream"},
    {"command"},
    {"__init__", "__main__", "step0_data", "step1_forward", "step2_metric", "step3_loss", "step4_backward"},
)
SUITE = ("sides", "verdicts", "audit", "reports", "stages", "suite")
OURS = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))}


def room_of(path):
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def imports_of(path):
    """Dotted names of all that a file imports, inside functions too; of a submodule its own name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(name):
    """The file of alignment that a dotted name lies in."""
    path = ROOT.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return module_of(name.rpartition(".")[0])


def ours_in(path):
    return [name for name in imports_of(path) if name.partition(".")[0] == "alignment"]


def test_every_room_has_its_floor():
    rooms = {room_of(path) for path in FILES}
    assert rooms == set().union(*FLOORS)


@pytest.mark.parametrize("floor", range(len(FLOORS)))
def test_a_room_imports_those_below_it(floor):
    below = set().union(*FLOORS[:floor])
    for path in FILES:
        if room_of(path) in FLOORS[floor]:
            wrong = [n for n in ours_in(path) if room_of(module_of(n)) not in below | {room_of(path)}]
            assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(wrong)}, which is not below it"


def test_no_file_imports_itself_in_a_circle():
    graph = {path: {module_of(name) for name in ours_in(path)} - {path} for path in FILES}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError with the files of a circle


@pytest.mark.parametrize("room", SUITE)
def test_the_suite_could_be_a_package_of_its_own(room):
    files = [path for path in FILES if room_of(path) == room]
    assert files
    for path in files:
        foreign = [name for name in imports_of(path) if name.partition(".")[0] in OURS - {"alignment"}]
        wrong = [name for name in foreign if not name.startswith(("runtime.errors.", "runtime.html_page"))]
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(wrong)}"


def test_the_readme_names_every_stage():
    table = (HOUSE / "README.md").read_text(encoding="utf-8").partition("| stage | compares |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(STEPS)
