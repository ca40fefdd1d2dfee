"""Each chain has a page, in both languages, whose commands are there."""

import importlib.util
import re
from pathlib import Path

import pytest

from test_tipc.certify import RUNS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "test_tipc" / "docs").glob("*.md"))
README = ROOT / "test_tipc" / "README.md"
COMMAND = re.compile(r"^bash (test_tipc/\w+\.sh) (test_tipc/configs/mvf/(\w+)\.txt) (\w+)", re.M)


def test_every_chain_has_a_page():
    named = {(Path(script).stem, form) for page in PAGES for script, _, form, _ in COMMAND.findall(page.read_text())}
    assert named == {(script, form) for script, form, _ in RUNS} | {("prepare", form) for _, form, _ in RUNS}


def test_the_results_that_the_readme_compares_by_hand_are_there():
    (pattern,) = re.findall(r"--gt_file '([^']+)'", README.read_text())
    assert list(ROOT.glob(pattern))


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.name)
def test_links_and_commands_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for script, config, *_ in COMMAND.findall(text):
        assert (ROOT / script).is_file()
        assert (ROOT / config).is_file()
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert not [link for link in links if not (page.parent / link).exists()]
    assert not [
        name for name in re.findall(r"-m (test_tipc(?:\.\w+)*)", text) if importlib.util.find_spec(name) is None
    ]
    assert page == README or re.search(r"^## [^\n]*[\u4e00-\u9fff][^\n]*\n\n.*[\u4e00-\u9fff]", text, re.M)
