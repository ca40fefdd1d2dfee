"""One room decides about deletion: read from the syntax trees, nothing else removes or replaces a file."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = subprocess.check_output(["git", "ls-files", "*.py"], cwd=ROOT, text=True).split()
PRODUCT = [name for name in FILES if not name.startswith(("tests/", "logs/"))]
# Of any object; `replace` and `remove` only of `os`, as texts and lists have them, too.
ANYWHERE = {"rmtree", "unlink", "rmdir", "removedirs", "rename", "renames", "move", "truncate"}
OF_OS = {"remove", "replace"}
ALLOWED = {
    "runtime/owned.py": "the room",
    "runtime/cache.py": "entries of the user's cache that it has made itself, damaged or not used for longest",
    "deploy/timeline/journal.py": "cuts off the line that a kill has left unfinished, of a file that it has checked",
    "cluster/storage.py": "a file of results takes its place, and what killed workers left of its own folder goes",
    "engine/log.py": "cuts off what a killed run has logged after its checkpoint, of a file that it has checked",
}


def removals(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and (
            node.attr in ANYWHERE or (node.attr in OF_OS and getattr(node.value, "id", "") == "os")
        ):
            yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("name", PRODUCT)
def test_nothing_is_removed_outside_of_the_room(name):
    if name not in ALLOWED:
        assert not list(removals((ROOT / name).read_text(encoding="utf-8")))


def test_each_exception_is_needed():
    for name in ALLOWED:
        assert list(removals((ROOT / name).read_text(encoding="utf-8"))), name


@pytest.mark.parametrize(
    "line",
    [
        "shutil.rmtree(x)", "os.replace(a, b)", "Path(x).unlink()", "os.remove(x)", "x.rename(y)", "os.truncate(x, 0)",
        "f = os.unlink", "shutil.move(a, b)", "with_name(x).rmdir()",
    ],
)  # fmt: skip
def test_the_search_finds(line):
    assert list(removals(line))


@pytest.mark.parametrize("line", ["text.replace('a', 'b')", "names.remove(x)", "os.path.join(a)"])
def test_the_search_lets_pass(line):
    assert not list(removals(line))


def test_no_script_removes_anything():
    scripts = subprocess.check_output(["git", "ls-files", "*.sh"], cwd=ROOT, text=True).split()
    assert scripts
    for name in scripts:
        assert " rm " not in f" {(ROOT / name).read_text()} ", name
