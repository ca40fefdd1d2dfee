"""The embedded data set: files that decode, the same twice, and classes that differ in nothing but motion."""

import json

import av
import numpy as np
import pytest

from datasets import demo
from datasets.annotation import DataError

PAIRS = [names for _, *names in demo.MOTIONS]
NUMBERS = {"train_per_class": 2, "val_per_class": 2, "num_frames": 7, "size": 48, "seed": 3}


def decode(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def files(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return demo.write_demo_dataset(tmp_path_factory.mktemp("demo") / "a" / "set", **NUMBERS)


def test_tree(root):
    assert sorted(p.name for p in root.iterdir()) == [".actionalign", "classes.txt", "demo.json", "train", "val"]
    assert (root / "classes.txt").read_text().splitlines() == list(demo.CLASS_NAMES) == sorted(demo.CLASS_NAMES)
    assert sorted(name for pair in PAIRS for name in pair) == list(demo.CLASS_NAMES)
    for split in ("train", "val"):
        assert sorted(p.name for p in (root / split).iterdir()) == list(demo.CLASS_NAMES)
        for name in demo.CLASS_NAMES:
            assert sorted(p.name for p in (root / split / name).iterdir()) == ["scene_0000.mp4", "scene_0001.mp4"]
    assert [p.name for p in root.parent.iterdir()] == ["set"]  # the temporary folder is gone


def test_files_decode_near_to_what_was_drawn(root):
    clip = demo.draw_video(np.random.default_rng((3, 0, 1, 0, 0)), "x", 7, 48)
    decoded = decode(root / "train" / "moving_right" / "scene_0000.mp4")
    assert decoded.shape == clip.shape == (7, 48, 48, 3)
    assert np.abs(decoded.astype(int) - clip).mean() < 5


@pytest.mark.parametrize("pair", PAIRS)
def test_val_partner_is_the_exact_reverse_after_decoding(root, pair):
    for i in range(2):
        forward, backward = (decode(root / "val" / name / f"scene_{i:04}.mp4") for name in pair)
        np.testing.assert_array_equal(backward, forward[::-1])
        assert (backward != forward).any()


def test_train_classes_and_splits_share_no_scene(root):
    middle = {p: decode(p)[3].tobytes() for p in root.rglob("*.mp4")}  # the frame that a reversal leaves in its place
    train, val = ({frame for p, frame in middle.items() if split in p.parts} for split in ("train", "val"))
    assert len(train) == 2 * 8
    assert len(val) == 2 * 4
    assert not train & val


def test_same_seed_same_bytes_other_seed_other_scenes(root, tmp_path):
    again = demo.write_demo_dataset(str(tmp_path / "again"), **NUMBERS)
    assert files(again) == files(root)
    other = files(demo.write_demo_dataset(tmp_path / "other", **(NUMBERS | {"seed": 4})))
    assert not {other[name] for name in other if name.endswith("mp4")} & set(files(root).values())


def test_more_clips_leave_the_first_ones_alone(root, tmp_path):
    more = files(demo.write_demo_dataset(tmp_path / "more", **(NUMBERS | {"train_per_class": 3})))
    assert {k: v for k, v in files(root).items() if k.endswith("mp4")}.items() <= more.items()


def test_finished_set_is_left_alone(root):
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    assert demo.write_demo_dataset(root, **NUMBERS) == root
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before


def test_refuses_a_folder_that_holds_something_else(root, tmp_path):
    with pytest.raises(DataError, match="other numbers"):
        demo.write_demo_dataset(root, **(NUMBERS | {"val_per_class": 1}))
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="other files"):
        demo.write_demo_dataset(tmp_path, **NUMBERS)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_empty_folder_is_filled_and_a_crash_leaves_it_empty(tmp_path, monkeypatch):
    few = NUMBERS | {"train_per_class": 1, "val_per_class": 1, "num_frames": 3}
    empty = tmp_path / "empty"
    empty.mkdir()

    def crash(path, frames):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(demo, "encode_video", crash)
        with pytest.raises(DataError, match=r"cannot write .*empty: disk full"):
            demo.write_demo_dataset(empty, **few)
    assert list(tmp_path.rglob("*")) == [empty]
    demo.write_demo_dataset(empty, **few)
    assert json.loads((empty / "demo.json").read_text()) == {"format": demo.FORMAT, **few}


@pytest.mark.parametrize(
    ("name", "value"), [("num_frames", 8), ("num_frames", 1), ("size", 33), ("train_per_class", 0), ("seed", -1)]
)
def test_refuses_numbers_out_of_range(tmp_path, name, value):
    with pytest.raises(DataError, match=f"{name} .* got {value}"):
        demo.write_demo_dataset(tmp_path / "new", **{name: value})
    assert not any(tmp_path.iterdir())


def test_without_libx264_frames_are_still_coded_one_by_one(tmp_path, monkeypatch):
    clip = demo.draw_video(np.random.default_rng(0), "angle", 5, 48)
    monkeypatch.setattr(demo.av, "codecs_available", {"mpeg4"})
    demo.encode_video(tmp_path / "forward.mp4", clip)
    demo.encode_video(tmp_path / "backward.mp4", clip[::-1])
    with av.open(str(tmp_path / "forward.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    np.testing.assert_array_equal(decode(tmp_path / "backward.mp4"), decode(tmp_path / "forward.mp4")[::-1])


@pytest.mark.parametrize("track", [track for track, *_ in demo.MOTIONS])
def test_values_met_in_a_frame_do_not_tell_the_class(track):
    """Frames taken at any moment: the running track's values are spread as those of a track that stands."""
    clips, frames = 1500, 9
    rng = np.random.default_rng(1)
    running = np.stack([demo._states(rng, track, frames, 64)[track] for _ in range(clips)])
    other = "x" if track != "x" else "size"
    standing = np.stack([demo._states(rng, other, frames, 64)[track] for _ in range(clips)])
    assert (np.ptp(standing, axis=1) == 0).all()
    assert (np.diff(running, axis=1) > 0).all()
    quantiles = np.linspace(0.05, 0.95, 19)
    spread = np.quantile(running, quantiles) - np.quantile(standing[:, 0], quantiles)
    assert np.abs(spread).max() < 0.06 * np.ptp(running)


def test_pixels_of_a_frame_do_not_tell_the_class():
    """The mean picture and its brightness agree over the four motions within sampling error."""
    means = []
    for motion, (track, *_) in enumerate(demo.MOTIONS):
        rngs = (np.random.default_rng((motion, i)) for i in range(250))
        means.append(np.stack([demo.draw_video(rng, track, 3, 32).mean(axis=(0, 1, 2)) for rng in rngs]))
    centers = np.array([m.mean(axis=0) for m in means])  # [motions, 3]
    error = np.array([m.std(axis=0) for m in means]).mean(axis=0) / np.sqrt(250)
    assert (np.ptp(centers, axis=0) < 5.5 * error).all()


def test_directions_are_what_the_names_say():
    rng = np.random.default_rng(0)
    states = {track: demo._states(rng, track, 5, 64)[track] for track, *_ in demo.MOTIONS}
    assert {track: forward for track, forward, _ in demo.MOTIONS} == {
        "size": "going_nearer", "x": "moving_right", "color": "showing_red_green_blue", "angle": "turning_clockwise"
    }  # fmt: skip
    assert all((np.diff(values) > 0).all() for values in states.values())
    tip = [demo._placement(angle, 20.0, (32.0, 32.0)) @ (40, 23.5, 1) for angle in (0.0, 0.5)]
    assert tip[0][0] > 32
    assert tip[1][1] > tip[0][1]  # what points right moves down the screen: clockwise
    assert [int(np.argmax(color)) for color in demo.COLORS] == [0, 1, 2]


def test_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["demo", str(tmp_path / "set")])
    monkeypatch.setattr(demo, "write_demo_dataset", lambda root: f"wrote {root}")
    demo.main()
    assert capsys.readouterr().out == f"wrote {tmp_path / 'set'}\n"
