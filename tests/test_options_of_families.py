"""The options of a family are named where it lives, and nowhere else."""

import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

from configs.networks import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
# Where a family lives besides its own two files; tests, documents and logs speak of what they test, explain and record.
HOME = ("configs/networks.py", "configs/*presets.py", "weights/layouts/*", "tests/*", "logs/*", "*.md")
# Place that may name an option all the same -> the reason.
EXCEPTIONS = {
    "weights/quirks.py": "what several layouts share",
    "alignment/upstream/*.py": "adapters build the models of other repositories, by the words of these",
    "alignment/mutation/*.py": "mutants change the modules of one family from within",
    "test_tipc/configs/*": "recorded command lines of a model",
}


def tracked():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def names_one(path, options):
    text = (ROOT / path).read_text(encoding="utf-8", errors="replace")
    return re.search(rf"\b(?:{'|'.join(options)})\b", text) is not None


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.options.own_options()])
def test_no_other_file_names_an_option_of_a_family(name):
    family = FAMILIES[name]
    options = family.options.own_options()
    file = family.module.rpartition(".")[2]
    own = {f"models/{file}.py", f"alignment/reference/{file}.py"}
    assert all(names_one(path, options) for path in own)
    wrong = [
        path
        for path in tracked()
        if path not in own
        and not any(fnmatch(path, pattern) for pattern in (*HOME, *EXCEPTIONS))
        and names_one(path, options)
    ]
    assert not wrong, f"{wrong} name options of {name}: {', '.join(options)}"


def test_every_exception_is_one():
    options = [option for family in FAMILIES.values() for option in family.options.own_options()]
    for pattern in EXCEPTIONS:
        assert any(names_one(path, options) for path in tracked() if fnmatch(path, pattern)), pattern
