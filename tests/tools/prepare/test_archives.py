"""Archives that mean harm, and damaged ones: one line says what is wrong; nothing is written outside of the root."""

import io
import os
import re
import stat
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from runtime.errors import UserError
from tests.tools.prepare.conftest import content
from tests.tools.prepare.miniatures import in_pieces, tar, video, write, zipped
from tests.tools.prepare.rar import RarMember, rar4, rar5
from tools.prepare import archives
from tools.prepare.archives import Archive, ArchiveError, Piece, members, safe_parts
from tools.prepare.settings import Unpacking

SECRET = "secret.mp4"  # outside of the root


def tar_of(name, data=b"x", mode="w:gz", **attributes):
    """A tar of a member, and of one below it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=tarfile.PAX_FORMAT) as file:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        for key, value in attributes.items():
            setattr(info, key, value)
        file.addfile(info, io.BytesIO(data))
        file.addfile(tarfile.TarInfo(f"{name}/secret.mp4"), io.BytesIO())
    return out.getvalue()


def zip_of(name, data=b"x", mode=0o100644):
    """A zip of one member, stored under exactly this name."""
    info = zipfile.ZipInfo("placeholder")
    info.filename, info.create_system, info.external_attr = name, 3, mode << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(info, data)
    return out.getvalue()


def sized(number):
    return number.to_bytes(4, "little")


def patched(data, old, new):
    assert old in data
    return data.replace(old, new)


def link(kind, target):
    return {"type": kind, "linkname": target, "data": b""}


def with_path(path):
    """In the extended header, which may hold any name."""
    return {"pax_headers": {"path": path}}


UP, ZEROS = "../../../secret.mp4", bytes(40 * 2**20)
SYMBOLIC, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE
FLAGS = b"PK\1\2\x14\x03\x14\0"  # of a member in the table of a zip follow
OUT, LONG, BOMB = "leads out of its folder", "no name for a file", "unpacks to more than its size times 20"
# Name of the archive, and of the case -> its content, for the folder outside of the root; what the error says.
MALICIOUS = {
    "a.tar.gz parent": (lambda out: tar_of(UP), OUT),
    "a.tar parent amid": (lambda out: tar_of(f"c/{UP}", mode="w:"), OUT),
    "a.tar.xz absolute": (lambda out: tar_of(f"{out}/secret.mp4", mode="w:xz"), OUT),
    "a.tar.bz2 link to a folder": (lambda out: tar_of("c/l", mode="w:bz2", **link(SYMBOLIC, out)), "a link"),
    "a.tar link": (lambda out: tar_of("c/a.mp4", mode="w:", **link(SYMBOLIC, UP)), "a link"),
    "a.tar.gz hard link": (lambda out: tar_of("c/a.mp4", **link(HARD, f"{out}/secret.mp4")), "a link"),
    "a.tar.gz device": (lambda out: tar_of("c/a.mp4", b"", type=tarfile.CHRTYPE, devmajor=1), "a device"),
    "a.tar.gz pipe": (lambda out: tar_of("c/a.mp4", b"", type=tarfile.FIFOTYPE), "a device"),
    "a.tar.gz NUL": (lambda out: tar_of("c/a.mp4", **with_path("c/a.mp4\0.mp4")), LONG),
    "a.tar.gz line end": (lambda out: tar_of("c/a\nc/b.mp4 1\n.mp4"), LONG),
    "a.tar.gz long name": (lambda out: tar_of(f"c/{'a' * 300}.mp4"), LONG),
    "a.tar.gz not UTF-8": (lambda out: tar_of("c/\udcff.mp4"), LONG),
    "a.tar.gz long header": (lambda out: tar_of("c/a.mp4", **with_path("c/" + "a" * 2_000_000)), "names of more"),
    "a.tar.gz bomb": (lambda out: tar({"c/a.mp4": ZEROS}), BOMB),
    "a.tar.gz bomb that is no video": (lambda out: tar({"c/a.bin": ZEROS, "c/a.mp4": b"x"}), BOMB),
    "a.tar sparse": (lambda out: tar_of("c/a.mp4", b"", mode="w:", type=tarfile.GNUTYPE_SPARSE), "a sparse file"),
    "a.zip backslashes": (lambda out: zip_of("..\\..\\secret.mp4"), OUT),
    "a.zip drive": (lambda out: zip_of("C:\\secret.mp4"), OUT),
    "a.zip share": (lambda out: zip_of("\\\\host\\share\\secret.mp4"), OUT),
    "a.zip absolute": (lambda out: zip_of(f"{out}/secret.mp4"), OUT),
    "a.zip link": (lambda out: zip_of("c/a.mp4", UP.encode(), stat.S_IFLNK), "a link"),
    "a.zip device": (lambda out: zip_of("c/a.mp4", b"", stat.S_IFCHR), "a device"),
    "a.zip bomb": (lambda out: zipped({"c/a.mp4": ZEROS}), BOMB),
    "a.zip size that lies": (lambda out: patched(zipped({"c/a.mp4": bytes(999)}), sized(999), sized(9)), "damaged"),
    "a.zip encrypted": (lambda out: patched(zip_of("c/a.mp4"), FLAGS + b"\0\0", FLAGS + b"\1\0"), "is encrypted"),
    "a.zip one name twice": (lambda out: zipped({"c/a.mp4": b"x", "d/c/a.mp4": b"y"}), "is there, and is not what"),
    "a.rar parent": (lambda out: rar4([RarMember(UP, b"x")]), OUT),
    "a.rar link": (lambda out: rar4([RarMember("c/a.mp4", UP.encode(), 0o120777)]), "a link"),
    "a.rar 5 link": (lambda out: rar5([RarMember("c/a.mp4", link=(1, UP))]), "a link"),
    "a.rar 5 hard link": (lambda out: rar5([RarMember("c/a.mp4", link=(4, f"{out}/secret.mp4"))]), "a link"),
    "a.rar 5 absolute": (lambda out: rar5([RarMember(f"{out}/secret.mp4", b"x")]), OUT),
    "a.rar size that lies": (lambda out: rar5([RarMember("c/a.mp4", b"x", promised=10**12)]), "damaged"),
}  # fmt: skip


@pytest.fixture
def outside(tmp_path):
    """A folder with what must stay as it is; the root is in a folder of it."""
    write(tmp_path, {SECRET: "mine", "sub/keep.txt": "mine"})
    return tmp_path


@pytest.mark.parametrize("case", MALICIOUS)
def test_nothing_is_written_outside_of_the_root(case, prepare, outside):
    make, message = MALICIOUS[case]
    (outside / "source").mkdir()
    archive = outside / "source" / case.split()[0]
    archive.write_bytes(make(str(outside)))
    before = content(outside)
    root = outside / "sub" / "root"
    code, _ = prepare("folder", "--source", archive, "--root", root)
    assert str(code).startswith("error: ")
    assert message in code
    assert str(archive) in code
    assert "\n" not in code
    after = {name: data for name, data in content(outside).items() if not name.startswith("sub/root/")}
    assert after == before
    assert all(not path.is_symlink() and path.stat().st_nlink == 1 for path in root.rglob("*") if not path.is_dir())
    assert sum(len(data) for data in content(root).values()) < 10_000
    assert not list(root.glob(".actionalign/unfinished/*scratch*"))


def test_limits_are_flags(prepare, tmp_path):
    videos = {f"{name}/{i}.mp4": video("mp4", 600 + i) for name in "ab" for i in range(4)}
    source = write(tmp_path / "s", {"a.zip": zipped(videos), "b.tar": tar({"c/a.mp4": bytes(2 * 2**20)}, "w:")})
    root = tmp_path / "root"
    for flags, name in (
        (["--max_archive_files", 7], "max_archive_files"), (["--max_archive_megabytes", 1], "max_archive_megabytes"),
    ):  # fmt: skip
        code, _ = prepare("folder", "--source", source, "--root", root, "--workers", 1, *flags)
        assert f"raise --{name} if it is genuine" in code
    (source / "b.tar").write_bytes(tar({"c/a.mp4": ZEROS}))
    assert "raise --max_archive_ratio" in prepare("folder", "--source", source, "--root", root)[0]
    (source / "b.tar").unlink()
    assert prepare("folder", "--source", source, "--root", root, "--max_archive_files", 8)[0] == 0


def test_what_no_class_folder_holds_is_said_and_what_systems_add_is_not(prepare, tmp_path):
    videos = {f"{name}/{i}.mp4": video("mp4", 600 + i) for name in "ab" for i in range(3)}
    added = {"__MACOSX/a/._1.mp4": b"x", "a/._1.mp4": b"x", "a/Thumbs.db": b"x"}
    source = write(
        tmp_path / "s", {"a.zip": zipped({**videos, **added, "alone.mp4": b"x"}), "b/own.mp4": video("mp4", 9)}
    )
    code, out = prepare("folder", "--source", source, "--root", tmp_path / "root")
    assert code == 0
    assert out.startswith("1 files of --source are in no table or in no folder of a class, such as alone.mp4\n")
    placed = {name.removeprefix("videos/") for name in content(tmp_path / "root") if name.startswith("videos/")}
    assert placed == {*videos, "b/own.mp4"}


def test_an_archive_in_an_archive_is_opened_once_and_counted(prepare, tmp_path):
    inner = rar4([RarMember("wave/a.rar", rar4([RarMember("wave/deep.avi", b"x")])), RarMember("wave/b.avi", b"x")])
    splits = rar4([RarMember(f"t/wave_test_split{i}.txt", b"b.avi 1\nb.avi 2\n") for i in (1, 2, 3)])
    source = write(
        tmp_path / "s", {"hmdb51_org.rar": rar4([RarMember("wave.rar", inner)]), "test_train_splits.rar": splits}
    )
    root = tmp_path / "root"
    code, _ = prepare("hmdb51", "--source", source, "--root", root)
    assert "unusable: 1 listed videos do not decode" in code
    assert [name for name in content(root) if name.startswith("videos/")] == ["videos/wave/b.avi"]
    bad = rar4([RarMember("wave.rar", rar5([RarMember("wave/a.avi", link=(1, "/etc"))]))])
    (source / "hmdb51_org.rar").write_bytes(bad)
    assert "a link" in prepare("hmdb51", "--source", source, "--root", tmp_path / "other")[0]
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("wave/a.avi", ZEROS)
    (source / "hmdb51_org.rar").write_bytes(rar4([RarMember("wave.rar", bomb.getvalue())]))
    code, _ = prepare("hmdb51", "--source", source, "--root", tmp_path / "third")
    assert f"{source}/hmdb51_org.rar unpacks to more than its size times 20" in code
    secret = patched(zip_of("wave/a.avi"), FLAGS + b"\0\0", FLAGS + b"\1\0")
    (source / "hmdb51_org.rar").write_bytes(rar4([RarMember("wave.rar", secret)]))
    code, _ = prepare("hmdb51", "--source", source, "--root", tmp_path / "fourth")
    assert code.startswith(f"error: wave.rar of {source}/hmdb51_org.rar is encrypted")


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "rar"])
@pytest.mark.parametrize("damage", ["cut", "changed", "garbage"])
def test_damaged_archives(suffix, damage, prepare, tmp_path):
    videos = {f"{name}/{i}.mp4": video("mp4", 600 + i) for name in "ab" for i in range(3)}
    made = {
        "zip": zipped(videos), "tar": tar(videos, "w:"), "tar.gz": tar(videos),
        "rar": rar4([RarMember(*item) for item in videos.items()]),
    }[suffix]  # fmt: skip
    half = len(made) // 2
    start = made.rindex(b"b/0.mp4" if suffix == "tar" else b"", 0, half + 4000) if suffix == "tar" else half
    data = {
        "cut": made[:half], "changed": made[:start] + b"\xff" * 64 + made[start + 64 :], "garbage": b"garbage" * 1000,
    }[damage]  # fmt: skip
    source = write(tmp_path / "s", {f"a.{suffix}": data})
    code, _ = prepare("folder", "--source", source, "--root", tmp_path / "root")
    assert str(code).startswith("error: ")
    assert "damaged" in code
    assert "\n" not in code
    (source / f"a.{suffix}").write_bytes(made)
    code, _ = prepare("folder", "--source", source, "--root", tmp_path / "root")
    if code:  # a damage that was seen after its file, as the checksum of a gzip comes last
        assert damage == "changed"
        assert suffix == "tar.gz"
        Path(re.fullmatch("error: (.*) is there, and is not what .*", code)[1]).unlink()
        assert prepare("folder", "--source", source, "--root", tmp_path / "root")[0] == 0
    assert {name.removeprefix("videos/") for name in content(tmp_path / "root")} >= videos.keys()


def test_a_folder_of_the_root_that_leads_out_is_not_written_through(prepare, outside):
    source = write(outside / "s", {"a.zip": zipped({f"c/{i}.mp4": video("mp4", i) for i in range(3)})})
    root = write(outside / "root", {})
    (root / "videos").mkdir(parents=True)
    (root / "videos" / "c").symlink_to(outside / "sub")
    assert (
        f"is not inside of {root}, for a link in it: let the whole folder lie where there is room"
        in prepare("folder", "--source", source, "--root", root)[0]
    )
    assert [path.name for path in (outside / "sub").iterdir()] == ["keep.txt"]


def test_what_is_in_the_way_stays(prepare, tmp_path):
    source = write(tmp_path / "s", {"a.zip": zipped({f"{c}/{i}.mp4": video("mp4", i) for c in "ab" for i in range(3)})})
    root = write(tmp_path / "root", {"videos/a/1.mp4": "mine", "annotations/classes.txt": "mine"})
    assert (
        f"{root}/videos/a/1.mp4 is there, and is not what" in prepare("folder", "--source", source, "--root", root)[0]
    )
    assert (root / "videos/a/1.mp4").read_text() == "mine"
    (root / "videos/a/1.mp4").write_bytes(video("mp4", 1))
    assert "classes.txt was not written by this program" in prepare("folder", "--source", source, "--root", root)[0]
    (root / "annotations/classes.txt").unlink()
    assert prepare("folder", "--source", source, "--root", root)[0] == 0


def test_a_compressed_rar_says_what_reads_it(prepare, tmp_path, monkeypatch):
    rarfile = pytest.importorskip("rarfile")
    source = write(tmp_path / "s", {"a.rar": rar4([RarMember("c/a.mp4", b"x" * 100, method=3)])})
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(rarfile, "CURRENT_SETUP", None)
    code, _ = prepare("folder", "--source", source, "--root", tmp_path / "root")
    assert "is compressed, and no program reads that here: apt install unrar" in code
    monkeypatch.setitem(__import__("sys").modules, "rarfile", None)
    assert (
        "needs rarfile: pip install -r requirements-prepare.txt"
        in prepare("folder", "--source", source, "--root", tmp_path / "root")[0]
    )


@pytest.fixture
def unrar(tmp_path, monkeypatch):
    """A stand-in for unrar, which prints the file that is returned, and then sleeps."""
    rarfile = pytest.importorskip("rarfile")
    script = f"#!/bin/sh\nif [ -f {tmp_path}/out ]; then cat {tmp_path}/out; exec sleep 600; fi\n"
    program = write(tmp_path / "bin", {"unrar": script})
    (program / "unrar").chmod(0o755)
    monkeypatch.setenv("PATH", f"{program}:{os.environ['PATH']}")
    monkeypatch.setattr(rarfile, "CURRENT_SETUP", None)
    rarfile.tool_setup()
    return tmp_path / "out"


@pytest.mark.parametrize("wrong", ["", "checksum", "short"])
def test_a_compressed_rar_is_read_from_one_process(prepare, tmp_path, unrar, wrong):
    """Each member is compressed by what is before it, and one of them is not asked for."""
    videos = {f"{c}/{i}.mp4": video("mp4", 900 + i) for c in "ab" for i in range(3)}
    packed = {"a/notes.txt": b"n" * 3000, **videos}
    source = write(tmp_path / "s", {"a.rar": rar4([RarMember(*item, method=3) for item in packed.items()])})
    out = b"".join(packed.values())
    unrar.write_bytes({"": out, "checksum": out[:-1] + b"!", "short": out[:-9]}[wrong])
    started = time.monotonic()
    if wrong == "short":
        (unrar.parent / "bin" / "unrar").write_text(f"#!/bin/sh\ncat {unrar}\n")
    code, _ = prepare("folder", "--source", source, "--root", tmp_path / "root")
    assert time.monotonic() - started < 60
    if wrong:
        assert "b/2.mp4 in a rar is damaged, or is more than unrar can do" in code
        return
    assert code == 0
    found = {name: data for name, data in content(tmp_path / "root").items() if name.startswith("videos/")}
    assert found == {f"videos/{name}": data for name, data in videos.items()}


def test_a_tar_in_pieces_is_read_as_a_stream(tmp_path):
    """No piece is opened before the one before it is read, and nothing of it is written."""
    content_of_tar = tar({f"c/{i}.mp4": os.urandom(400_000) for i in range(10)})
    write(tmp_path, in_pieces(content_of_tar, "p", 5))
    pieces = tuple(Piece(path) for path in sorted(tmp_path.iterdir()))
    opened = []
    archive = Archive(
        tuple(
            type("Seen", (Piece,), {"open": lambda self: opened.append(self) or Piece.open(self)})(p.path)
            for p in pieces
        )
    )
    found = members(archive, Unpacking())
    next(found)
    assert len(opened) == 2  # one look for the format, one to read
    assert len(list(found)) == 9
    assert len(opened) == 6
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("name", ["a/b.mp4", "./a//b.mp4", "a\\b.mp4", "a/./b.mp4"])
def test_names_that_are_safe(name):
    assert safe_parts(name, "x") == ("a", "b.mp4")


def test_annotation_files_are_held_against_the_limits(prepare, tmp_path):
    """Each of them is below the size that one may have."""
    videos = {f"20bn-something-something-v2/{number}.webm": b"x" for number in range(3)}
    labels = {f"{number}/train.json": bytes(20 * 2**20) for number in range(3)}
    source = write(tmp_path / "s", {**in_pieces(tar(videos), "20bn-something-something-v2"), "labels.zip": b""})
    flags = ("something-v2", "--source", source, "--root", tmp_path / "root")
    (source / "labels.zip").write_bytes(zipped(labels))
    assert "labels.zip unpacks to more than its size times 20" in prepare(*flags)[0]
    (source / "labels.zip").write_bytes(zipped({f"{number}.txt": b"" for number in range(9)}))
    assert "more files than 8" in prepare(*flags, "--max_archive_files", 8)[0]


def padded_pieces(folder):
    """A tar whose first piece comes in a zip, and ends in zeros, which gzip passes over."""
    packed = tar({"c/a.mp4": b"x"}) + bytes(2 * 2**20)
    write(folder, {"20bn-something-something-v2-00.zip": zipped({"20bn-something-something-v2-00": packed})})
    path = folder / "20bn-something-something-v2-00.zip"
    return Archive((Piece(path, "20bn-something-something-v2-00"),))


def test_padding_in_a_zip_of_a_piece_is_metered_and_can_be_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FREE", 2**20)
    archive = padded_pieces(tmp_path)
    with pytest.raises(ArchiveError, match="unpacks to more than its size times 20"):
        list(members(archive, Unpacking()))
    checks = []

    def check():
        checks.append(1)
        if len(checks) == 2:
            raise UserError("stopped")

    with pytest.raises(UserError, match="stopped"):
        list(members(archive, Unpacking(max_archive_ratio=10_000), check))


def test_a_name_of_utf8_or_gbk_without_the_flag(prepare, tmp_path):
    """As plain zip of Linux writes them, and a Chinese Windows; names of other code pages are as they are stored."""
    names = ("打架", "走路")
    expected = {f"videos/{name}/{i}.mp4" for name in names for i in range(3)}
    for encoding in ("utf-8", "gb18030"):
        stored = [f"{name}/{i}.mp4".encode(encoding).decode("cp437") for name in names for i in range(3)]
        data = zipped_without_flag({name: video("mp4", 40 + i) for i, name in enumerate(stored)})
        source = write(tmp_path / encoding, {"a.zip": data})
        root = tmp_path / f"{encoding} root"
        assert prepare("folder", "--source", source, "--root", root)[0] == 0
        assert {name for name in content(root) if name.startswith("videos/")} == expected
    source = write(tmp_path / "s", {"a.zip": zipped_without_flag({"caf\xe9.mp4": b"x"})})
    assert [member.name for member in members(Archive((Piece(source / "a.zip"),)), Unpacking())] == ["caf\xe9.mp4"]


def zipped_without_flag(files):
    """A zip whose names are in the code page of DOS."""

    encode = {"_encodeFilenameFlags": lambda info: (info.filename.encode("cp437"), info.flag_bits)}
    info = type("Info", (zipfile.ZipInfo,), encode)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, data in files.items():
            file.writestr(info(name), data)
    return out.getvalue()
