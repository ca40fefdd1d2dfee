"""Every command in a document is one that its program takes, and is run here, or says what runs it or what it needs."""

import argparse
import importlib.util
import os
import re
import runpy
import shutil
import subprocess
import sys
import warnings

import pytest

from tests.documents.blocks import ALIKE, DOCUMENTS, ELSEWHERE, NEEDS, ROOT, RUN, blocks_of

TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document) if block.language in RUN]
SHELL = {"printf", "rm"}  # in blocks that are run
OTHERS = {"paddle.distributed.launch", "pip", "venv"}  # modules whose flags are theirs
PLACE = [f"{block.document}:{block.line}" for block in BLOCKS]
SHOWN = sorted(
    {block.document for block in BLOCKS if block.is_run and not block.document.startswith(("docs/zh", "README_"))}
)


class ParsedError(BaseException):
    """A command has understood its command line, and is to do nothing more."""


@pytest.fixture
def parse(monkeypatch, own_signals):
    """Runs a script or module of ours up to the point where its own parser has taken the flags."""
    parse_args = argparse.ArgumentParser.parse_args

    def stop(self, args=None, namespace=None):
        parse_args(self, args, namespace)
        raise ParsedError

    def run(name, flags, run):
        monkeypatch.setattr(sys, "argv", [name, *flags])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # runpy's, of a module that is imported already
            with pytest.raises(ParsedError):
                run(name, run_name="__main__")

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    return run


def check(words, parse, shell):
    """That the program is there and takes its arguments."""
    program, *rest = words
    if program in ("python", ".venv/bin/python"):
        check_python(rest, parse)
    elif program == "make":
        assert not {word for word in rest if "=" not in word} - set(TARGETS), words
    elif program == "bash":
        check_script(rest, parse)
    elif program == "pip":
        assert all((ROOT / rest[at + 1]).is_file() for at, word in enumerate(rest) if word in ("-r", "-c")), words
    else:
        assert shell or program in SHELL, f"{program} is not known: say what the block needs, or what runs it"


def check_python(words, parse):
    if words[0] != "-m":
        assert (ROOT / words[0]).is_file(), words
        parse(words[0], words[1:], runpy.run_path)
    elif words[1] not in OTHERS:
        assert importlib.util.find_spec(words[1]), words
        parse(words[1], words[2:], runpy.run_module)
    elif "train.py" in words:
        check_python(words[words.index("train.py") :], parse)


def check_script(words, parse):
    script, *flags = words
    text = (ROOT / script).read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", ROOT / script], check=True)
    assert all((ROOT / flag).exists() for flag in flags if "/" in flag and flag.split("/")[0] == "test_tipc"), words
    if own := re.search(r'^exec python (-m .+) "\$@"$', text, re.MULTILINE):
        check_python([*own[1].split(), *flags], parse)


@pytest.mark.parametrize("block", BLOCKS, ids=PLACE)
def test_each_program_takes_its_arguments(block, parse):
    if block.language == "python":
        compile(block.text, block.document, "exec")
        return
    assert block.commands()
    for words in block.commands():
        check(words, parse, shell=not block.is_run)


@pytest.mark.parametrize(
    "text",
    [
        "python train.py --no_such_flag 1",
        "python train.py --preset no_such_preset",
        "python -m tools.no_such_tool",
        "bash test_tipc/no_such_script.sh",
        "bash test_tipc/prepare.sh test_tipc/configs/no_such_config.txt whole_infer",
        "make no-such-target",
        "pip install -r no_such_file.txt",
        "no_such_program",
    ],
)
def test_a_command_that_is_not_there_is_found(text, parse):
    with pytest.raises((AssertionError, FileNotFoundError, SystemExit)):
        check(text.split(), parse, shell=False)


def test_only_figures_may_differ_from_what_a_document_shows():
    assert lines_of("loss 0.25,  12 clips\n") == lines_of("loss 1.5, 3 clips")
    assert lines_of("loss 0.25") != lines_of("losses 0.25")


@pytest.mark.parametrize("block", BLOCKS, ids=PLACE)
def test_what_is_not_run_here_says_why(block):
    if needs := block.said("needs"):
        assert not [need for need in needs.split(", ") if not any(known in need for known in NEEDS)]
    if run_by := block.said("run by"):
        target = run_by.removeprefix("make ")
        assert target in TARGETS if target != run_by else (ROOT / run_by).is_file()


def test_no_place_is_excused_that_is_not_there():
    assert not [place for place in ALIKE if not (ROOT / place).exists()]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_command_hides_in_a_block_of_another_language(document):
    others = [block.text for block in blocks_of(document) if block.language not in RUN and not block.mark]
    assert not re.findall(r"^(?:\$ )?(?:\S*python|bash|make|pip|cmake|docker|git) .*$", "".join(others), re.MULTILINE)


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name != "CHANGELOG.md"])  # which tells of old ones
def test_commands_within_sentences_are_taken_too(document, parse):
    text = (ROOT / document).read_text(encoding="utf-8")
    modules = set(re.findall(r"-m ((?:alignment|datasets|deploy|test_tipc|tools)(?:\.\w+)*)", text))
    assert not [module for module in modules if importlib.util.find_spec(module) is None]
    assert not set(re.findall(r"`make ([a-z-]+)", text)) - set(TARGETS)
    for span in re.findall(r"`((?:python|bash) [^`]+)`", text):
        words = span.split()
        is_name = words[-1] == "--help" or (words[1] == "-m" and len(words) == 3)
        if not is_name and not re.search(r"\.\.\.|[|<]|\b[A-Z]{3,}\b", span):
            check(words, parse, shell=True)


def lines_of(text):
    """Its lines with all figures alike, as those of two runs may differ."""
    return [re.sub(r"[\d.,:]*\d", "0", " ".join(line.split())) for line in text.splitlines() if line.strip()]


@pytest.mark.whole
@pytest.mark.parametrize("document", SHOWN)
def test_the_commands_run_and_print_what_the_document_shows(document, tmp_path):
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(*ELSEWHERE, "__pycache__", ".*"))
    environment = {**os.environ, "PATH": f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}"}
    blocks = blocks_of(document)
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if not block.is_run:
            continue
        program = ["bash", "-euc"] if block.language == "bash" else [sys.executable, "-c"]
        done = subprocess.run([*program, block.text], cwd=checkout, env=environment, capture_output=True, text=True)
        output = done.stdout + done.stderr
        assert str(done.returncode) == (block.said("ends with") or "0"), f"line {block.line}: {output}"
        if following and following.language == "text":
            printed = {*lines_of(output), "..."}
            assert not [line for line in lines_of(following.text) if line not in printed], output
