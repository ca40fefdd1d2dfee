"""What is removed and replaced: only what this program wrote, as it wrote it."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.errors import UserError
from runtime.lock import LockedError
from runtime.owned import FOLDER, ForeignError, Owned, create, unfinished_beside


@pytest.fixture
def owned(tmp_path):
    owned = Owned(tmp_path / "place")
    owned.write({"a.txt": b"one", "sub/b.txt": b"two"})
    return Owned(owned.folder)


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and FOLDER not in path.parts
    }


def test_what_was_written_is_replaced_and_removed(owned):
    owned.write({"a.txt": b"three"})
    assert content(owned.folder) == {"a.txt": b"three", "sub/b.txt": b"two"}
    Owned(owned.folder).remove(["a.txt", "absent"])
    assert content(owned.folder) == {"sub/b.txt": b"two"}
    Owned(owned.folder).remove_all()
    assert not owned.folder.exists()


def put_text(path):
    path.write_text("mine")


def put_link(path):
    path.unlink(missing_ok=True)
    path.symlink_to("/etc/hostname")


def put_folder(path):
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "mine").write_text("x")


@pytest.mark.parametrize("put", [put_text, put_link, put_folder])
@pytest.mark.parametrize("name", ["a.txt", "new.txt"])
@pytest.mark.parametrize(
    "act",
    [
        lambda owned, name: owned.write({"sub/b.txt": b"changed", name: b"ours"}),
        lambda owned, name: owned.remove(["sub/b.txt", name]),
        lambda owned, name: owned.start_log(name),
        lambda owned, name: owned.remove_all(),
    ],
)
def test_what_is_somebody_elses_stays_and_so_does_the_rest(owned, put, name, act):
    put(owned.folder / name)
    before = content(owned.folder)
    with pytest.raises(ForeignError, match=name):
        act(Owned(owned.folder), name)
    assert content(owned.folder) == before
    assert os.path.lexists(owned.folder / name)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "sub/../../outside"])
def test_names_do_not_lead_out_of_the_folder(owned, name):
    with pytest.raises(ForeignError, match="inside"):
        owned.write({name: b""})
    with pytest.raises(ForeignError, match="inside"):
        owned.remove([name])


def test_a_record_behind_a_link_is_not_followed(tmp_path):
    (tmp_path / "other" / "unfinished").mkdir(parents=True)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / FOLDER).symlink_to(tmp_path / "other")
    with pytest.raises(ForeignError, match="is a link"):
        Owned(tmp_path / "folder")
    assert (tmp_path / "other" / "unfinished").is_dir()


def test_a_folder_without_a_mark_is_nobodys_to_remove(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine").write_text("x")
    with pytest.raises(ForeignError, match="mine"):
        Owned(tmp_path / "x").remove_all()
    fresh = Owned.create_private(tmp_path / "fresh")
    with pytest.raises(ForeignError, match="mine"):
        fresh.move_to(tmp_path / "x")
    assert (tmp_path / "x" / "mine").exists()
    assert fresh.folder.exists()


def test_a_finished_folder_takes_the_place_of_an_older_one_behind_a_link(tmp_path):
    for text in ("old", "new"):
        fresh = Owned.create_private(tmp_path / "fresh")
        (fresh.folder / "graph").write_text(text)
        (fresh.folder / "inner").mkdir()
        (fresh.folder / "inner" / text).write_text(text)
        fresh.seal()
        (tmp_path / "target").mkdir(exist_ok=True)
        if text == "old":
            (tmp_path / "link").symlink_to(tmp_path / "target")
        fresh.move_to(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "target") == {"graph": b"new", "inner/new": b"new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "target"]


def test_a_copy_of_an_unfinished_folder_is_nobodys(tmp_path):
    """What a stranger packed does not say that all is ours."""
    fresh = Owned.create_private(tmp_path / "fresh")
    (fresh.folder / "mine").write_text("x")
    shutil.copytree(fresh.folder, tmp_path / "copy")
    with pytest.raises(ForeignError, match="mine"):
        Owned(tmp_path / "copy").remove_all()
    Owned(fresh.folder).remove_all()


@pytest.mark.parametrize("exchanges", [True, False])
@pytest.mark.parametrize("allowed", range(4))
def test_a_kill_amid_a_move_leaves_the_old_folder_or_the_new(tmp_path, monkeypatch, exchanges, allowed):
    def finished(text):
        with unfinished_beside(tmp_path / "target", "x") as fresh:
            (fresh.folder / text).write_text(text)
            fresh.seal()
            if text == "new":
                monkeypatch.setattr("os.replace", killing)
            fresh.move_to(tmp_path / "target")

    replace, calls = os.replace, []

    def killing(source, target):
        if len(calls) == allowed:
            os._exit(9)
        calls.append(target)
        replace(source, target)

    if not exchanges:
        monkeypatch.setattr("runtime.owned._exchange", lambda left, right: False)
    finished("old")
    child = os.fork()
    if not child:
        finished("new")
        os._exit(0)
    os.waitpid(child, 0)
    monkeypatch.undo()
    with unfinished_beside(tmp_path / "target", "x"):
        assert len(content(tmp_path / "target")) == 1
    finished("last")
    assert content(tmp_path / "target") == {"last": b"last"}
    assert {path.name for path in tmp_path.iterdir()} <= {"target", ".target.unfinished-replaced"}


def test_a_log_grows_and_is_still_ours(owned):
    log = owned.start_log("run.log")
    log.write_text("line")
    Owned(owned.folder).check_all()
    assert Owned(owned.folder).start_log("run.log").read_text() == ""


def test_what_is_added_takes_a_free_name_and_is_nobodys_then(owned):
    with owned.adding("media/a.bin") as place:
        place.write_bytes(b"a")
        assert not (owned.folder / "media").exists()
    with owned.adding("media/folder") as place:
        place.mkdir()
        (place / "frame").write_bytes(b"b")
    assert content(owned.folder).items() >= {"media/a.bin": b"a", "media/folder/frame": b"b"}.items()
    for act in (lambda: owned.write({"media/a.bin": b""}), lambda: owned.remove(["media/a.bin"])):
        with pytest.raises(ForeignError, match=r"a\.bin"):
            act()
    for name, reason in (("media/a.bin", "there already"), ("../outside", "inside"), ("/outside", "inside")):
        with pytest.raises(ForeignError, match=reason), owned.adding(name) as place:
            place.write_bytes(b"c")
    (owned.folder / "link").symlink_to(owned.folder.parent)
    with pytest.raises(ForeignError, match="inside"), owned.adding("link/outside"):
        pass
    assert (owned.folder / "media" / "a.bin").read_bytes() == b"a"
    assert [path.name for path in owned.folder.parent.iterdir()] == ["place"]
    assert not list((owned.folder / FOLDER / "unfinished").glob("scratch*"))


def test_what_was_not_finished_leaves_nothing(owned):
    place = owned.adding("media/a.bin")
    place.__enter__().write_bytes(b"a")
    with pytest.raises(KeyboardInterrupt):
        place.gen.throw(KeyboardInterrupt)
    assert not (owned.folder / "media").exists()
    assert not list((owned.folder / FOLDER / "unfinished").glob("scratch*"))
    (owned.folder / FOLDER / "unfinished" / "of a kill").mkdir()
    owned.clear_unfinished()
    owned.check_all()
    assert content(owned.folder) == {"a.txt": b"one", "sub/b.txt": b"two"}


@pytest.mark.parametrize("filenames", [(), ("scratch",), ("/source", None, "scratch")])
def test_a_full_disk_names_what_was_to_be_added(owned, filenames):
    def fail(place):
        raise OSError(28, "No space left on device", *(place if name == "scratch" else name for name in filenames))

    with pytest.raises(OSError, match="space") as raised, owned.adding("media/a.bin") as place:
        fail(place)
    assert raised.value.filename == str(owned.folder / "media/a.bin")
    with pytest.raises(OSError, match="denied") as raised, owned.adding("media/a.bin"):
        raise OSError(13, "Permission denied", "/source")
    assert raised.value.filename == "/source"


def test_a_full_disk_leaves_what_was_there(owned, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="space"):
        owned.write({"a.txt": b"three"})
    monkeypatch.undo()
    assert content(owned.folder) == {"a.txt": b"one", "sub/b.txt": b"two"}
    Owned(owned.folder).write({"a.txt": b"four"})


@pytest.mark.parametrize("record", ["", "[]", '{"version": 2, "private": "", "files": {}}', '{"files": null}'])
def test_a_damaged_record_is_an_error_not_a_licence(owned, record):
    (owned.folder / FOLDER / "record.json").write_text(record)
    with pytest.raises(UserError, match=r"record\.json"):
        Owned(owned.folder)


WRITER = """
import sys
from runtime.owned import Owned
owned = Owned(sys.argv[1])
print(flush=True)
for number in range(10**6):
    owned.write({"a.txt": b"x" * number, "b.txt": b"y" * number})
"""


def test_sigkill_at_any_moment_leaves_whole_files_that_are_still_ours(tmp_path):
    for round in range(8):
        process = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / "w"], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(0.02 * round)
        process.kill()
        process.wait()
        process.stdout.close()
        for name, text in content(tmp_path / "w").items() if (tmp_path / "w").exists() else ():
            assert set(text) <= {ord("x" if name == "a.txt" else "y")}
        Owned(tmp_path / "w").check_all()
    Owned(tmp_path / "w").remove_all()


HOLDER = """
import sys, time
from pathlib import Path
from runtime.owned import Owned
with Owned(sys.argv[1]).locked("another process trains"):
    print(flush=True)
    time.sleep(600)
"""


def test_one_process_at_a_time_until_it_ends(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "w"], stdout=subprocess.PIPE)
    process.stdout.readline()
    with (
        pytest.raises(LockedError, match=rf"another process trains \(process {process.pid} on "),
        Owned(tmp_path / "w").locked("another process trains"),
    ):
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    with Owned(tmp_path / "w").locked("x"):
        pass


def test_what_another_process_works_in_is_not_removed(owned):
    with owned.locked("x"), pytest.raises(LockedError, match="another process works in"):
        Owned(owned.folder).remove_all()
    assert content(owned.folder)
    Owned(owned.folder).remove_all()


def test_a_named_file_is_written_where_its_name_leads(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    create(tmp_path / "link", b"new", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    create(Path("/dev/null"), b"nothing", overwrite=True)
    assert not Path("/dev/null").is_file()
    with pytest.raises(UserError, match=r"cannot write .*real: File exists"):
        create(tmp_path / "real", b"")
    for nowhere in (".", "/", str(tmp_path)):
        with pytest.raises(UserError, match="cannot write"):
            create(Path(nowhere), b"", overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"real", "link"}


def test_a_folder_that_is_no_ones_is_refused_at_its_first_file(tmp_path, monkeypatch):
    for number in range(50):
        (tmp_path / f"{number}").write_text("x")
    seen = []
    monkeypatch.setattr(
        Owned, "check", lambda self, name: seen.append(name) or (_ for _ in ()).throw(ForeignError(name))
    )
    with pytest.raises(ForeignError):
        Owned(tmp_path).check_all()
    assert len(seen) == 1


def test_a_disk_without_locks_is_guarded_by_the_name_of_the_holder(tmp_path, monkeypatch):
    def unknown(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", unknown)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    lock = tmp_path / FOLDER / "lock"
    with Owned(tmp_path).locked("x"):
        assert lock.read_text().startswith(f"process {os.getpid()} on ")
        with pytest.raises(LockedError, match=str(os.getpid())), Owned(tmp_path).locked("x"):
            pass
    with Owned(tmp_path).locked("x"):
        pass
    for text, free in ((f"process {dead.pid} on {os.uname().nodename}", True), ("process 1 on elsewhere", False)):
        lock.write_text(text)
        if free:
            with Owned(tmp_path).locked("x"):
                pass
        else:
            with pytest.raises(LockedError, match="elsewhere"), Owned(tmp_path).locked("x"):
                pass


def test_the_record_says_what_it_must(owned):
    record = json.loads((owned.folder / FOLDER / "record.json").read_text())
    assert set(record) == {"version", "private", "files"}
    assert set(record["files"]) == {"a.txt", "sub/b.txt"}
    shutil.rmtree(owned.folder / FOLDER)
    with pytest.raises(ForeignError, match=r"a\.txt"):
        Owned(owned.folder).remove_all()
