"""Entries of the user's cache: made once, whole or not there, and not without end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime import cache

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "actionalign" / "kind"


def write(content, made=None):
    def make(entry):
        (entry / "inner").mkdir()
        (entry / "inner" / "file").write_bytes(content)
        if made is not None:
            made.append(content)

    return make


def get(part, content=b"content", made=None, limit=2**20):
    return (cache.cached("kind", [part], write(content, made), limit) / "inner" / "file").read_bytes()


def test_an_entry_is_made_once():
    made = []
    assert [get("a", b"1", made), get("a", b"2", made), get("b", b"3", made)] == [b"1", b"1", b"3"]
    assert made == [b"1", b"3"]


def test_parts_do_not_run_together():
    assert cache.cached("kind", ["ab", "c"], write(b"1"), 2**20) != cache.cached(
        "kind", ["a", "bc"], write(b"2"), 2**20
    )


def test_the_cache_is_for_the_user_alone(folder):
    get("a")
    assert folder.stat().st_mode & 0o077 == 0


def test_the_home_folder_has_it_where_nothing_else_is_said(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / ".cache" / "actionalign"


@pytest.mark.parametrize("damage", ["changed", "removed", "record"])
def test_a_damaged_entry_is_made_anew(folder, damage):
    get("a", b"right")
    (entry,) = folder.iterdir()
    if damage == "changed":
        (entry / "inner" / "file").write_bytes(b"wrong")
    elif damage == "removed":
        (entry / "inner" / "file").unlink()
    else:
        (entry / cache.CONTENTS).write_text("[1]")
    assert get("a", b"anew") == b"anew"


def test_what_fails_leaves_nothing(folder):
    def fail(entry):
        (entry / "half").touch()
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cache.cached("kind", ["a"], fail, 2**20)
    assert not list(folder.iterdir())


def test_the_entries_that_were_not_used_for_longest_go(folder):
    for i, part in enumerate("abc"):
        get(part, bytes(1000), limit=4000)
        (entry,) = set(folder.iterdir()) - {other for other in folder.iterdir() if other.stat().st_mtime < 2000}
        os.utime(entry, (1000 + i, 1000 + i))
    made = []
    get("a", bytes(1000), made, limit=4000)  # used again, so b has waited for longest
    get("d", bytes(1000), limit=4000)
    assert get("a", bytes(1000), made, limit=4000) == bytes(1000)
    assert made == []
    get("b", bytes(1000), made, limit=10**6)
    assert made == [bytes(1000)]


def test_another_users_cache_is_left_alone(folder, monkeypatch):
    get("a")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(PermissionError, match="another user's"):
        get("a")


def test_processes_that_come_together_agree(folder):
    code = (
        "import os, pathlib, runtime.cache as cache\n"
        "def make(entry): (entry / 'file').write_text(str(os.getpid()) * 100000)\n"
        "print((cache.cached('kind', ['a'], make, 2**30) / 'file').read_text()[:8])"
    )
    started = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) for _ in range(8)]
    assert len({process.communicate()[0] for process in started}) == 1
    assert all(process.returncode == 0 for process in started)
    assert len(list(folder.iterdir())) == 1
