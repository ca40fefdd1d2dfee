"""Which frames a view is made of, in plain Python, one frame after the other; indices count from 0.

Wherever chance decides, `draw(low, high)` gives a whole number from low up to but without high; it is called once for
each number, in the order of the frames.

Source: PySlowFast `datasets/decoder.py`; mmaction2 0.x and 1.x `SampleFrames`, `DenseSampleFrames` and
`UniformSample`; MIT temporal-shift-module `ops/dataset.py`; PaddleVideo `loader/pipelines/sample.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Draw = Callable[[int, int], int]


def train_indices(
    num_frames: int,
    draw: Draw,
    uniform: Callable[[float, float], float],
    *,
    sampling: str,
    num_segments: int,
    clip_len: int,
    frame_interval: int,
    out_of_bound: str,
) -> list[int]:
    """The frames of one training view, num_segments * clip_len of them.

    Args:
        num_frames: Frames of the video.
        draw, uniform: The sources of chance, of whole numbers and of others.
        sampling: `mmaction0`, `mmaction1`, `mit`, `paddlevideo`, `dense`, `uniform`, `pyslowfast` or
            `efficient3d`.
        num_segments: Clips of the view.
        clip_len: Frames of a clip.
        frame_interval: Step between them.
        out_of_bound: `loop` begins the video again, `repeat_last` stays at the clip's last frame.
    """
    if sampling == "uniform":
        return _uniform_train(num_frames, num_segments * clip_len, draw)
    if sampling == "pyslowfast":
        room = max(num_frames - clip_len * frame_interval, 0)
        return _pyslowfast(num_frames, uniform(0, room), clip_len, clip_len * frame_interval)
    if sampling == "dense":
        positions = max(1, 1 + num_frames - 64)
        start = 0 if positions == 1 else draw(0, positions - 1)
        starts = _dense_starts(num_frames, num_segments, start)
    elif sampling == "mit":
        starts = _mit_train(num_frames, num_segments, draw)
    elif sampling == "paddlevideo":
        starts = _paddlevideo(num_frames, num_segments, clip_len, lambda highest: draw(0, highest + 1))
    elif sampling == "efficient3d":
        last = max(0, num_frames - clip_len * frame_interval - 1)
        starts = [draw(0, last + 1)]
    else:
        starts = _mmaction_train(num_frames, num_segments, clip_len * frame_interval, draw)
    return _frames_of(starts, clip_len, frame_interval, num_frames, out_of_bound)


def val_indices(num_frames: int, *, sampling: str, num_segments: int, **options: Any) -> list[list[int]]:
    """The one view of validation: that of a test, but MIT's rule asks for more frames than segments."""
    if sampling == "mit" and num_frames <= num_segments:
        return [[0] * num_segments]
    if sampling == "pyslowfast":  # the clip in the middle
        clip_len, span = options["clip_len"], options["clip_len"] * options["frame_interval"]
        return [_pyslowfast(num_frames, max(num_frames - span, 0) / 2, clip_len, span)]
    return test_indices(num_frames, 1, sampling=sampling, num_segments=num_segments, **options)


def test_indices(
    num_frames: int,
    num_clips: int,
    *,
    sampling: str,
    num_segments: int,
    clip_len: int,
    frame_interval: int,
    out_of_bound: str,
) -> list[list[int]]:
    """The frames of each of the `num_clips` temporal views of a test.

    With one segment of several frames the views are clips spread over the video; with segments of single frames two
    views are "twice-sample": the segments' middles, then their left ends.
    """
    if sampling == "uniform":
        return _uniform_test(num_frames, num_segments * clip_len, num_clips)
    if sampling == "pyslowfast":
        span = clip_len * frame_interval
        room = max(num_frames - span, 0)
        return [_pyslowfast(num_frames, room * k / num_clips, clip_len, span) for k in range(num_clips)]
    if sampling == "dense":
        views = [_dense_starts(num_frames, num_segments, start) for start in _dense_windows(num_frames, num_clips)]
    elif sampling == "paddlevideo":
        views = [_paddlevideo(num_frames, num_segments, clip_len, lambda _: (num_frames // num_segments - 1) // 2)]
    elif sampling == "efficient3d":
        span = clip_len * frame_interval
        middle, last = max(0, num_frames // 2 - span // 2), max(0, num_frames - span)
        views = [[middle]] if num_clips == 1 else [[int(last * i / (num_clips - 1))] for i in range(num_clips)]
    elif clip_len > 1 and num_segments == 1:
        views = [[start] for start in _clip_starts(sampling, num_frames, num_clips, clip_len, frame_interval)]
    else:
        middles = _clip_starts(sampling, num_frames, num_segments, clip_len, frame_interval)
        lefts = _clip_starts(sampling, num_frames, num_segments, clip_len, frame_interval, left=True)
        views = [middles, lefts][:num_clips]
    return [_frames_of(starts, clip_len, frame_interval, num_frames, out_of_bound) for starts in views]


test_indices.__test__ = False  # type: ignore[attr-defined]  # pytest would take the name for a test


def _pyslowfast(num_frames: int, start: float, clip_len: int, span: float) -> list[int]:
    """Frames evenly from the first to the last of a span."""
    return torch.linspace(start, start + span - 1, clip_len).clamp(0, num_frames - 1).long().tolist()


def _frames_of(starts: list[int], clip_len: int, frame_interval: int, num_frames: int, out_of_bound: str) -> list[int]:
    frames = []
    for start in starts:
        last = 0
        for i in range(clip_len):
            frame = start + i * frame_interval
            if frame < num_frames:
                last = frame
            frames.append(last if out_of_bound == "repeat_last" else frame % num_frames)
    return frames


def _mmaction_train(num_frames: int, num_clips: int, span: int, draw: Draw) -> list[int]:
    """A start in each of equal parts; without parts of a whole frame free starts in order, or rounded even ones."""
    room = num_frames - span + 1
    part = room // num_clips
    if part > 0:
        return [i * part + draw(0, part) for i in range(num_clips)]
    if num_frames > max(num_clips, span):
        return sorted(draw(0, room) for _ in range(num_clips))
    if part == 0:
        return [round(i * (room / num_clips)) for i in range(num_clips)]
    return [0] * num_clips


def _mit_train(num_frames: int, num_segments: int, draw: Draw) -> list[int]:
    duration = num_frames // num_segments
    return [i * duration + draw(0, duration) if duration else 0 for i in range(num_segments)]


def _paddlevideo(num_frames: int, num_segments: int, clip_len: int, place: Callable[[int], int]) -> list[int]:
    """A start in each of equal parts of whole frames; `place` chooses one that leaves the clip inside its part."""
    part = int(num_frames / num_segments)
    if part >= clip_len:
        return [i * part + place(part - clip_len) for i in range(num_segments)]
    return [i * max(part, 1) for i in range(num_segments)]


def _clip_starts(
    sampling: str, num_frames: int, count: int, clip_len: int, frame_interval: int, left: bool = False
) -> list[int]:
    """`count` starts over the video: the middles of equal parts or, with `left`, their left ends."""
    if sampling == "mmaction1" and clip_len > 1:  # from the first start that fits to the last
        last = max(num_frames - ((clip_len - 1) * frame_interval + 1), 0)
        return [last // 2] if count == 1 else [round(i * (last / (count - 1))) for i in range(count)]
    # mmaction 0.x lets a clip cover clip_len whole intervals; the others place single frames here.
    span = clip_len * frame_interval if sampling == "mmaction0" else 1
    if num_frames < span:
        return [0] * count
    part = (num_frames - span + 1) / count
    return [int(i * part) if left else int(i * part + part / 2) for i in range(count)]


def _dense_starts(num_frames: int, num_segments: int, start: int) -> list[int]:
    return [(start + i * (64 // num_segments)) % num_frames for i in range(num_segments)]


def _dense_windows(num_frames: int, count: int) -> list[int]:
    """Starts of the windows of 64 frames from the first place to the last, cut to whole frames; one is the middle."""
    last = max(1, 1 + num_frames - 64) - 1
    if count == 1:
        return [last // 2]
    step = last / (count - 1)
    return [int(i * step) for i in range(count - 1)] + [last]


def _uniform_train(num_frames: int, length: int, draw: Draw) -> list[int]:
    size = (num_frames - 1) / length
    return [draw(round(size * i), round(size * (i + 1)) + 1) for i in range(length)]


def _uniform_test(num_frames: int, length: int, num_clips: int) -> list[list[int]]:
    size = (num_frames - 1) / length
    duration = size / (num_clips + 1)
    return [[round(size * i) + int(duration * (k + 1)) for i in range(length)] for k in range(num_clips)]
