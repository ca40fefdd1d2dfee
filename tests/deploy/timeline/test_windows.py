"""Windows of a film: their views are those of a video that is cut out of it, and every moment gets its label."""

import itertools
import tracemalloc

import numpy as np
import pytest

from datasets import VideoDataset, unlabeled
from datasets.decode import open_source
from deploy.frames import Frame
from deploy.timeline.labeler import Labeler, Source
from deploy.timeline.labels import Prediction
from deploy.timeline.scoring import Scored
from deploy.timeline.segments import moments, segments
from deploy.timeline.windows import Plan, Windows, windows_of
from runtime.errors import UserError
from tests.datasets.media import write_frames
from tests.deploy.timeline.colors import NAMES, RATE, RECIPE, labeler, name_color, write_film

PARTS = [("red", 23), ("green", 31), ("red", 16), ("blue", 40), ("green", 25)]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return str(write_film(tmp_path_factory.mktemp("film") / "film.mp4", PARTS))


@pytest.mark.parametrize("mode", ["val", "test"])
@pytest.mark.parametrize(("window", "stride"), [(2.0, 0.7), (1.6, 0.0), (60.0, 0.0)])
def test_the_views_of_a_window_are_those_of_its_frames_as_a_video(film, tmp_path, mode, window, stride):
    source = Source(film)
    plan = Plan.of(window, stride, source.fps, source.num_frames)
    found = list(windows_of(source.frames, Windows(plan, RECIPE, mode, source.fps), source.fps))
    assert len(found) == plan.count
    assert found[-1].end == pytest.approx(source.num_frames / RATE)
    with open_source(film) as whole:
        frames = whole.read(range(whole.num_frames))
    for start, one in zip(plan.starts(), found, strict=True):
        assert (one.start, one.end) == pytest.approx((start / RATE, (start + plan.frames) / RATE))
        folder = tmp_path / str(start)
        write_pictures(folder, frames[start : start + plan.frames])
        expected = VideoDataset(unlabeled([str(folder)]), RECIPE, mode).views(0)
        np.testing.assert_array_equal(one.views, expected)


def write_pictures(folder, frames):
    import cv2

    folder.mkdir(exist_ok=True)
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number:05d}.png"), frame[..., ::-1])


@pytest.mark.parametrize(
    ("total", "frames", "stride"), list(itertools.product([1, 5, 16, 17, 40], [1, 5, 16], [1, 3, 16]))
)
def test_every_frame_is_in_a_window_and_each_is_as_long(total, frames, stride):
    plan = Plan(min(frames, total), min(stride, frames), total)
    starts = list(plan.starts())
    assert len(starts) == plan.count
    assert {n for start in starts for n in range(start, start + plan.frames)} == set(range(total))
    assert starts == sorted(set(starts))
    assert list(Plan(plan.frames, plan.stride, total, skip=1).starts()) == starts[1:]


def test_numbers_out_of_their_ranges_are_refused():
    with pytest.raises(UserError, match="--window must be above 0"):
        Plan.of(-1, 0, 25, 100)
    with pytest.raises(UserError, match="--stride must be from 0 to the window's 2 seconds, got 3"):
        Plan.of(2, 3, 25, 100)
    with pytest.raises(UserError, match="how many frames"):
        Plan.of(2, 1, 0, 100)


def truth(parts):
    """The label of each frame."""
    return [name for name, count in parts for _ in range(count)]


@pytest.mark.parametrize(("window", "stride", "least"), [(1.0, 0.1, 0.93), (0.5, 0.5, 0.93), (1.0, 0.5, 0.85)])
def test_every_moment_gets_its_label(film, window, stride, least):
    source, names = Source(film), labeler()
    plan = Plan.of(window, stride, source.fps, source.num_frames)
    found = Prediction(film, NAMES, list(names.windows(source, plan)))
    parts = found.segments()
    assert (parts[0].start, parts[-1].end) == pytest.approx((0.0, sum(count for _, count in PARTS) / RATE))
    assert all(one.end == pytest.approx(two.start) for one, two in itertools.pairwise(parts))
    assert [NAMES[part.label] for part in parts] == [name for name, _ in PARTS]
    labels = truth(PARTS)
    seen = [next(NAMES[p.label] for p in parts if p.start <= (n + 0.5) / RATE < p.end) for n in range(len(labels))]
    assert np.mean([one == other for one, other in zip(seen, labels, strict=True)]) >= least


def test_moments_are_means_of_the_windows_that_see_them():
    windows = [Scored(k, k + 2.0, np.array([k / 4, 1 - k / 4], np.float32)) for k in range(4)]
    found = moments(windows)
    assert [(one.start, one.end) for one in found] == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
    np.testing.assert_allclose([one.scores[0] for one in found], [0, 0.125, 0.375, 0.625, 0.75])
    assert [(part.start, part.end, part.label) for part in segments(windows)] == [(0, 3, 1), (3, 5, 0)]
    assert segments(windows)[0].probability == pytest.approx((1 + 0.875 + 0.625) / 3)
    assert [(part.start, part.end) for part in segments(windows, threshold=0.7)] == [(0, 2), (4, 5)]
    apart = [windows[0], windows[3]._replace(start=5.0, end=6.0)]
    assert [(part.start, part.end) for part in segments(apart)] == [(0, 2), (5, 6)]


def test_a_folder_of_frames_needs_its_rate(tmp_path):
    folder = str(write_frames(tmp_path / "frames", count=30))
    with pytest.raises(UserError, match="--source_fps does"):
        Source(folder)
    source = Source(folder, fps=15)
    found = list(labeler().windows(source, Plan.of(1.0, 0.5, source.fps, source.num_frames)))
    assert [(one.start, one.end) for one in found] == [(0.0, 1.0), (8 / 15, 23 / 15), (1.0, 2.0)]


def test_a_film_takes_no_more_memory_the_longer_it_is(tmp_path):
    peaks = []
    for seconds in (20, 80):
        source = Source(str(write_film(tmp_path / f"{seconds}.mp4", [("red", RATE * seconds)])))
        plan = Plan.of(1.0, 0.5, source.fps, source.num_frames)
        tracemalloc.start()
        assert sum(1 for _ in labeler().windows(source, plan)) == plan.count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_a_camera_is_looked_at_again_and_again():
    """Thirty frames a second, with a second in which nobody took any, and one in which it was gone."""

    def frames():
        for number in range(240):
            seconds = number / 30
            if not 3 <= seconds < 4:
                color = "red" if seconds < 5 else "blue"
                image = np.zeros((48, 64, 3), np.uint8)
                image[..., NAMES.index(color)] = 255
                yield Frame(image, number, 0.0, number == 180, seconds)

    found = list(labeler().live(frames(), window_s=1.0, stride_s=0.5))
    assert all(one.end - one.start <= 1.0 + 1e-6 for one in found)
    assert [NAMES[int(one.scores.argmax())] for one in found if one.end < 5] == ["red"] * sum(
        one.end < 5 for one in found
    )
    assert all(NAMES[int(one.scores.argmax())] == "blue" for one in found if one.start >= 5)
    assert not [one for one in found if one.start < 6 < one.end - 1e-6]  # nothing from before it was gone


def test_scores_come_from_batches_that_hold_no_more_frames_than_a_test_does():
    sizes = []

    def run(clips):
        sizes.append(clips.shape[:2])
        return name_color(clips)

    one = Labeler(run, RECIPE, NAMES, "val")
    assert one.windows_per_pass == 64 // RECIPE.clip.num_frames
