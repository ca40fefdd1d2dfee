"""A data set with something wrong of each kind: all of it is named, and nothing else."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from datasets import checks
from datasets.checks import Examined, examine, twins
from datasets.decode import open_source
from datasets.encode import encode_frames
from tests.datasets.media import write_frames, write_video
from tools import check_videos

CLIPS = Path(__file__).parents[3] / "shared" / "data" / "clips"


@pytest.fixture
def root(tmp_path):
    for number in range(4):
        write_video(tmp_path / "set/train/walk" / f"{number}.mp4", seed=number, count=30, crf="10")
    for number in range(10, 13):
        write_video(tmp_path / "set/val/walk" / f"{number}.mp4", seed=number, count=30, crf="10")
    return tmp_path / "set"


def findings(capsys):
    return [line.split(": ") for line in capsys.readouterr().out.splitlines() if ": " in line]


def test_a_good_set_passes(root, capsys):
    check_videos.main(["--dataset_root", str(root), "--processes", "1"])
    assert capsys.readouterr().out == "4 train, 3 val; 210 frames, 0.1 minutes; 0 findings\n"


def test_everything_that_is_wrong_is_named(root, capsys, tmp_path):
    write_video(root / "val/walk/leak.avi", seed=2, count=30, crf="18")
    write_video(root / "train/walk/again.mkv", seed=1, count=30, crf="18", preset="veryfast")
    write_frames(root / "val/walk/short", count=3, seed=20)
    write_video(root / "train/walk/odd.mp4", seed=30, size=(48, 160))
    whole = write_video(root / "train/walk/broken.mp4", seed=40).read_bytes()
    (root / "train/walk/broken.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Exception, match="2 of the findings spoil results"):
        check_videos.main(["--dataset_root", str(root), "--processes", "2", "--output", str(tmp_path / "page.html")])
    found = findings(capsys)
    names = [[kind, *(path.rpartition("/")[2] for path in paths.split(", "))] for kind, paths, *_ in found[:5]]
    assert names == [
        ["broken", "broken.mp4"], ["train and val", "2.mp4", "leak.avi"], ["twice", "1.mp4", "again.mkv"],
        ["very short", "short"], ["odd size", "odd.mp4"],
    ]  # fmt: skip
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/webp") == 8  # two pairs, moving and still
    assert "leak.avi" in page


def test_pairs_are_found_in_blocks_and_black_videos_are_not_alike(monkeypatch):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (30, 5, 16, 16, 3), dtype=np.uint8)
    small[21] = np.clip(small[4].astype(int) + rng.integers(-8, 9, small[4].shape), 0, 255)
    small[[11, 29]] = 3
    found = [Examined(str(k), "", 9, 25.0, 48, 64, small[k]) for k in range(30)]
    contrast = max(np.sqrt(small[k].reshape(5, -1).var(axis=1).mean()) for k in (4, 21))
    off = np.sqrt(np.square(small[4].astype(float) - small[21]).mean()) / contrast
    for pairs in (30, 70, 10_000):
        monkeypatch.setattr(checks, "PAIRS", pairs)
        assert twins(found) == [(4, 21, pytest.approx(off, rel=1e-4))]


@pytest.mark.skipif(not CLIPS.is_dir(), reason="no real clips beside this checkout")
def test_copies_of_real_clips_are_known_and_others_are_not(tmp_path):
    found = []
    for path in sorted(CLIPS.iterdir()):
        with open_source(str(path)) as source:
            frames = source.read(range(min(source.num_frames, 60)))
        for name, scale, quality in (("whole", 1, "12"), ("half", 2, "32")):
            sides = [side // scale // 2 * 2 for side in frames.shape[1:3]]
            with av.open(str(tmp_path / f"{path.stem}_{name}.mp4"), "w") as target:
                small = (cv2.resize(frame, sides[::-1], interpolation=cv2.INTER_AREA) for frame in frames)
                encode_frames(target, small, "libx264", Fraction(25), {"crf": quality, "preset": "veryfast"})
            found.append(examine(str(tmp_path / f"{path.stem}_{name}.mp4")))
    pairs = {(one.first, one.second) for one in twins(found)}
    assert pairs == {(k, k + 1) for k in range(0, len(found), 2)}
