"""Each release in small, packed as its site packs it: what comes out is read by `datasets` and decodes."""

import os
import shlex
import shutil

import av
import cv2
import numpy as np
import pytest
import rarfile
import simplejpeg

from configs.presets import PRESETS
from datasets import known_class_names, load_annotation
from datasets.decode import open_source
from runtime.errors import UserError
from tests.datasets.media import decode_in_order, moving_frames
from tests.tools.prepare import miniatures
from tests.tools.prepare.conftest import content
from tools.prepare.release import Release
from tools.prepare.releases import RELEASES

MAKE = {
    "ucf101": miniatures.ucf101, "hmdb51": miniatures.hmdb51, "kinetics400": miniatures.kinetics400,
    "something-v1": miniatures.something_v1, "something-v2": miniatures.something_v2, "jester": miniatures.jester,
    "folder": miniatures.own_folder,
}  # fmt: skip


def lines(root, name):
    return (root / "annotations" / name).read_text(encoding="utf-8").splitlines()


def stamps(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.name not in ("lock", ".actionalign")}


def test_every_release_is_here():
    assert MAKE.keys() == {name for name, release in RELEASES.items() if isinstance(release, Release)}


@pytest.mark.parametrize("name", MAKE)
def test_what_comes_out_is_read_and_decodes_and_a_second_run_changes_nothing(name, prepare, tmp_path):
    source, root = MAKE[name](tmp_path / "source"), tmp_path / "root"
    code, out = prepare(name, "--source", source, "--root", root)
    assert code == 0, code
    for subset in ("train", "val"):
        annotation = load_annotation(str(root), subset)
        assert annotation.entries
        for entry in annotation.entries[:2]:
            with open_source(entry.path, entry.num_frames) as media:
                assert len(media.read(range(media.num_frames))) == media.num_frames > 3
    before = content(root)
    media = {path: time for path, time in stamps(root).items() if path.suffix in (".avi", ".mp4", ".webm", ".jpg")}
    assert prepare(name, "--source", source, "--root", root) == (0, out)
    assert content(root) == before
    assert media.items() <= stamps(root).items()
    code, again = prepare(name, "--root", root, "--check")
    assert (code, again) == (0, out)
    words = shlex.split(out.splitlines()[-1])
    assert words[:2] == ["python", "train.py"]
    assert words[words.index("--preset") + 1] in PRESETS
    assert words[words.index("--dataset_root") + 1] == str(root)


def test_ucf101(prepare, tmp_path):
    source, root = miniatures.ucf101(tmp_path / "source"), tmp_path / "root"
    code, out = prepare("ucf101", "--source", source, "--root", root)
    assert code == 0
    assert lines(root, "classes.txt") == list(known_class_names("ucf101"))
    names = known_class_names("ucf101")
    for split, val_group in ((1, "_g01_"), (2, "_g02_"), (3, "_g01_")):
        for subset in ("train", "val"):
            listed = [line.rsplit(" ", 1) for line in lines(root, f"ucf101_{subset}_split_{split}_videos.txt")]
            assert len(listed) == 8
            assert all((val_group in path) is (subset == "val") for path, _ in listed)
            assert all(names[int(label)] == path.split("/")[0] for path, label in listed)
    videos = {path: data for path, data in content(root).items() if path.startswith("videos/")}
    assert videos == {f"videos/{path}": data for path, data in miniatures.ucf101_videos().items()}
    assert "HandstandPushups/v_HandStandPushups_g01_c01.avi 36" in lines(root, "ucf101_val_split_1_videos.txt")
    assert "train    1         9,537          8         8        0  <- not the official number" in out
    assert out.splitlines()[-1].endswith("--preset ucf101_mvf_r50 --dataset_root " + f"{root} --split 1")


def test_an_unpacked_folder_gives_the_same_as_the_archives(prepare, tmp_path):
    packed = miniatures.ucf101(tmp_path / "packed")
    videos = {f"UCF-101/{name}": data for name, data in miniatures.ucf101_videos().items()}
    texts = {f"ucfTrainTestlist/{name}": text for name, text in miniatures.ucf101_texts().items()}
    unpacked = miniatures.write(tmp_path / "un packed", {**videos, **texts, "UCF-101/.DS_Store": b""})
    results = []
    for source in (packed, unpacked):
        assert prepare("ucf101", "--source", source, "--root", tmp_path / source.name / "r" / ".." / "root")[0] != 0
        root = tmp_path / f"{source.name} root"
        assert prepare("ucf101", "--source", source, "--root", root)[0] == 0
        found = content(root)
        found.pop("prepared.json")
        results.append(found)
    assert results[0] == results[1]
    video = "UCF-101/Hammering/v_Hammering_g01_c01.avi"
    assert (tmp_path / "un packed root" / video.replace("UCF-101", "videos")).samefile(unpacked / video)


def test_another_disk_gets_copies(prepare, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    source = miniatures.own_folder(tmp_path / "source")
    assert prepare("folder", "--source", source, "--root", tmp_path / "root")[0] == 0
    name = "fight/camera00_a.mp4"
    assert (tmp_path / "root/videos" / name).read_bytes() == (source / name).read_bytes()
    assert not (tmp_path / "root/videos" / name).samefile(source / name)
    assert prepare("folder", "--source", source, "--root", tmp_path / "root")[0] == 0


def test_hmdb51_has_rars_in_a_rar_and_names_that_shells_dislike(prepare, tmp_path):
    source, root = miniatures.hmdb51(tmp_path / "source"), tmp_path / "root"
    assert prepare("hmdb51", "--source", source, "--root", root)[0] == 0
    first, second, third = (f"cartwheel/{name.format('cartwheel')}.avi" for name in miniatures.HMDB51_NAMES)
    assert {f"{first} 1", f"{second} 1"} <= set(lines(root, "hmdb51_train_split_3_videos.txt"))
    assert f"{third} 1" in lines(root, "hmdb51_val_split_3_videos.txt")
    assert f"{second} 1" in lines(root, "hmdb51_val_split_2_videos.txt")
    assert not [line for path in (root / "annotations").iterdir() for line in path.read_text() if "unused" in line]
    assert {path.split("/")[-1] for path in content(root) if "unused_wave" in path} == {"unused_wave_0.avi"}
    assert not list((root / ".actionalign" / "unfinished").glob("scratch*"))


def test_split_files_of_hmdb51_in_another_case(prepare, tmp_path):
    source, root = miniatures.hmdb51(tmp_path / "source"), tmp_path / "root"
    with rarfile.RarFile(source / "test_train_splits.rar") as file:
        texts = {name.replace("_split1.txt", "_split1.TXT"): file.read(name) for name in file.namelist()}
    (source / "test_train_splits.rar").unlink()
    miniatures.write(source, texts)
    assert prepare("hmdb51", "--source", source, "--root", root)[0] == 0
    assert len(lines(root, "hmdb51_train_split_1_videos.txt")) == 6


def test_hmdb51_of_which_the_outer_rar_is_unpacked(prepare, tmp_path):
    packed, root = miniatures.hmdb51(tmp_path / "packed"), tmp_path / "root"
    assert prepare("hmdb51", "--source", packed, "--root", root)[0] == 0
    source = tmp_path / "unpacked"
    with rarfile.RarFile(packed / "hmdb51_org.rar") as outer:
        miniatures.write(source, {name: outer.read(name) for name in outer.namelist()})
    shutil.copy(packed / "test_train_splits.rar", source)
    assert prepare("hmdb51", "--source", source, "--root", tmp_path / "other")[0] == 0
    first, second = content(root), content(tmp_path / "other")
    assert first.pop("prepared.json") != second.pop("prepared.json")
    assert first == second


@pytest.mark.parametrize("test_has_labels", [False, True])
def test_kinetics_counts_what_is_absent_and_takes_what_was_repaired(prepare, tmp_path, test_has_labels):
    source, root = miniatures.kinetics400(tmp_path / "source", test_has_labels), tmp_path / "root"
    code, out = prepare("kinetics400", "--source", source, "--root", root)
    assert code == 0
    names = known_class_names("kinetics400")
    assert lines(root, "kinetics400_train_split_1_videos.txt") == [
        f"air_drumming/-_abcdefgh0_000000_000010.mp4 {names.index('air drumming')}",
        f"replacement/-_abcdefgh1_000001_000011.mp4 {names.index('zumba')}",
    ]
    assert lines(root, "kinetics400_train_list_videos.txt") == lines(root, "kinetics400_train_split_1_videos.txt")
    assert "train    1             -          3         2        1" in out
    label, folder = (f" {names.index('zumba')}", "zumba") if test_has_labels else ("", "test")
    assert lines(root, "kinetics400_test_list_videos.txt") == [f"{folder}/-_abcdefgh5_000005_000015.mp4{label}"]
    assert lines(root, "classes.txt") == list(names)


def test_clips_of_kinetics_differ_by_case(prepare, tmp_path):
    source, root = miniatures.kinetics400(tmp_path / "source"), tmp_path / "root"
    with (source / "annotations/train.csv").open("a") as file:
        file.write("zumba,-_ABCDEFGH1,1,11,train,0\n")
    (source / "train/part_0.tar.gz.md5").write_text("0  part_0.tar.gz")
    code, out = prepare("kinetics400", "--source", source, "--root", root)
    assert code == 0
    assert "train    1             -          4         2        2" in out


def test_a_clip_of_kinetics_that_the_test_names_too(prepare, tmp_path):
    source, root = miniatures.kinetics400(tmp_path / "source"), tmp_path / "root"
    with (source / "annotations/test.csv").open("a") as file:
        file.write("-_abcdefgh0,0,10,test,0\n")
    assert prepare("kinetics400", "--source", source, "--root", root)[0] == 0
    assert lines(root, "kinetics400_train_list_videos.txt")[0].startswith("air_drumming/-_abcdefgh0_")
    assert any(line.startswith("air_drumming/") for line in lines(root, "kinetics400_test_list_videos.txt"))


def test_kinetics_with_tables_that_come_later(prepare, tmp_path):
    """The archives of what no table named are read again, and two of one name and size are two."""
    source, root = miniatures.kinetics400(tmp_path / "source"), tmp_path / "root"
    table = (source / "annotations/test.csv").read_text()
    (source / "annotations/test.csv").unlink()
    sizes = [len((source / f"{subset}/part_0.tar.gz").read_bytes()) for subset in ("train", "val", "test")]
    for subset, size in zip(("train", "val", "test"), sizes, strict=True):
        with (source / f"{subset}/part_0.tar.gz").open("ab") as file:
            file.write(bytes(max(sizes) - size))
    code, out = prepare("kinetics400", "--source", source, "--root", root)
    assert code == 0
    assert "1 files of --source are in no table" in out
    (source / "annotations/test.csv").write_text(table)
    assert prepare("kinetics400", "--source", source, "--root", root)[0] == 0
    assert len(lines(root, "kinetics400_test_list_videos.txt")) == 1


def test_kinetics_in_class_folders_with_spaces(prepare, tmp_path):
    source, root = miniatures.kinetics400(tmp_path / "source"), tmp_path / "root"
    for path in (source / "train").iterdir():
        path.unlink()
    video = "train/massaging person's head/-_abcdefgh2_000002_000012.mp4"
    stranger = "train/zumba/-_strangers_000002_000012.mp4"
    miniatures.write(source, {video: miniatures.video("mp4", 202), stranger: miniatures.video("mp4", 203)})
    code, out = prepare("kinetics400", "--source", source, "--root", root)
    assert code == 0
    assert any(
        line.startswith("massaging_person's_head/-_abc") for line in lines(root, "kinetics400_train_split_1_videos.txt")
    )
    assert "1 files of --source are in no table" in out
    assert "_strangers_" in out


@pytest.mark.parametrize("in_zips", [False, True])
def test_something_v2_comes_in_pieces_or_in_zips_of_pieces(prepare, tmp_path, in_zips):
    source, root = miniatures.something_v2(tmp_path / "source", in_zips), tmp_path / "root"
    assert prepare("something-v2", "--source", source, "--root", root)[0] == 0
    names = known_class_names("something_v2")
    labels = [names.index(name) for name in miniatures.SOMETHING]
    assert lines(root, "sthv2_train_split_1_videos.txt") == [f"{i + 1}.webm {label}" for i, label in enumerate(labels)]
    assert lines(root, "sthv2_val_list_videos.txt") == [f"{i + 4}.webm {label}" for i, label in enumerate(labels)]
    assert lines(root, "sthv2_test_list_videos.txt") == ["7.webm"]
    assert (root / "videos/7.webm").read_bytes() == miniatures.video("webm", 307)


def test_pieces_are_counted_by_their_numbers(prepare, tmp_path):
    source, root = miniatures.something_v2(tmp_path / "source"), tmp_path / "root"
    prefix = "20bn-something-something-v2"
    content_of_tar = b"".join(path.read_bytes() for path in sorted(source.glob(f"{prefix}*")))
    for path in source.glob(f"{prefix}-*"):
        path.unlink()
    pieces = miniatures.in_pieces(content_of_tar, prefix, 12)
    miniatures.write(source, {name.replace("-0", "-"): piece for name, piece in pieces.items()})
    assert prepare("something-v2", "--source", source, "--root", root)[0] == 0


def test_an_absent_piece_is_named(prepare, tmp_path):
    source, root = miniatures.something_v2(tmp_path / "source"), tmp_path / "root"
    pieces = sorted(source.glob("20bn*"))
    middle, last = pieces[1].read_bytes(), pieces[2].read_bytes()
    pieces[1].unlink()
    assert (
        "piece 20bn-something-something-v2-01 is not in --source"
        in prepare("something-v2", "--source", source, "--root", root)[0]
    )
    assert not root.exists()
    pieces[1].write_bytes(middle)
    pieces[2].unlink()
    assert "damaged, or lacks its end" in prepare("something-v2", "--source", source, "--root", root)[0]
    pieces[2].write_bytes(last)
    assert prepare("something-v2", "--source", source, "--root", root)[0] == 0


@pytest.mark.parametrize(("name", "prefix"), [("something-v1", "sthv1"), ("jester", "jester")])
def test_releases_of_frames(prepare, tmp_path, name, prefix):
    source, root = MAKE[name](tmp_path / "source"), tmp_path / "root"
    assert prepare(name, "--source", source, "--root", root)[0] == 0
    assert lines(root, f"{prefix}_train_split_1_rawframes.txt") == ["1 5 0", "2 6 6"]
    assert lines(root, f"{prefix}_val_list_rawframes.txt") == ["3 7 0", "4 8 6"]
    assert lines(root, f"{prefix}_test_list_rawframes.txt") == ["5 9"]
    assert (root / "rawframes/1/00003.jpg").read_bytes() == miniatures.frames(401, 5)[2]
    assert "comes as frames" in prepare(name, "--source", source, "--root", tmp_path / "other", "--frames")[0]


@pytest.mark.parametrize("name", ["something-v1", "jester"])
def test_tables_in_a_zip_under_names_without_the_prefix(prepare, tmp_path, name):
    """As in 20bn-jester-download-package-labels.zip of Qualcomm's site."""
    source = MAKE[name](tmp_path / "source")
    root, other = tmp_path / "root", tmp_path / "other"
    assert prepare(name, "--source", source, "--root", root)[0] == 0
    tables = sorted(source.glob("*.csv"))
    words = {f"labels/{path.name.rpartition('-')[2]}": path.read_bytes() for path in tables}
    answers = {"labels/test-answers.csv": "5;Swiping Left\n"}
    tar_name = sorted(source.glob("20bn*"))[0].name.removesuffix("-v1-00")
    miniatures.write(source, {f"{tar_name}-download-package-labels.zip": miniatures.zipped({**words, **answers})})
    for path in tables:
        path.unlink()
    assert prepare(name, "--source", source, "--root", other)[0] == 0
    assert content(other) == content(root)


def test_jester_in_both_orders(prepare, tmp_path):
    source, root = miniatures.jester(tmp_path / "source"), tmp_path / "root"
    _, out = prepare("jester", "--source", source, "--root", root)
    assert "--flip_pairs" not in out
    assert lines(root, "classes.txt")[:2] == ["Swiping Left", "Swiping Right"]
    _, out = prepare("jester", "--source", source, "--root", root, "--label_order", "alphabetical")
    names = lines(root, "classes.txt")
    assert names == list(known_class_names("jester_alphabetical"))
    swiping, sliding = names.index("Swiping_Left"), names.index("Sliding_Two_Fingers_Left")
    assert lines(root, "jester_train_split_1_rawframes.txt") == [f"1 5 {swiping}", f"2 6 {sliding}"]
    pairs = [
        f"{names.index(f'{motion}_Left')}-{names.index(f'{motion}_Right')}"
        for motion in ("Swiping", "Sliding_Two_Fingers")
    ]
    assert out.splitlines()[-1].endswith(f"--flip_pairs {','.join(pairs)}")


def test_splits(prepare, tmp_path):
    source, root = miniatures.ucf101(tmp_path / "source"), tmp_path / "root"
    code, out = prepare("ucf101", "--source", source, "--root", root, "--splits", "2")
    assert code == 0
    assert {path.name for path in (root / "annotations").iterdir()} == {
        "classes.txt", "ucf101_train_split_2_videos.txt", "ucf101_val_split_2_videos.txt",
    }  # fmt: skip
    assert out.endswith("--split 2\n")
    assert prepare("ucf101", "--source", source, "--root", root, "--splits", "4")[0] == (
        "error: split 4 does not exist: there are 1, 2, 3"
    )
    assert prepare("ucf101", "--source", source, "--root", tmp_path / "other", "--splits", "4")[0] != 0
    assert not (tmp_path / "other").exists()


def test_frames_are_those_of_the_decoder_in_the_template_of_mmaction2(prepare, tmp_path):
    source, root = miniatures.something_v2(tmp_path / "source"), tmp_path / "root"
    flags = ("something-v2", "--source", source, "--root", root, "--frames", "--jpeg_quality", "100")
    assert prepare(*flags)[0] == 0
    folder = root / "rawframes" / "1"
    expected = decode_in_order(root / "videos/1.webm")
    assert sorted(path.name for path in folder.iterdir()) == [f"img_{i:05d}.jpg" for i in range(1, len(expected) + 1)]
    coded = [simplejpeg.encode_jpeg(frame, quality=100, colorsubsampling="420") for frame in expected]
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == coded
    first = int(lines(root, "sthv2_train_split_1_videos.txt")[0].split()[-1])
    assert lines(root, "sthv2_train_split_1_rawframes.txt")[0] == f"1 {len(expected)} {first}"
    assert load_annotation(str(root), "train").source.endswith("rawframes.txt")
    before = content(root)
    assert prepare(*flags)[0] == 0
    assert content(root) == before
    assert "was prepared with --jpeg_quality and --short_side [100, 0], not [95, 0]" in prepare(*flags[:-2])[0]


def test_a_run_without_frames_lists_those_of_the_run_before(prepare, tmp_path):
    """Training reads lists of frames first: they must not stay as they were."""
    source, root = miniatures.own_folder(tmp_path / "source"), tmp_path / "root"
    flags = ("folder", "--source", source, "--root", root)
    assert prepare(*flags, "--frames", "--short_side", 16)[0] == 0
    left_out = lines(root, "folder_train_split_1_videos.txt")[0].rpartition(" ")[0]
    miniatures.write(tmp_path, {"left.txt": f"{left_out}\n"})
    assert prepare(*flags, "--leave_out", tmp_path / "left.txt", "--val_fraction", 0.4)[0] == 0
    for subset in ("train", "val"):
        annotation = load_annotation(str(root), subset)
        assert annotation.source.endswith("rawframes.txt")
        videos = [line.rpartition(".")[0] for line in lines(root, f"folder_{subset}_split_1_videos.txt")]
        assert [entry.path for entry in annotation.entries] == [f"{root}/rawframes/{video}" for video in videos]
        assert left_out.rpartition(".")[0] not in videos
    shutil.rmtree(root / "rawframes/fight/camera01_a")
    miniatures.write(root, {"rawframes/fight/camera01_a/img_00001.jpg": b"no picture"})
    assert prepare(*flags)[0].startswith("error: unusable: 1 listed videos do not decode")
    assert (root / "annotations/undecodable.txt").read_text() == "fight/camera01_a\n"


def test_smaller_frames_and_their_quality(prepare, tmp_path):
    source = miniatures.own_folder(tmp_path / "source")
    sizes = {}
    for quality in (30, 95):
        root = tmp_path / f"{quality}"
        flags = ("--frames", "--short_side", 24, "--jpeg_quality", quality)
        assert prepare("folder", "--source", source, "--root", root, *flags)[0] == 0
        path = root / "rawframes/fight/camera00_a/img_00001.jpg"
        assert cv2.imread(str(path)).shape == (24, 32, 3)
        sizes[quality] = path.stat().st_size
    assert sizes[30] < sizes[95]
    assert prepare("folder", "--source", source, "--root", tmp_path / "large", "--frames", "--short_side", 999)[0] == 0
    assert cv2.imread(str(tmp_path / "large/rawframes/fight/camera00_a/img_00001.jpg")).shape == (48, 64, 3)


def test_reencoding_keeps_the_frames(prepare, tmp_path):
    source, root = miniatures.own_folder(tmp_path / "source"), tmp_path / "root"
    flags = ("folder", "--source", source, "--root", root, "--reencode", "32")
    assert prepare(*flags)[0] == 0
    assert not list((root / "videos").rglob("*.avi"))
    video = root / "videos/normal day/other name 3.mp4"
    with av.open(str(video)) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate) == ("h264", 25)
        assert not file.streams.audio
    original = decode_in_order(root / "originals/normal day/other name 3.avi")
    assert original.shape[1:3] == moving_frames(1).shape[1:3] == (48, 64)
    expected = np.stack([cv2.resize(frame, (42, 32), interpolation=cv2.INTER_AREA) for frame in original])
    found = decode_in_order(video)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 6
    before = content(root)
    assert prepare(*flags)[0] == 0
    assert content(root) == before
    other = tmp_path / "other"
    assert prepare("folder", "--source", source, "--root", other, "--reencode", "32", "--workers", "3")[0] == 0
    assert content(other) == before
    assert "prepared with --reencode 32, not 0" in prepare(*flags[:-2])[0]


def test_a_folder_is_one_data_set(prepare, tmp_path):
    root = tmp_path / "root"
    assert prepare("jester", "--source", miniatures.jester(tmp_path / "a"), "--root", root)[0] == 0
    v1 = miniatures.something_v1(tmp_path / "b")
    assert (
        "was prepared with release jester, not something-v1"
        in prepare("something-v1", "--source", v1, "--root", root)[0]
    )
    assert "holds no ucf101" in prepare("ucf101", "--root", root, "--check")[0]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["ucf101", "--source", "SOURCE"], "folder UCF-101/<class>/v_*.avi); there is a.txt"),
        (["hmdb51", "--source", "SOURCE"], "lacks the videos (hmdb51_org.rar"),
        (["kinetics400", "--source", "SOURCE"], "part_N.tar.gz"),
        (["something-v2", "--source", "nowhere"], "--source nowhere does not exist"),
        (["ucf101"], "give either --source, to prepare, or --check"),
        (["ucf101", "--source", "SOURCE", "--check"], "give either --source"),
        (["folder", "--source", "SOURCE", "--source_pattern", "("], "is no regular expression"),
        (["folder", "--source", "SOURCE", "--val_fraction", "1"], "val_fraction must be above 0 and below 1"),
        (["folder", "--source", "SOURCE", "--reencode", "3"], "reencode must be 0, or at least 16"),
        (["folder", "--source", ".", "--root", "./x"], "name a folder beside it"),
        (["folder", "--source", "SOURCE", "--root", ""], "must be names, not empty"),
        (["folder", "--source", "", "SOURCE"], "must be names, not empty"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(prepare, tmp_path, flags, message):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.txt").write_text("x")
    flags = [flag.replace("SOURCE", str(tmp_path / "source")) for flag in flags]
    code, _ = prepare(*(["--root", tmp_path / "root"] if "--root" not in flags else []), *flags)
    assert str(code).startswith("error: ")
    assert message in code
    assert "\n" not in code
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "message"),
    [
        ("jester", "jester-v1-labels.csv", "Left\nSwiping Right", "Right\nSwiping Left", "official order"),
        ("jester", "jester-v1-train.csv", ";Swiping Left", ";Swiping Lift", "which is none of the 27"),
        ("jester", "jester-v1-train.csv", ";", ",", "must have 2 columns"),
        ("jester", "jester-v1-train.csv", ";", "x" * 140_000, "is no table: field larger than field limit"),
        ("something-v2", "something-something-v2-train.json", "[", "", "is damaged"),
        ("something-v2", "something-something-v2-train.json", '"id"', '"di"', "lacks id"),
        ("something-v2", "something-something-v2-labels.json", '"0"', '"9"', "not the official one"),
        ("kinetics400", "annotations/train.csv", "time_start", "start", "must have the columns"),
        ("kinetics400", "annotations/train.csv", "zumba", "zomba", "none of the 400"),
        ("kinetics400", "annotations/train.csv", "zumba", "x" * 140_000, "is no table: field larger than field limit"),
        ("kinetics400", "annotations/train.csv", ",1,", ",inf,", "must have the columns"),
        ("kinetics400", "annotations/train.csv", ",1,", f",{'9' * 5000},", "must have the columns"),
        ("kinetics400", "annotations/train.csv", "zumba", "", "gives -_abcdefgh1_000001_000011 no label"),
    ],
)  # fmt: skip
def test_annotations_that_are_not_the_official_ones(prepare, tmp_path, name, file, old, new, message):
    source = MAKE[name](tmp_path / "source")
    text = (source / file).read_text()
    assert old in text
    (source / file).write_text(text.replace(old, new, 1))
    assert message in prepare(name, "--source", source, "--root", tmp_path / "root")[0]
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("classInd.txt", "1 ApplyEyeMakeup", "2 ApplyEyeMakeup", "the official one 1"),
        ("trainlist01.txt", ".avi 1\r", ".avi 2\r", "gives ApplyEyeMakeup the number 2"),
        ("testlist02.txt", "/v_", "", "a line must be"),
    ],
)
def test_lists_of_ucf101_that_are_not_the_official_ones(file, old, new, message):
    texts = miniatures.ucf101_texts()
    assert old in texts[file]
    texts[file] = texts[file].replace(old, new, 1)
    with pytest.raises(UserError, match=message):
        RELEASES["ucf101"].annotate(texts, None)


def test_help_answers_without_what_is_heavy():
    import subprocess
    import sys

    code = "import sys, tools.prepare.__main__ as m\ntry: m.main(['--help'])\nexcept SystemExit: pass\n"
    code += "sys.exit(bool({'cv2', 'av', 'numpy', 'paddle', 'rarfile'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0
    assert "--max_archive_ratio" in done.stdout
    assert "official splits to list, as 1,3\n" in done.stdout
