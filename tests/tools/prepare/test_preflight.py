"""The check: what it counts, what makes a data set unusable, and the way on."""

import shutil
from pathlib import Path

import pytest

from tests.tools.prepare import miniatures
from tests.tools.prepare.conftest import content
from tools.prepare import preflight

DOCUMENTS = Path(__file__).resolve().parents[3] / "docs"
OFFICIAL = Path(__file__).resolve().parents[4] / "shared" / "annotations" / "ucf101"


def test_frames_classes_and_counts(prepare, tmp_path):
    source, root = miniatures.jester(tmp_path / "source"), tmp_path / "root"
    _, out = prepare("jester", "--source", source, "--root", root)
    assert out.splitlines() == [
        "list            official  annotated    listed   absent",
        "train    1       118,562          2         2        0  <- not the official number",
        "val      1        14,787          2         2        0  <- not the official number",
        "test     1        14,743          1         1        0  <- not the official number",
        "train 1: 2 of 27 classes (not Swiping Right, ...), 1 (Swiping Left) to 1 (Swiping Left) videos of each",
        "train 1: 2 of 2 looked at, 0 do not decode; frames 5 / 5.5 / 6 (min / median / max)",
        "val 1: 2 of 27 classes (not Swiping Right, ...), 1 (Swiping Left) to 1 (Swiping Left) videos of each",
        "val 1: 2 of 2 looked at, 0 do not decode; frames 7 / 7.5 / 8 (min / median / max)",
        "split 1: near duplicates between train and val: 0 of 2 videos of val",
        "",
        "next:",
        f"python train.py --preset jester_tsm_r50 --dataset_root {root}",
    ]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_document_shows_what_is_printed(prepare, tmp_path, monkeypatch, language):
    monkeypatch.chdir(tmp_path)
    miniatures.ucf101(tmp_path / "downloads/ucf101")
    text = (DOCUMENTS / language / "prepare.md").read_text(encoding="utf-8")
    block = text.partition("```\n$ python -m tools.prepare ")[2].partition("```")[0]
    line, _, shown = block.partition("\n")
    assert prepare(*line.split()) == (0, shown)


def test_what_does_not_decode_makes_it_unusable_until_it_is_left_out(prepare, tmp_path):
    source, root = miniatures.ucf101(tmp_path / "source"), tmp_path / "root"
    assert prepare("ucf101", "--source", source, "--root", root)[0] == 0
    video = root / "videos/HammerThrow/v_HammerThrow_g01_c02.avi"
    video.write_bytes(video.read_bytes()[:3000])
    code, out = prepare("ucf101", "--root", root, "--check")
    assert code.startswith("error: unusable: 1 listed videos do not decode, such as ")
    assert f"prepare again with --leave_out {root}/annotations/undecodable.txt" in code
    assert "train 2: 8 of 8 looked at, 1 do not decode" in out
    assert "python train.py" not in out
    broken = root / "annotations/undecodable.txt"
    assert broken.read_text() == "HammerThrow/v_HammerThrow_g01_c02.avi\n"
    listed = tmp_path / "left out.txt"
    shutil.copy(broken, listed)
    code, _ = prepare("ucf101", "--source", source, "--root", root, "--leave_out", listed)
    assert f"{video} is there, and is not what" in code
    video.unlink()
    code, out = prepare("ucf101", "--source", source, "--root", root, "--leave_out", listed)
    assert code == 0
    assert "val      1         3,783          8         7        1" in out
    assert not [name for name, data in content(root).items() if "split" in name and b"HammerThrow_g01_c02" in data]
    (root / "videos/Hammering/v_Hammering_g02_c01.avi").write_bytes(b"")
    assert "unusable: 1 listed" in prepare("ucf101", "--root", root, "--check")[0]
    assert broken.read_text().split() == [
        "HammerThrow/v_HammerThrow_g01_c02.avi", "Hammering/v_Hammering_g02_c01.avi",
    ]  # fmt: skip
    (root / "videos/Hammering/v_Hammering_g02_c01.avi").unlink()
    lines = listed.read_text() + "Hammering/v_Hammering_g02_c01.avi 34\nvideos/Hammering/v_Hammering_g02_c01.avi\n"
    listed.write_text(lines, encoding="utf-8-sig")
    code, out = prepare("ucf101", "--source", source, "--root", root, "--leave_out", listed)
    assert out.startswith(
        "2 of 3 lines of --leave_out name nothing that is there, such as Hammering/v_Hammering_g02_c01.avi 34: "
    )
    flags = ("--source", source, "--root", root, "--leave_out", "nowhere")
    assert "cannot read nowhere" in prepare("ucf101", *flags)[0]


def test_a_sample_is_said_to_be_one(prepare, tmp_path, monkeypatch):
    source, root = miniatures.ucf101(tmp_path / "source"), tmp_path / "root"
    monkeypatch.setattr(preflight, "SAMPLE", 3)
    monkeypatch.setattr(preflight, "SMALL", 47)
    _, out = prepare("ucf101", "--source", source, "--root", root)
    assert "train 1: 3 of 8 looked at" in out
    assert "split 1: near duplicates between train and val: not looked for in a sample; --decode all does" in out
    _, out = prepare("ucf101", "--root", root, "--check", "--decode", "all")
    assert "train 1: 8 of 8 looked at" in out
    assert "split 3: near duplicates between train and val: 0 of 8 videos of val" in out
    monkeypatch.setattr(preflight, "SMALL", 48)
    assert prepare("ucf101", "--root", root, "--check") == (0, out)


def test_what_is_gone_is_found_by_the_check_and_brought_back(prepare, tmp_path):
    source, root = miniatures.something_v1(tmp_path / "source"), tmp_path / "root"
    assert prepare("something-v1", "--source", source, "--root", root)[0] == 0
    before = content(root)
    (root / "rawframes/2/00003.jpg").unlink()
    assert "has a gap" in prepare("something-v1", "--root", root, "--check")[0]
    (root / "annotations/undecodable.txt").unlink()
    shutil.rmtree(root / "rawframes/3")
    assert "1 of 2 entries are not in" in prepare("something-v1", "--root", root, "--check")[0]
    assert prepare("something-v1", "--source", source, "--root", root)[0] == 0
    assert content(root) == before


def test_a_subset_without_a_video_is_unusable(prepare, tmp_path):
    source, root = miniatures.kinetics400(tmp_path / "source"), tmp_path / "root"
    (source / "val/part_0.tar.gz").unlink()
    code, out = prepare("kinetics400", "--source", source, "--root", root)
    assert "kinetics400_val_split_1_videos.txt holds no video" in code
    assert "val      1             -          2         0        2" in out


def test_class_names_that_are_gone(prepare, tmp_path):
    source, root = miniatures.jester(tmp_path / "source"), tmp_path / "root"
    assert prepare("jester", "--source", source, "--root", root)[0] == 0
    (root / "annotations/classes.txt").unlink()
    assert "annotations/classes.txt has 0 names: prepare again" in prepare("jester", "--root", root, "--check")[0]


def test_nothing_prepared(prepare, tmp_path):
    assert (
        "holds no ucf101 that this command has prepared: give --source"
        in prepare("ucf101", "--root", tmp_path, "--check")[0]
    )


@pytest.mark.whole
@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="needs ../shared/annotations")
def test_the_official_lists_of_ucf101_give_the_official_numbers(prepare, tmp_path):
    """All 13,320 names; each video is a second name of the same one."""
    source, root = tmp_path / "source", tmp_path / "root"
    first = miniatures.write(source, {"video": miniatures.video("avi", 1)}) / "video"
    for path in OFFICIAL.glob("*list0?.txt"):
        shutil.copy(path, source)
        for line in path.read_text().splitlines():
            place = source / "UCF-101" / line.split()[0]
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.hardlink_to(first)
    shutil.copy(OFFICIAL / "classInd.txt", source)
    code, out = prepare("ucf101", "--source", source, "--root", root)
    assert code == 0
    assert "not the official number" not in out
    for subset, numbers in (("train", (9537, 9586, 9624)), ("val", (3783, 3734, 3696))):
        for split, number in enumerate(numbers, start=1):
            assert f"{subset:<8} {split}{number:>14,}{number:>11,}{number:>10,}        0\n" in out
            lines = (root / "annotations" / f"ucf101_{subset}_split_{split}_videos.txt").read_text().splitlines()
            assert len(lines) == len(set(lines)) == number
    assert "101 of 101 classes" in out
