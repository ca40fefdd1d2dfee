"""Which frames a view is made of: pure functions from a frame count to indices counted from 0.

A view is k segments of `length` frames, `step` frames apart, out of n frames. A random generator is an argument
wherever there is chance.

Source: PySlowFast `datasets/decoder.py`; mmaction2 0.x and 1.x `SampleFrames`, `DenseSampleFrames`, `UniformSample`;
MIT temporal-shift-module `ops/dataset.py`; PaddleMVF, which samples as mmaction2 0.x; PaddleVideo
`loader/pipelines/sample.py`, whose `Sampler` is the rule `paddlevideo` as it comes, and `mit` with select_left;
Efficient-3DCNNs `temporal_transforms.py`.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from configs import Recipe, RecipeError
from datasets.annotation import DataError

DENSE_RANGE = 64


def check_sampling(recipe: Recipe) -> None:
    """Raises RecipeError for combinations of sampling options that no public code defines.

    Raises:
        RecipeError: The combination of sampling, num_segments, clip_len and test_clips has no meaning.
    """
    rule, segments = recipe.clip.sampling, max(recipe.clip.num_segments, recipe.clip.test_num_segments)
    if rule == "paddlevideo":
        for name, only in (("frame_interval", 1), ("test_clips", 1), ("out_of_bound", "loop")):
            value = getattr(recipe.clip, name)
            if value != only:
                raise RecipeError(f"{name} must be {only} for sampling paddlevideo, got {value}")
    if rule == "mit" and recipe.clip.frames_per_segment > 1:
        raise RecipeError(
            f"sampling mit places single frames: clip_len must be 1, got {recipe.clip.frames_per_segment}"
        )
    if rule == "efficient3d" and (segments > 1 or recipe.clip.out_of_bound != "loop"):
        raise RecipeError("sampling efficient3d takes one segment and out_of_bound loop, got " + _shape(recipe))
    _check_pyslowfast(recipe, segments)
    if rule == "dense" and segments > DENSE_RANGE:
        raise RecipeError(f"sampling dense takes {DENSE_RANGE} segments at most, got num_segments {segments}")
    if rule == "uniform" and recipe.clip.frames_per_segment > 1 and segments > 1:
        raise RecipeError("sampling uniform needs num_segments 1 or clip_len 1, got " + _shape(recipe))
    one_frame_clips = rule in ("mmaction0", "mmaction1", "mit") and recipe.clip.frames_per_segment == 1
    if one_frame_clips and recipe.clip.test_clips > 2:
        raise RecipeError(
            f"test_clips must be 1, or 2 for twice-sample, when clip_len is 1; got {recipe.clip.test_clips}"
        )
    many_clips = (
        rule in ("mmaction0", "mmaction1") and recipe.clip.frames_per_segment > 1 and recipe.clip.test_num_segments > 1
    )
    if many_clips and recipe.clip.test_clips > 1:
        raise RecipeError("test_clips must be 1 when a view has several clips of several frames, got " + _shape(recipe))


def _check_pyslowfast(recipe: Recipe, segments: int) -> None:
    rule = recipe.clip.sampling
    if rule == "pyslowfast" and (segments > 1 or recipe.clip.frames_per_segment == 1):
        raise RecipeError("sampling pyslowfast takes one segment of several frames, got " + _shape(recipe))
    if rule != "pyslowfast" and recipe.clip.fps:
        raise RecipeError(f"fps must be 0 for sampling {rule}, got {recipe.clip.fps:g}: it belongs to pyslowfast")


def _shape(recipe: Recipe) -> str:
    clip = recipe.clip
    return f"num_segments {clip.num_segments}, clip_len {clip.frames_per_segment}, test_clips {clip.test_clips}"


def train_indices(num_frames: int, recipe: Recipe, rng: np.random.Generator, fps: float = 0.0) -> np.ndarray:
    """Frame indices of one training view, int64 [T], T = num_segments * clip_len; `fps` as for `test_indices`.

    Raises:
        DataError: The video has no frame.
    """
    _check_frames(num_frames)
    n, k, length, step = (
        num_frames,
        recipe.clip.num_segments,
        recipe.clip.frames_per_segment,
        recipe.clip.frame_interval,
    )
    if recipe.clip.sampling == "uniform":
        return uniform_train(n, k * length, rng)
    if recipe.clip.sampling == "pyslowfast":
        span = pyslowfast_span(recipe, fps)
        return pyslowfast_clip(n, rng.uniform(0, max(n - span, 0)), span, length)
    if recipe.clip.sampling == "dense":
        offsets = dense_offsets(n, k, dense_start(n, rng))
    elif recipe.clip.sampling == "mit":
        offsets = mit_train(n, k, rng)
    elif recipe.clip.sampling == "paddlevideo":
        offsets = paddlevideo_train(n, k, length, rng)
    elif recipe.clip.sampling == "efficient3d":
        offsets = np.array([rng.integers(max(n - length * step, 1))])
    else:
        offsets = mmaction_train(n, k, length, step, rng)
    return expand_segments(offsets, length, step, n, recipe.clip.out_of_bound).reshape(-1)  # [T]


def val_indices(num_frames: int, recipe: Recipe, fps: float = 0.0) -> np.ndarray:
    """Frame indices of the one view that validation takes, int64 [1, T], T = num_segments * clip_len.

    With `pyslowfast` it is the clip in the middle; `fps` as for `test_indices`.

    Raises:
        DataError: The video has no frame.
    """
    _check_frames(num_frames)
    if recipe.clip.sampling == "mit":
        return expand_segments(mit_val(num_frames, recipe.clip.num_segments), 1, 1, num_frames, "loop").reshape(1, -1)
    if recipe.clip.sampling == "pyslowfast":
        # Deviation: the source draws a random clip here; the middle one makes it repeatable.
        span = pyslowfast_span(recipe, fps)
        start = max(num_frames - span, 0) / 2
        return pyslowfast_clip(num_frames, start, span, recipe.clip.frames_per_segment)[None]
    return _views(num_frames, recipe, num_clips=1, num_segments=recipe.clip.num_segments)


def test_indices(num_frames: int, recipe: Recipe, num_clips: int, fps: float = 0.0) -> np.ndarray:  # noqa: PT028
    """Frame indices of the temporal views of a test, int64 [num_clips, T], T = test_num_segments * clip_len.

    Args:
        num_frames: Frames of the video.
        recipe: Read for how a view is made.
        num_clips: Views.
        fps: Frames a second of the video, 0 if unknown; only `pyslowfast` asks for it.

    Raises:
        DataError: The video has no frame.
    """
    _check_frames(num_frames)
    if recipe.clip.sampling == "pyslowfast":
        return pyslowfast_test(num_frames, num_clips, pyslowfast_span(recipe, fps), recipe.clip.frames_per_segment)
    return _views(num_frames, recipe, num_clips, recipe.clip.test_num_segments)


test_indices.__test__ = False  # type: ignore[attr-defined]  # pytest would take the name for a test


def view_indices(num_frames: int, recipe: Recipe, mode: str, fps: float = 0.0) -> np.ndarray:
    """Frame indices of the views of a mode, "val" or "test", int64 [clips, T]; see `val_indices` and `test_indices`."""
    if mode == "test":
        return test_indices(num_frames, recipe, recipe.clip.test_clips, fps)
    return val_indices(num_frames, recipe, fps)


def evenly(count: int, most: int) -> np.ndarray:
    """Indices of some of `count` things, `most` at most, evenly from the first to the last."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))


def _check_frames(num_frames: int) -> None:
    if num_frames < 1:
        raise DataError(f"a video must have 1 frame at least, got {num_frames}")


def _views(n: int, recipe: Recipe, num_clips: int, num_segments: int) -> np.ndarray:
    length, step = recipe.clip.frames_per_segment, recipe.clip.frame_interval
    if recipe.clip.sampling == "uniform":
        return uniform_test(n, num_segments * length, num_clips)
    if recipe.clip.sampling == "dense":
        offsets = np.concatenate([dense_offsets(n, num_segments, start) for start in dense_test_starts(n, num_clips)])
    else:
        spread_clips = num_segments == 1 and (length > 1 or recipe.clip.sampling == "efficient3d")
        k = num_clips if spread_clips else num_segments
        twice = num_clips == 2 and not spread_clips
        offsets = TEST_RULES[recipe.clip.sampling](n, k, length, step, twice)
    return expand_segments(offsets, length, step, n, recipe.clip.out_of_bound).reshape(num_clips, -1)  # [clips, T]


def expand_segments(offsets: np.ndarray, length: int, step: int, n: int, out_of_bound: str) -> np.ndarray:
    """Frames of the segments that start at `offsets`, int64 [k, length], all in 0..n-1.

    Args:
        offsets: First frame of each segment [k], whole or fractional; fractions are cut off at the very end.
        out_of_bound: "loop" starts the video again; "repeat_last" repeats the segment's last frame inside the video.
    """
    indices = np.asarray(offsets)[:, None] + np.arange(length) * step  # [k, length]
    if out_of_bound == "loop":
        return np.mod(indices, n).astype(np.int64)
    inside = indices < n
    last = np.max(np.where(inside, indices, 0), axis=1, keepdims=True)
    return np.where(inside, indices, last).astype(np.int64)


def mmaction_train(n: int, k: int, length: int, step: int, rng: np.random.Generator) -> np.ndarray:
    """One random start in each of k equal parts; sorted random starts when the parts are shorter than a frame."""
    span = length * step
    part = (n - span + 1) // k
    if part > 0:
        return np.arange(k) * part + rng.integers(part, size=k)
    if n > max(k, span):
        return np.sort(rng.integers(n - span + 1, size=k))
    if part == 0:
        return np.around(np.arange(k) * ((n - span + 1) / k)).astype(np.int64)
    return np.zeros(k, np.int64)


def mmaction0_test(n: int, k: int, length: int, step: int, twice: bool) -> np.ndarray:
    """mmaction2 0.x, MVFNet, PaddleMVF: the middle of each of k parts, and with `twice` their left ends after."""
    span = length * step
    part = (n - span + 1) / k
    if n < span:
        return np.zeros(k * (1 + twice), np.int64)
    left = np.arange(k) * part
    offsets = np.concatenate([left + part / 2.0, left]) if twice else left + part / 2.0
    return offsets.astype(np.int64)


def mmaction1_test(n: int, k: int, length: int, step: int, twice: bool) -> np.ndarray:
    """mmaction2 1.x: single frames as in the middle of k parts, longer ones spread from the first to the last start."""
    if length == 1:
        part = n / float(k)
        left = np.arange(k) * part
        return np.concatenate([left + part / 2.0, left]) if twice else left + part / 2.0
    last = max(n - ((length - 1) * step + 1), 0)
    if k == 1:
        return np.array([last // 2], np.int64)
    return np.round(np.arange(k) * (last / float(k - 1))).astype(np.int64)


def mit_train(n: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """MIT TSN and TSM: mmaction's rule for single frames, but the first frame only when n < k."""
    return mmaction_train(n, k, 1, 1, rng) if n >= k else np.zeros(k, np.int64)


def mit_val(n: int, k: int) -> np.ndarray:
    """MIT validation: the middle of each of k parts, the first frame only when n <= k."""
    return mit_test(n, k, 1, 1, twice=False) if n > k else np.zeros(k, np.int64)


def mit_test(n: int, k: int, length: int, step: int, twice: bool) -> np.ndarray:
    """MIT test: the middle of each of k parts, and with `twice` their left ends after; `length` and `step` are 1."""
    part = n / float(k)
    left = np.arange(k) * part
    offsets = np.concatenate([part / 2.0 + left, left]) if twice else part / 2.0 + left
    return offsets.astype(np.int64)


def paddlevideo_train(n: int, k: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """PaddleVideo: a random place in each of k parts of whole frames; where frames fill their part, its left end."""
    free = n // k - length
    return _paddlevideo_parts(n, k) + (rng.integers(free + 1, size=k) if free >= 0 else 0)


def paddlevideo_test(n: int, k: int, length: int, step: int, twice: bool) -> np.ndarray:
    """PaddleVideo: segments start at the middle of each of k parts of whole frames, the left of two middle frames.

    Where a part is shorter than `length` they start at its left end. `step` is 1 and `twice` does not occur.
    """
    part = n // k
    return _paddlevideo_parts(n, k) + ((part - 1) // 2 if part >= length else 0)


def _paddlevideo_parts(n: int, k: int) -> np.ndarray:
    """Left ends of the parts; a video of fewer frames than parts is run through from the start, again and again."""
    return np.arange(k) * max(n // k, 1)


def efficient3d_test(n: int, k: int, length: int, step: int, twice: bool) -> np.ndarray:
    """Efficient-3DCNNs: the middle of the clip, whole intervals, on the middle of the video.

    Its code takes one clip alone; several are spread from the first start to the last. `twice` does not occur.
    """
    span = length * step
    if k > 1:
        return np.linspace(0, max(n - span, 0), k).astype(np.int64)
    return np.array([max(n // 2 - span // 2, 0)], np.int64)


TEST_RULES = {
    "mmaction0": mmaction0_test,
    "mmaction1": mmaction1_test,
    "mit": mit_test,
    "paddlevideo": paddlevideo_test,
    "efficient3d": efficient3d_test,
}


def dense_offsets(n: int, k: int, start: int) -> np.ndarray:
    """k single frames, 64 // k apart, that start at `start` and wrap at the end."""
    return (np.arange(k) * (DENSE_RANGE // k) + start) % n


def dense_start(n: int, rng: np.random.Generator) -> int:
    """Random start of a dense window of 64 frames; the last possible one is never drawn, as in the sources."""
    positions = max(1, 1 + n - DENSE_RANGE)
    return 0 if positions == 1 else int(rng.integers(0, positions - 1))


def dense_test_starts(n: int, num_clips: int) -> np.ndarray:
    """Starts of the dense windows of a test, spread from the first to the last, int64 [num_clips]."""
    last = max(1, 1 + n - DENSE_RANGE) - 1
    if num_clips == 1:
        # Deviation: the sources draw a random window here (validation); the middle one makes it repeatable.
        return np.array([last // 2], np.int64)
    return np.linspace(0, last, num_clips, dtype=np.int64)


def pyslowfast_span(recipe: Recipe, fps: float) -> float:
    """Frames that a clip lasts in a video of so many frames a second."""
    rate = fps / recipe.clip.fps if fps and recipe.clip.fps else 1.0
    return recipe.clip.frames_per_segment * recipe.clip.frame_interval * rate


def pyslowfast_clip(n: int, start: float, span: float, length: int) -> np.ndarray:
    """PySlowFast: `length` frames evenly from `start` to the last of the span, cut down, inside the video, int64.

    The steps are a little longer than the interval: the last frame is the span's last, and not an interval before its
    end. They are computed in float32 from both ends, as PyTorch's linspace does.
    """
    first, last = np.float32(start), np.float32(start + span - 1)
    step = (last - first) / np.float32(length - 1)
    i = np.arange(length, dtype=np.float32)
    places = np.where(i < length // 2, first + step * i, last - step * (length - 1 - i))
    return np.clip(places, 0, n - 1).astype(np.int64)


def pyslowfast_test(n: int, num_clips: int, span: float, length: int) -> np.ndarray:
    """PySlowFast: clip k of K starts at the fraction k / K of the room, so that the last one stops short of the end."""
    room = max(n - span, 0)
    return np.stack([pyslowfast_clip(n, room * k / num_clips, span, length) for k in range(num_clips)])


def uniform_train(n: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """One random frame in each of `length` equal parts, int64 [length]; the frame interval plays no role."""
    part = (n - 1) / length
    edges = [round(part * i) for i in range(length + 1)]
    return np.array([rng.integers(low, high + 1) for low, high in pairwise(edges)], np.int64)


def uniform_test(n: int, length: int, num_clips: int) -> np.ndarray:
    """View k takes each part's frame at the fraction (k + 1) / (num_clips + 1), int64 [num_clips, length]."""
    part = (n - 1) / length
    starts = [round(part * i) for i in range(length)]
    shifts = [int(part / (num_clips + 1) * (k + 1)) for k in range(num_clips)]
    return np.array([[start + shift for start in starts] for shift in shifts], np.int64)  # [clips, T]
