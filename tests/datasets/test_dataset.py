import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from configs.recipe import RecipeError
from datasets import sampling
from datasets.annotation import Annotation, DataError, Entry, load_annotation
from datasets.dataset import VideoDataset, load_views
from datasets.decode import open_source
from datasets.transforms import EvalTransform
from tests.datasets.media import write_frames, write_video


def one_video(path, label: int = 1, num_frames: int | None = None) -> Annotation:
    return Annotation((Entry(str(path), label, num_frames),), (), "a list")


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("one") / "my video.mp4", count=30, g="8")


@pytest.mark.parametrize(
    ("mode", "changes", "shape"),
    [
        ("train", {}, (1, 4, 3, 32, 32)),
        ("val", {}, (1, 4, 3, 32, 32)),
        ("test", {}, (3, 4, 3, 40, 40)),
        ("test", {"test_clips": 2, "test_segments": 6}, (6, 6, 3, 40, 40)),
        ("test", {"test_crops": "center", "test_size": 32}, (1, 4, 3, 32, 32)),
        ("test", {"test_crops": "ten", "num_segments": 1, "clip_len": 5, "test_clips": 4}, (40, 5, 3, 40, 40)),
        ("train", {"num_segments": 3, "clip_len": 2}, (1, 6, 3, 32, 32)),
    ],
)
def test_shapes(video, tiny_recipe, mode, changes, shape):
    dataset = VideoDataset(one_video(video), tiny_recipe.with_(**changes), mode)
    views, label = dataset.load(0)
    assert len(dataset) == 1
    assert dataset.sample_shape == views.shape == shape
    assert dataset.num_frames == shape[1]
    assert views.dtype == np.float32
    assert views.flags.c_contiguous
    assert np.isfinite(views).all()
    assert label == 1


def test_training_depends_on_seed_epoch_and_index_alone(media_root, tiny_recipe):
    annotation = load_annotation(str(media_root), "val")
    twice = Annotation((annotation.entries[0],) * 2, (), "")
    dataset = VideoDataset(twice, tiny_recipe, "train")
    again = VideoDataset(twice, tiny_recipe, "train")
    again.load(1)  # what was loaded before plays no role
    first = dataset.load(0, epoch=3)[0]
    assert np.array_equal(first, again.load(0, epoch=3)[0])
    others = [dataset.load(0, epoch=4), dataset.load(1, epoch=3)]
    others.append(VideoDataset(twice, tiny_recipe.with_(seed=99), "train").load(0, epoch=3))
    assert all(not np.array_equal(first, other) for other, _ in others)


@pytest.mark.parametrize("mode", ["val", "test"])
def test_evaluation_does_not_depend_on_the_epoch(video, tiny_recipe, mode):
    dataset = VideoDataset(one_video(video), tiny_recipe, mode)
    assert np.array_equal(dataset.load(0, epoch=0)[0], dataset.load(0, epoch=5)[0])


@pytest.mark.parametrize("fused_resize", [False, True])
@pytest.mark.parametrize("clips", [2, 10])
def test_views_are_crop_major(video, tiny_recipe, clips, fused_resize):
    """Clips overlap, and each view must still be what its own frames give."""
    recipe = tiny_recipe.with_(
        num_segments=1, clip_len=4, frame_interval=2, test_clips=clips, fused_resize=fused_resize
    )
    views, _ = VideoDataset(one_video(video), recipe, "test").load(0)
    indices = sampling.test_indices(30, recipe, clips)
    with open_source(str(video)) as source:
        for clip in range(clips):
            crops = np.empty((3, 4, *views.shape[2:]), np.float32)
            EvalTransform(recipe).apply(source.read(indices[clip]), crops)
            for crop in range(3):
                assert np.array_equal(views[crop * clips + clip], crops[crop])


def test_flip_exchanges_labels_in_training_only(video, tiny_recipe):
    recipe = tiny_recipe.with_(flip=1.0, flip_pairs=((0, 1),))
    assert VideoDataset(one_video(video, label=1), recipe, "train").load(0)[1] == 0
    assert VideoDataset(one_video(video, label=2), recipe, "train").load(0)[1] == 2
    assert VideoDataset(one_video(video, label=1), recipe, "val").load(0)[1] == 1


def test_video_shorter_than_its_clip_loops(tmp_path, tiny_recipe):
    path = write_video(tmp_path / "short.mp4", count=3)
    recipe = tiny_recipe.with_(num_segments=1, clip_len=8, frame_interval=1)
    view = VideoDataset(one_video(path), recipe, "val").load(0)[0][0]
    assert np.array_equal(view[:3], view[3:6])
    assert not np.array_equal(view[0], view[1])
    last = VideoDataset(one_video(path), recipe.with_(out_of_bound="repeat_last"), "val").load(0)[0][0]
    assert all(np.array_equal(last[2], frame) for frame in last[3:])


def test_frame_count_of_the_list_decides_for_folders(tmp_path, tiny_recipe):
    folder = write_frames(tmp_path / "frames", count=12)
    full, half = (VideoDataset(one_video(folder, num_frames=n), tiny_recipe, "val").load(0)[0] for n in (12, 6))
    assert not np.array_equal(full, half)
    with pytest.raises(DataError, match="holds 12 frames, the list says 20"):
        VideoDataset(one_video(folder, num_frames=20), tiny_recipe, "val").load(0)


def test_load_views_is_what_the_dataset_loads(video, tiny_recipe):
    for mode in ("val", "test"):
        expected, _ = VideoDataset(one_video(video), tiny_recipe, mode).load(0)
        assert np.array_equal(load_views(str(video), tiny_recipe, mode), expected)
    with pytest.raises(DataError, match=r"absent.mp4 does not exist"):
        load_views("absent.mp4", tiny_recipe)


def test_bad_mode_and_recipe(video, tiny_recipe):
    with pytest.raises(DataError, match="train, val, test, got 'eval'"):
        VideoDataset(one_video(video), tiny_recipe, "eval")
    with pytest.raises(RecipeError, match="test_clips"):
        VideoDataset(one_video(video), tiny_recipe.with_(test_clips=10), "train")


ROOT = Path(__file__).resolve().parents[2]
MEASURE = """
import re, sys
from pathlib import Path
from configs.recipe import Recipe
from datasets.dataset import load_views
recipe = Recipe.of(num_segments=1, clip_len=8, frame_interval=8, test_clips=4, short_side=256, crop_size=224,
                   test_size=256, test_crops="three", sampling="mmaction1")
peaks = []
for path in sys.argv[1:]:
    load_views(path, recipe)
    peaks.append(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]))
print(peaks[1] - peaks[0])
"""


def test_the_views_of_a_large_video_take_their_own_memory_and_a_few_frames(tmp_path):
    small = write_video(tmp_path / "small.mp4", count=33)
    large = write_video(tmp_path / "large.mp4", count=64, size=(720, 1280), preset="ultrafast")
    argv = [sys.executable, "-c", MEASURE, small, large]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    # The views of the small video took as much before; the decoder keeps some frames of its own.
    assert int(done.stdout) < 12 * 720 * 1280 * 3 // 1024, "KiB, of 32 frames"
