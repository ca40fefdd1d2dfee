"""What the disk says of --root is one line, and what lies there stays."""

import errno
import os

import pytest

from tests.tools.prepare import miniatures
from tests.tools.prepare.conftest import content


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Class folders."""
    return miniatures.own_folder(tmp_path_factory.mktemp("own") / "source")


@pytest.mark.parametrize(
    "place", ["", "videos", "videos/fight", "annotations", "annotations/classes.txt/x", ".actionalign"]
)
def test_a_file_in_the_way(prepare, tmp_path, source, place):
    root = tmp_path / "root"
    miniatures.write(tmp_path, {f"root/{place}".rstrip("/"): b"mine"})
    before = content(tmp_path)
    code, _ = prepare("folder", "--source", source, "--root", root)
    assert str(code).startswith("error: ")
    assert str(root) in code
    assert "\n" not in code
    assert before.items() <= content(tmp_path).items()


def test_a_right_that_is_missing_names_the_place(prepare, tmp_path, monkeypatch, source):
    def refuse(start, target):
        raise PermissionError(errno.EACCES, "Permission denied", str(start), None, str(target))

    monkeypatch.setattr(os, "replace", refuse)
    code, _ = prepare("folder", "--source", source, "--root", tmp_path / "root", "--workers", 1)
    assert code.startswith(f"error: cannot use {tmp_path}/root/")
    assert "Permission denied; move what is there" in code
    assert "unfinished" not in code


@pytest.mark.parametrize("name", ["loop", "dangling/root", "a" * 300])
def test_roots_that_cannot_be(prepare, tmp_path, source, name):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    code, _ = prepare("folder", "--source", source, "--root", tmp_path / name)
    assert str(code).startswith(f"error: cannot use {tmp_path}/")
    assert "\n" not in code
    assert not (tmp_path / "nowhere").exists()
