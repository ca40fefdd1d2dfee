"""What --source may name, and what is taken of it."""

import errno
import json
import os
import shutil

import pytest

from tests.tools.prepare import miniatures
from tests.tools.prepare.conftest import content
from tools.prepare.unpacking import Unpacker


def placed(root):
    """Media below videos/."""
    return {name.removeprefix("videos/") for name in content(root) if name.startswith("videos/")}


def test_files_of_one_folder_and_a_folder_with_files_in_it(prepare, tmp_path):
    videos = {c: {f"{c}/{n}.mp4": miniatures.video("mp4", 20 + n) for n in range(3)} for c in "ab"}
    zips = {f"{c}.zip": miniatures.zipped(files) for c, files in videos.items()}
    source = miniatures.write(tmp_path / "s", {**zips, "c/0.mp4": miniatures.video("mp4", 9)})
    for number, given in enumerate((
        [source / "a.zip", source / "b.zip"], [source, source / "a.zip"], [source / "c", source],
    )):  # fmt: skip
        root = tmp_path / f"root {number}"
        code, out = prepare("folder", "--source", *given, "--root", root)
        assert code == 0, code
        assert "in no folder of a class" not in out
        assert placed(root) >= {*videos["a"], *videos["b"]}
        assert ("c/0.mp4" in placed(root)) is (source in given)


def test_repaired_videos_of_kinetics_however_they_are_given(prepare, tmp_path):
    """Packed beside unpacked videos, in a folder of their own, and in a tar without a folder."""
    repaired = "-_abcdefgh1_000001_000011.mp4"
    for case in ("packed", "own folder", "flat"):
        source, root = miniatures.kinetics400(tmp_path / case), tmp_path / f"{case} root"
        name = "replacement/replacement_for_corrupted_k400"
        given = [source]
        if case == "flat":
            miniatures.write(source, {f"{name}.tgz": miniatures.tar({f"./{repaired}": miniatures.video("mp4", 201)})})
        else:
            for archive in sorted(source.rglob("part_0.tar.gz")):
                shutil.unpack_archive(archive, archive.parent, filter="data")
                archive.unlink()
        if case == "own folder":
            shutil.unpack_archive(source / f"{name}.tgz", source / "replacement", filter="data")
            given = [source / "train", source / "val", source / "annotations", source / name]
        code, _ = prepare("kinetics400", "--source", *given, "--root", root)
        assert code == 0, code
        assert (root / "videos/replacement" / repaired).read_bytes() == miniatures.video("mp4", 201)
        assert (root / "videos/zumba" / repaired).read_bytes() == b"damaged"


def test_archives_that_are_not_read_for_what_is_unpacked_are_named(prepare, tmp_path):
    source = miniatures.write(miniatures.hmdb51(tmp_path / "s"), {"half/wave/one.avi": miniatures.video("avi", 9)})
    code, out = prepare("hmdb51", "--source", source, "--root", tmp_path / "root")
    assert "holds no video" in code
    assert out.startswith(
        f"the videos are taken unpacked, such as {source}/half/wave/one.avi; not read: {source}/hmdb51_org.rar. "
    )
    assert "To read it, take the others away\n" in out


def test_class_folders_that_are_links(prepare, tmp_path):
    source = miniatures.own_folder(tmp_path / "elsewhere")
    (tmp_path / "s").mkdir()
    for name in ("fight", "normal day"):
        (tmp_path / "s" / name).symlink_to(source / name)
    (source / "fight" / "circle").symlink_to(tmp_path / "s")
    code, _ = prepare("folder", "--source", tmp_path / "s", "--root", tmp_path / "root")
    assert code == 0
    assert placed(tmp_path / "root") == {
        path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("what", ["a pipe", "a link to nothing", "a closed folder"])
def test_what_cannot_be_read_is_named(prepare, tmp_path, monkeypatch, what):
    source = miniatures.own_folder(tmp_path / "s")
    bad = source / "fight" / "bad.mp4"
    if what == "a pipe":
        os.mkfifo(bad)
    elif what == "a link to nothing":
        bad.symlink_to("nowhere")
    else:
        scan = os.scandir

        def refuse(path):
            if str(path).endswith("fight"):
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return scan(path)

        monkeypatch.setattr(os, "scandir", refuse)  # root may read all
        bad = bad.parent
    code, _ = prepare("folder", "--source", source, "--root", tmp_path / "root")
    assert code.startswith(
        f"error: {bad} is no file" if what != "a closed folder" else f"error: cannot read {bad}: Perm"
    )
    assert not (tmp_path / "root").exists()


def test_an_archive_is_read_again_if_it_has_changed_and_not_otherwise(prepare, tmp_path, monkeypatch):
    """Though it has the same name and size."""
    files = {f"{c}/{n}.mp4": miniatures.video("mp4", 20 + n) for c in "ab" for n in range(3)}
    source = miniatures.write(tmp_path / "s", {"a.zip": miniatures.zipped(files)})
    root = tmp_path / "root"
    flags = ("folder", "--source", source, "--root", root)
    assert prepare(*flags)[0] == 0
    archive = source / "a.zip"
    size = archive.stat().st_size
    data = archive.read_bytes().replace(b"a/2.mp4", b"a/3.mp4")
    archive.write_bytes(data)
    os.utime(archive, ns=(1, 1))
    assert archive.stat().st_size == size
    assert prepare(*flags)[0] == 0
    assert "a/3.mp4" in placed(root)
    (root / "videos/a/2.mp4").unlink()  # of the archive that is gone
    assert prepare(*flags)[0] == 0
    miniatures.write(source, {"a/own.mp4": miniatures.video("mp4", 9)})
    assert prepare(*flags)[0] == 0
    read = []
    unpack = Unpacker.unpack
    monkeypatch.setattr(Unpacker, "unpack", lambda *args: read.append(1) or unpack(*args))
    assert prepare(*flags)[0] == 0
    assert not read
    assert len(json.loads((root / "prepared.json").read_text())["archives"]) == 1


def test_own_videos_that_are_gone_or_of_no_known_kind_are_counted(prepare, tmp_path):
    source, root = miniatures.own_folder(tmp_path / "s"), tmp_path / "root"
    miniatures.write(source, {"walk.zip": miniatures.zipped({"walk/a.mp4": miniatures.video("mp4", 9)})})
    miniatures.write(source, {"fight/a.swf": b"x", "fight/b.srt": b"x", "c.7z": b"x"})
    flags = ("folder", "--source", source, "--root", root)
    code, out = prepare(*flags)
    assert code == 0
    assert out.startswith(f"3 files of --source are of no known kind, such as {source}/c.7z\n")
    assert "no longer" not in out
    (source / "fight/camera00_a.mp4").rename(source / "fight/renamed.mp4")
    assert f"\n1 videos of {root}/videos are no longer in --source: remove them there" in prepare(*flags)[1]
    (source / "walk.zip").unlink()
    out = prepare(*flags)[1]
    assert f"\n2 videos of {root}/videos are no longer in --source, such as fight/camera00_a.mp4: remove them" in out
    (root / "videos/fight/camera00_a.mp4").unlink()
    (root / "videos/walk/a.mp4").unlink()
    assert "no longer" not in prepare(*flags)[1]
