"""Index rules against values worked out by hand from the formulas; all indices count from 0."""

import numpy as np
import pytest

from configs.recipe import Recipe, RecipeError
from datasets import sampling
from datasets.annotation import DataError
from datasets.sampling import check_sampling, train_indices, val_indices

MIDDLES_20_8 = [1, 3, 6, 8, 11, 13, 16, 18]  # 20 frames, 8 segments: parts of 2.5 frames
LEFTS_20_8 = [0, 2, 5, 7, 10, 12, 15, 17]


def frames_recipe(rule: str, segments: int = 8, **changes) -> Recipe:
    """TSM-like: single frames, one of each segment."""
    values = {"num_segments": segments, "clip_len": 1, "frame_interval": 1, "sampling": rule, "test_clips": 1}
    return Recipe.of(**{**values, **changes})


def clip_recipe(rule: str, length: int = 16, interval: int = 4, **changes) -> Recipe:
    """MVF-like: one clip of consecutive frames."""
    return Recipe.of(**{"num_segments": 1, "clip_len": length, "frame_interval": interval, "sampling": rule, **changes})


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def draws(count: int, n: int, recipe: Recipe) -> np.ndarray:
    """Training views of one video with `count` different seeds."""
    return np.stack([train_indices(n, recipe, rng(seed)) for seed in range(count)])


@pytest.mark.parametrize("rule", ["mmaction0", "mmaction1", "mit"])
def test_single_frames_are_the_middles_of_the_segments(rule):
    views = sampling.test_indices(20, frames_recipe(rule), 1)
    assert views.dtype == np.int64
    assert views.tolist() == [MIDDLES_20_8]
    assert val_indices(20, frames_recipe(rule)).tolist() == [MIDDLES_20_8]


@pytest.mark.parametrize("rule", ["mmaction0", "mmaction1", "mit"])
def test_twice_sample_adds_the_left_ends_as_a_second_view(rule):
    assert sampling.test_indices(20, frames_recipe(rule), 2).tolist() == [MIDDLES_20_8, LEFTS_20_8]


def test_paddlemvf_spreads_ten_clips():
    # (164 - 64 + 1) / 10 = 10.1 frames a part; clips start in the middle of the parts
    views = sampling.test_indices(164, clip_recipe("mmaction0"), 10)
    assert views[:, 0].tolist() == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]
    assert views[3].tolist() == list(range(35, 35 + 64, 4))
    # 64 frames hold exactly one clip
    assert sampling.test_indices(64, clip_recipe("mmaction0"), 10)[:, 0].tolist() == [0] * 10


def test_short_video_loops_or_repeats_its_last_sampled_frame():
    inside = list(range(0, 50, 4))
    assert sampling.test_indices(50, clip_recipe("mmaction0"), 1).tolist() == [[*inside, 2, 6, 10]]
    repeat = clip_recipe("mmaction0", out_of_bound="repeat_last")
    assert sampling.test_indices(50, repeat, 1).tolist() == [[*inside, 48, 48, 48]]
    assert sampling.test_indices(1, clip_recipe("mmaction0"), 1).tolist() == [[0] * 16]


def test_mmaction1_spreads_clips_from_the_first_to_the_last_start():
    # a clip covers 7 * 8 + 1 = 57 frames, so starts go from 0 to 43 in steps of 43 / 9
    recipe = clip_recipe("mmaction1", length=8, interval=8)
    views = sampling.test_indices(100, recipe, 10)
    assert views[:, 0].tolist() == [0, 5, 10, 14, 19, 24, 29, 33, 38, 43]
    assert views[-1].tolist() == list(range(43, 100, 8))
    assert val_indices(100, recipe)[0, 0] == 21
    assert sampling.test_indices(30, recipe, 3).tolist() == [[0, 8, 16, 24, 2, 10, 18, 26]] * 3


def test_mit_short_videos():
    recipe = frames_recipe("mit")
    assert val_indices(8, recipe).tolist() == [[0] * 8]  # validation wants more frames than segments, a test does not
    assert sampling.test_indices(8, recipe, 1).tolist() == [list(range(8))]
    assert sampling.test_indices(4, recipe, 1).tolist() == [[0, 0, 1, 1, 2, 2, 3, 3]]
    assert train_indices(8, recipe, rng()).tolist() == list(range(8))
    assert train_indices(7, recipe, rng()).tolist() == [0] * 8


def test_paddlevideo_cuts_whole_frames_and_takes_the_left_of_two_middles():
    recipe = frames_recipe("paddlevideo")
    assert sampling.test_indices(20, recipe, 1).tolist() == [[0, 2, 4, 6, 8, 10, 12, 14]]  # 20 / 8: parts of 2
    assert val_indices(31, recipe).tolist() == [[1, 4, 7, 10, 13, 16, 19, 22]]  # parts of 3
    assert val_indices(8, recipe).tolist() == [list(range(8))]
    assert val_indices(5, recipe).tolist() == [[0, 1, 2, 3, 4, 0, 1, 2]]
    views = draws(200, 31, recipe)
    assert views.min(axis=0).tolist() == list(range(0, 24, 3))
    assert views.max(axis=0).tolist() == list(range(2, 24, 3))


def test_paddlevideo_segments_of_neighboring_frames():
    recipe = frames_recipe("paddlevideo", 3, clip_len=4)
    assert val_indices(20, recipe).tolist() == [[2, 3, 4, 5, 8, 9, 10, 11, 14, 15, 16, 17]]  # parts of 6
    assert val_indices(10, recipe).tolist() == [[0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9]]  # parts of 3: left ends
    assert val_indices(7, recipe).tolist() == [[0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 0]]
    starts = draws(200, 20, recipe)[:, ::4]
    assert starts.min(axis=0).tolist() == [0, 6, 12]
    assert starts.max(axis=0).tolist() == [2, 8, 14]  # a clip of 4 stays inside its part of 6
    assert draws(20, 10, recipe)[:, ::4].tolist() == [[0, 3, 6]] * 20


def test_train_takes_one_frame_of_each_segment():
    for rule in ("mmaction0", "mmaction1", "mit"):
        views = draws(200, 20, frames_recipe(rule))  # parts of 20 // 8 = 2 frames
        assert views.min(axis=0).tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
        assert views.max(axis=0).tolist() == [1, 3, 5, 7, 9, 11, 13, 15]


def test_train_clip_starts_anywhere_it_fits():
    starts = draws(200, 70, clip_recipe("mmaction0"))[:, 0]
    assert set(starts.tolist()) == set(range(70 - 64 + 1))
    assert train_indices(10, clip_recipe("mmaction0", length=4, interval=4), rng()).tolist() == [0, 4, 8, 2]


def test_train_with_parts_shorter_than_a_frame():
    # 12 frames, clips of 8: 5 starts for 8 clips, drawn freely and sorted
    recipe = Recipe.of(num_segments=8, clip_len=8, frame_interval=1, sampling="mmaction0", test_clips=1)
    starts = draws(100, 12, recipe)[:, ::8]
    assert (np.diff(starts, axis=1) >= 0).all()
    assert set(starts.ravel().tolist()) == set(range(5))
    # 4 frames for 8 segments: 0, .5, 1, 1.5, ... rounded half to even; the last one wraps
    assert train_indices(4, frames_recipe("mmaction1"), rng()).tolist() == [0, 0, 1, 2, 2, 2, 3, 0]


def test_dense_window():
    recipe = frames_recipe("dense", test_clips=10)
    views = sampling.test_indices(100, recipe, 10)  # 37 places of the window of 64; 64 // 8 = 8 frames apart
    assert views[:, 0].tolist() == list(range(0, 37, 4))
    assert views[1].tolist() == list(range(4, 68, 8))
    assert val_indices(100, recipe).tolist() == [list(range(18, 82, 8))]
    assert sampling.test_indices(40, recipe, 1).tolist() == [[0, 8, 16, 24, 32, 0, 8, 16]]
    starts = draws(400, 70, recipe)[:, 0]
    assert set(starts.tolist()) == set(range(6))  # the last of the 7 places is never drawn
    assert train_indices(64, recipe, rng())[0] == 0


def test_dense_clips_of_several_frames():
    recipe = clip_recipe("dense", length=4, interval=2)
    assert sampling.test_indices(100, recipe, 3).tolist() == [[0, 2, 4, 6], [18, 20, 22, 24], [36, 38, 40, 42]]


@pytest.mark.parametrize("shape", [{"num_segments": 8, "clip_len": 1}, {"num_segments": 1, "clip_len": 8}])
def test_uniform(shape):
    recipe = Recipe.of(sampling="uniform", test_clips=2, **shape)  # 17 frames: parts of exactly 2
    assert val_indices(17, recipe).tolist() == [[1, 3, 5, 7, 9, 11, 13, 15]]
    assert sampling.test_indices(17, recipe, 2).tolist() == [list(range(0, 16, 2)), list(range(1, 17, 2))]
    views = draws(300, 17, recipe)
    assert views.min(axis=0).tolist() == list(range(0, 16, 2))
    assert views.max(axis=0).tolist() == list(range(2, 18, 2))
    assert val_indices(1, recipe).tolist() == [[0] * 8]


def test_a_test_may_take_more_segments_than_training():
    recipe = frames_recipe("mmaction1", segments=3, test_segments=25)
    assert train_indices(50, recipe, rng()).shape == (3,)
    assert val_indices(50, recipe).shape == (1, 3)
    assert sampling.test_indices(50, recipe, 1).tolist() == [list(range(1, 50, 2))]


def test_training_draws_depend_on_the_generator_alone():
    recipe = frames_recipe("mmaction1")
    assert np.array_equal(train_indices(90, recipe, rng(5)), train_indices(90, recipe, rng(5)))
    assert not np.array_equal(train_indices(90, recipe, rng(5)), train_indices(90, recipe, rng(6)))


@pytest.mark.parametrize("rule", ["mmaction0", "mmaction1", "mit", "dense", "uniform"])
@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 63, 64, 65, 300])
def test_indices_stay_inside_the_video(rule, n):
    recipe = frames_recipe(rule)
    views = [train_indices(n, recipe, rng()), val_indices(n, recipe), sampling.test_indices(n, recipe, 2)]
    assert [view.shape for view in views] == [(8,), (1, 8), (2, 8)]
    assert all(view.min() >= 0 and view.max() < n for view in views)


def test_a_video_without_frames_is_refused():
    recipe = frames_recipe("mmaction1")
    for call in (lambda: train_indices(0, recipe, rng()), lambda: val_indices(0, recipe)):
        with pytest.raises(DataError, match="1 frame at least, got 0"):
            call()


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (clip_recipe("mit"), "clip_len must be 1, got 16"),
        (frames_recipe("mmaction1", test_clips=10), "test_clips must be 1, or 2"),
        (frames_recipe("dense", segments=65), "64 segments at most"),
        (clip_recipe("uniform", num_segments=2), "num_segments 1 or clip_len 1"),
        (clip_recipe("mmaction0", num_segments=2), "test_clips must be 1 when"),
        (clip_recipe("paddlevideo"), "frame_interval must be 1 for sampling paddlevideo, got 4"),
        (frames_recipe("paddlevideo", test_clips=2), "test_clips must be 1 for sampling paddlevideo, got 2"),
        (frames_recipe("paddlevideo", out_of_bound="repeat_last"), "out_of_bound must be loop"),
    ],
)
def test_what_no_source_defines_is_refused(recipe, message):
    with pytest.raises(RecipeError, match=message):
        check_sampling(recipe)


def test_pyslowfast_spreads_a_clip_to_the_last_frame_of_its_span():
    recipe = clip_recipe("pyslowfast", 8, 8)
    assert val_indices(64, recipe).tolist() == [[0, 9, 18, 27, 36, 45, 54, 63]]  # steps of 63/7, not of 8
    fast = val_indices(64, clip_recipe("pyslowfast", 32, 2))[0]
    assert fast.tolist() == [i * 63 // 31 for i in range(32)]
    assert val_indices(100, recipe)[0, [0, -1]].tolist() == [18, 81]  # the middle of 36 frames of room


def test_pyslowfast_stops_short_of_the_end_of_the_video():
    starts = sampling.test_indices(100, clip_recipe("pyslowfast", 8, 8), 3)[:, 0]
    assert starts.tolist() == [0, 12, 24]  # of 36 frames of room: k/3 of it
    assert sampling.test_indices(100, clip_recipe("pyslowfast", 8, 8), 10)[-1].max() == 95


def test_pyslowfast_repeats_the_last_frame_of_a_short_video():
    assert val_indices(20, clip_recipe("pyslowfast", 8, 8)).tolist() == [[0, 9, 18, 19, 19, 19, 19, 19]]


def test_a_clip_of_pyslowfast_lasts_as_long_in_every_rate():
    recipe = clip_recipe("pyslowfast", 8, 8, fps=30.0)
    slow = sampling.test_indices(100, recipe, 1, fps=15.0)
    assert slow.tolist() == [[0, 4, 8, 13, 17, 22, 26, 31]]  # 32 frames of 15 a second
    assert sampling.test_indices(100, recipe, 1).tolist() == sampling.test_indices(100, recipe, 1, fps=30.0).tolist()
    assert sampling.test_indices(200, recipe, 2, fps=60.0)[1, [0, -1]].tolist() == [36, 163]


def test_training_clips_of_pyslowfast_cover_the_video():
    views = draws(300, 100, clip_recipe("pyslowfast", 8, 8))
    assert (views.min(), views.max()) == (0, 98)  # a clip begins before the last frame of room, 36


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (clip_recipe("pyslowfast", 8, 8, num_segments=2), "pyslowfast takes one segment of several frames"),
        (frames_recipe("pyslowfast", 1), "pyslowfast takes one segment of several frames"),
        (clip_recipe("dense", 8, 8, fps=30.0), "fps must be 0 for sampling dense, got 30"),
    ],
)
def test_combinations_that_pyslowfast_does_not_define(recipe, message):
    with pytest.raises(RecipeError, match=message):
        check_sampling(recipe)


def test_efficient3d_takes_the_middle_clip_and_never_the_last_start():
    """Values of the source's own TemporalCenterCrop and TemporalRandomCrop."""
    recipe = clip_recipe("efficient3d", length=16, interval=2)
    assert sampling.test_indices(41, recipe, 1).tolist() == [list(range(4, 36, 2))]
    assert val_indices(41, recipe).tolist() == [list(range(4, 36, 2))]
    assert sampling.test_indices(20, recipe, 1).tolist() == [[*range(0, 20, 2), *range(0, 12, 2)]]  # begins again
    assert set(draws(200, 40, recipe)[:, 0]) == set(range(8))  # of 9 that fit
    assert set(draws(20, 32, recipe)[:, 0]) == {0}
    assert sampling.test_indices(52, recipe, 3)[:, 0].tolist() == [0, 10, 20]
    with pytest.raises(RecipeError, match="efficient3d takes one segment"):
        check_sampling(recipe.with_(num_segments=2))
