"""Own class folders are divided so that no source, and no near duplicate, is on both sides."""

import cv2
import numpy as np
import pytest

from configs.limits import Limits
from datasets import load_annotation
from runtime.errors import UserError
from tests.datasets.media import moving_frames, write_video
from tests.tools.prepare import miniatures
from tests.tools.prepare.conftest import content
from tools.prepare.fingerprints import FRAMES, RADIUS, hashes_of, look_at, near_duplicates
from tools.prepare.grouping import choose, divide, near_groups
from tools.prepare.settings import Lists


def sides(root):
    """File names of both sides."""
    return [
        {entry.path.split("/videos/")[1] for entry in load_annotation(str(root), subset).entries}
        for subset in ("train", "val")
    ]


def test_cuts_of_one_source_are_on_one_side(prepare, tmp_path):
    source, root = miniatures.own_folder(tmp_path / "source"), tmp_path / "root"
    code, out = prepare("folder", "--source", source, "--root", root)
    assert code == 0
    train, val = sides(root)
    assert len(train) == 16
    assert len(val) == 4
    for label, name in enumerate(("fight", "normal day")):
        for number in range(5):
            cuts = {f"{name}/camera{label}{number}_a.mp4", f"{name}/other name {number}.avi"}
            assert cuts <= train or cuts <= val
    assert "near duplicates between train and val: 0 of 4 videos of val" in out
    assert (root / "annotations/classes.txt").read_text() == "fight\nnormal day\n"
    before = content(root)
    assert prepare("folder", "--source", source, "--root", root, "--split_seed", 1)[0] == 0
    assert sides(root) != [train, val]
    assert prepare("folder", "--source", source, "--root", root)[0] == 0
    assert content(root) == before
    assert prepare("folder", "--source", source, "--root", root, "--val_fraction", 0.4)[0] == 0
    assert [len(side) for side in sides(root)] == [12, 8]


def test_a_pattern_that_tells_sources_by_names(prepare, tmp_path):
    files = {
        f"{c}/day{day}_cam{cam}.mp4": miniatures.video("mp4", 700 + 10 * day + cam)
        for c in "ab"
        for day in range(4)
        for cam in (1, 2)
    }
    source, root = miniatures.write(tmp_path / "source", files), tmp_path / "root"
    for pattern, places in ((r"day\d", slice(2, 6)), (r"_(cam\d)", slice(7, 11))):
        assert prepare("folder", "--source", source, "--root", root, "--source_pattern", pattern)[0] == 0
        train, val = sides(root)
        assert train
        assert val
        assert not {name[places] for name in train} & {name[places] for name in val}
    code, _ = prepare("folder", "--source", source, "--root", root, "--source_pattern", "night")
    assert code.startswith("error: source_pattern 'night' is not found in the name of a/day0_cam1.mp4")
    code, _ = prepare("folder", "--source", source, "--root", root, "--source_pattern", "x*")
    assert code.startswith("error: source_pattern 'x*' is not found in the name of ")
    code, _ = prepare("folder", "--source", source, "--root", root, "--source_pattern", "day")
    assert "no class has two sources, by --source_pattern: nothing of 16 videos" in code


def test_the_check_finds_what_a_pattern_has_let_through(prepare, tmp_path):
    """The same scene in both halves of a pattern that separates them."""
    files = {f"{c}/{n}_{half}.mp4": miniatures.video("mp4", 800 + n) for c in "ab" for n in range(3) for half in "xy"}
    source = miniatures.write(tmp_path / "source", files)
    flags = ("--source_pattern", r"[xy](?=\.)", "--val_fraction", 0.5)
    code, out = prepare("folder", "--source", source, "--root", tmp_path / "root", *flags)
    assert code == 0
    assert "near duplicates between train and val: 6 of 6 videos of val" in out
    assert "  " + str(tmp_path / "root/videos") in out


def test_videos_of_the_same_name_and_class_are_refused(prepare, tmp_path):
    files = {f"a/{n}.mp4": miniatures.video("mp4", n) for n in range(4)} | {"a/0.avi": miniatures.video("avi", 9)}
    source = miniatures.write(tmp_path / "source", files)
    code, _ = prepare("folder", "--source", source, "--root", tmp_path / "root")
    assert f"a/0.avi and a/0.mp4 of {tmp_path}/root/videos have the same name" in code
    assert "rename one in --source, and remove it there" in code
    (source / "a/0.avi").rename(source / "a/9.avi")
    (tmp_path / "root/videos/a/0.avi").unlink()
    assert prepare("folder", "--source", source, "--root", tmp_path / "root")[0] == 0


@pytest.mark.parametrize("name", ["fight/a\tb.mp4", "fight/a\nb.mp4", "fight/\udcff.mp4", " fight/a.mp4"])
def test_names_that_no_list_can_hold(prepare, tmp_path, name):
    source = miniatures.write(miniatures.own_folder(tmp_path / "source"), {name: miniatures.video("mp4", 1)})
    code, _ = prepare("folder", "--source", source, "--root", tmp_path / "root")
    assert code.startswith("error: no list can name ")


def test_a_class_that_no_list_can_name(prepare, tmp_path):
    files = {f"fi\udcffght/{n}.mp4": miniatures.video("mp4", n) for n in range(3)}
    source = miniatures.write(miniatures.own_folder(tmp_path / "source"), files)
    code, _ = prepare("folder", "--source", source, "--root", tmp_path / "root")
    assert code.startswith("error: no list can name the class 'fi\\udcffght': ")


def test_a_video_that_does_not_decode_is_named(prepare, tmp_path):
    source = miniatures.own_folder(tmp_path / "source")
    (source / "fight" / "broken.mp4").write_bytes(b"no video")
    code, _ = prepare("folder", "--source", source, "--root", tmp_path / "root")
    assert "broken.mp4 is no readable video" in code
    (source / "fight" / "broken too.mp4").write_bytes(b"no video")
    code, _ = prepare("folder", "--source", source, "--root", tmp_path / "root")
    left_out = tmp_path / "root/annotations/undecodable.txt"
    assert code.startswith("error: unusable: 2 videos do not decode, such as ")
    assert f"prepare again with --leave_out {left_out}" in code
    assert left_out.read_text() == "fight/broken too.mp4\nfight/broken.mp4\n"
    code, out = prepare("folder", "--source", source, "--root", tmp_path / "root", "--leave_out", left_out)
    assert code == 0
    assert "--leave_out" not in out
    assert not any("broken" in name for side in sides(tmp_path / "root") for name in side)


def random_groups(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 120).tolist()
    order = rng.permutation(120)
    cuts = np.sort(rng.choice(np.arange(1, 120), 40, replace=False))
    return [group.tolist() for group in np.split(order, cuts)], labels


@pytest.mark.parametrize("seed", range(5))
def test_whole_groups_and_about_the_fraction_of_each_class(seed):
    groups, labels = random_groups(seed)
    taken = choose(groups, labels, 0.25, seed)
    assert all(set(group) <= taken or not set(group) & taken for group in groups)
    for label in range(4):
        members = [index for index, other in enumerate(labels) if other == label]
        part = len(taken.intersection(members)) / len(members)
        assert 0.15 < part < 0.4
    assert choose(groups, labels, 0.25, seed) == taken


def test_a_small_class_of_two_sources_is_on_both_sides():
    groups = [[i] for i in range(20)] + [[20], [21, 22]]
    labels = [0] * 20 + [1] * 3
    taken = choose(groups, labels, 0.1, 0)
    assert len(taken & {20, 21, 22}) in (1, 2)
    assert choose([[0], [1]], [0, 1], 0.5, 0) == set()


def test_near_is_transitive_in_groups():
    base = np.zeros((FRAMES, 8), np.uint8)
    second, third, far = base.copy(), base.copy(), base.copy()
    second[:, 0], third[:, 0:2], far[:] = 0x0F, (0x0F, 0x0F), 0xFF
    assert near_groups([base, far, second, third]) == [[0, 2, 3], [1]]


@pytest.mark.parametrize(("bits", "is_near"), [(0, True), (RADIUS, True), (RADIUS + 1, False)])
def test_the_radius(bits, is_near):
    base = np.zeros((FRAMES, 8), np.uint8)
    other = np.tile(np.packbits(np.arange(64) < bits), (FRAMES, 1))
    assert list(near_duplicates([base], [other])) == ([(0, 0)] if is_near else [])
    half = other.copy()
    half[FRAMES // 2 :] = 0xFF
    assert list(near_duplicates([half], [base])) == ([(0, 0)] if is_near else [])
    half[FRAMES // 2 - 1] = 0xFF
    assert list(near_duplicates([half], [base])) == []
    assert list(near_duplicates([base], [])) == []


def test_what_is_a_near_duplicate(tmp_path):
    def hashes(name, **options):
        look = look_at(str(write_video(tmp_path / name, 30, **options)), None, Limits())
        assert look.num_frames == 30
        return look.hashes

    original = hashes("a.mp4", seed=1, size=(96, 128))
    coarse = hashes("b.mp4", seed=1, size=(96, 128), crf="38")
    other = hashes("c.mp4", seed=2, size=(96, 128))
    frames = moving_frames(30, 96, 128, seed=1)[np.linspace(0, 29, FRAMES).astype(int)]
    small = hashes_of(np.stack([cv2.resize(frame, (48, 36), interpolation=cv2.INTER_AREA) for frame in frames]))
    bright = hashes_of(np.clip(frames.astype(int) * 0.8 + 40, 0, 255).astype(np.uint8))
    assert [right for _, right in near_duplicates([original], [coarse, other, small, bright])] == [0, 2, 3]
    black = hashes_of(np.zeros((FRAMES, 96, 128, 3), np.uint8))
    assert black.shape == (0, 8)
    assert list(near_duplicates([black], [black, original])) == []


def test_no_video_is_an_error():
    with pytest.raises(UserError, match="no video in a folder of its class"):
        divide([], Lists(), lambda paths: [])
