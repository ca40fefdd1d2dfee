"""What the documents name is there: files, anchors, targets, rooms; both languages say the same; GitHub can read it."""

import json
import re
import subprocess
from urllib.parse import unquote, urlsplit

import pytest

from tests.documents.blocks import DOCUMENTS, ROOT, blocks_of

ROOMS = sorted(path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file() and path.name[0] != ".")
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)|<(https?:[^>\s]+)>")
PAGES = sorted(path.relative_to(ROOT / "docs/en").as_posix() for path in (ROOT / "docs/en").rglob("*.md"))
PAIRS = [("README.md", "README_cn.md"), *((f"docs/en/{page}", f"docs/zh/{page}") for page in PAGES)]


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def prose_of(name):
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text_of(name), flags=re.MULTILINE | re.DOTALL)


def headings_of(name):
    return re.findall(r"^(#+) (.+)$", prose_of(name), re.MULTILINE)


def anchors_of(name):
    """As GitHub makes them of headings."""
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for _, heading in headings_of(name))
    return {words.replace(" ", "-") for words in kept}


def links_of(name):
    return [first or second for first, second in LINK.findall(re.sub(r"`[^`\n]*`", "", prose_of(name)))]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    for link in links_of(name):
        url = urlsplit(link)
        if url.scheme:
            assert url.scheme == "https", link
            assert re.fullmatch(r"[\w.-]+\.[a-z]+", url.netloc), link
            continue
        target = (ROOT / name).parent / unquote(url.path) if url.path else ROOT / name
        assert target.exists(), link
        if url.fragment:
            assert unquote(url.fragment) in anchors_of(target.relative_to(ROOT)), link
    assert "THIS_REPOSITORY" not in text_of(name)


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_both_languages_have_the_same_parts(english, chinese):
    def parts(name):
        blocks = [(block.language, block.mark, block.in_common()) for block in blocks_of(name)]
        rows = [line.count("|") for line in prose_of(name).splitlines() if line.startswith("|")]
        return [level for level, _ in headings_of(name)], blocks, rows, len(links_of(name))

    assert parts(english) == parts(chinese)
    assert re.search(r"[\u4e00-\u9fff]", prose_of(chinese))


def test_the_readmes_are_short_and_no_room_is_missing():
    for document in ("README.md", "README_cn.md"):
        assert len(text_of(document).splitlines()) <= 250, document
    for document in ("README.md", "README_cn.md", "ARCHITECTURE.md"):
        assert not [room for room in ROOMS if f"{room}/" not in text_of(document)], document


@pytest.mark.parametrize("document", ["README.md", "README_cn.md"])
def test_the_accuracy_of_real_runs_is_that_of_their_logs(document):
    seen = []
    for row in text_of(document).splitlines():
        logs = re.findall(r"\((logs/surveillance_fight/\w+)\)", row)
        tests = [f"{log}/test_{views}/test.json" for views in ("quick", "full") for log in logs]
        reached = [json.loads(text_of(test))["top1_acc"] for test in tests]
        assert not logs or re.findall(r"[\d.]+ %", row) == [f"{100 * accuracy:.1f} %" for accuracy in reached]
        seen += logs
    assert sorted(seen) == sorted(
        f"logs/surveillance_fight/{path.name}" for path in (ROOT / "logs/surveillance_fight").iterdir()
    )


def test_every_page_is_in_the_menu_of_the_site():
    assert sorted(re.findall(r"^ +- .+: (\S+\.md)$", text_of("mkdocs.yml"), re.MULTILINE)) == PAGES


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
