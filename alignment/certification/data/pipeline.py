"""The stage `data`: whether two pipelines make the same clips of a video, function by function and as a whole."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alignment.certification.data.cases import Case, data_cases, render_media
from alignment.reference import decode as reference_decode
from alignment.reference import sampling as reference_sampling
from alignment.reference import transforms as reference_transforms
from alignment.sides.pair import IncomparableError, Sides
from alignment.verdicts.record import Record, Stage
from configs import Recipe
from datasets import sampling, transforms
from datasets.annotation import Annotation, Entry
from datasets.dataset import VideoDataset, load_views
from datasets.decode import open_source
from datasets.transforms import Box, Draw, EvalTransform, Jitter, TrainTransform

SAMPLING = ("sampling", "num_segments", "clip_len", "frame_interval", "out_of_bound")
DRAWING = (
    "short_side", "resize_shape", "train_crop", "crop_size", "crop_scales", "crop_max_gap", "crop_points", "flip",
    "color_jitter",
)  # fmt: skip


@dataclass(frozen=True)
class Pipeline:
    """The functions of one side's data pipeline.

    Frames are uint8 [T, H, W, 3] RGB in NumPy, on both sides; a mode is `val` or `test`.
    """

    train_indices: Callable[[int, Recipe, Any], np.ndarray]  # (num_frames, recipe, draws) -> int [T]
    val_indices: Callable[[int, Recipe], np.ndarray]  # (num_frames, recipe) -> int [1, T]
    test_indices: Callable[[int, Recipe], np.ndarray]  # (num_frames, recipe) -> int [test_clips, T]
    count_frames: Callable[[str], int]  # (path) -> number of frames
    decode: Callable[[str, np.ndarray], np.ndarray]  # (path, indices) -> frames, one for each index
    # (height, width, short_side) -> (height, width) after the first resize
    short_side_size: Callable[[int, int, int], tuple[int, int]]
    resize: Callable[[np.ndarray, int, int], np.ndarray]  # (frames, height, width) -> frames
    # (height, width, recipe, draws) -> Draw of a training clip of decoded size height x width
    draw: Callable[[int, int, Recipe, Any], Draw]
    # (height, width, recipe, mode) -> [(Box, flipped)], of the same size
    eval_boxes: Callable[[int, int, Recipe, str], list[tuple[Box, bool]]]
    crop: Callable[[np.ndarray, Box], np.ndarray]  # (frames, box) -> frames
    flip: Callable[[np.ndarray], np.ndarray]  # (frames) -> frames
    flip_label: Callable[[int, Sequence[tuple[int, int]]], int]  # (label, pairs) -> label of a mirrored clip
    color_jitter: Callable[[np.ndarray, Jitter], np.ndarray]  # (frames, jitter) -> frames
    normalize: Callable[[np.ndarray, Recipe], np.ndarray]  # (frames, recipe) -> float32 [T, 3, H, W]
    # (path, label, recipe, epoch) -> (views float32 [1, T, 3, H, W], label)
    train_clip: Callable[[str, int, Recipe, int], tuple[np.ndarray, int]]
    eval_clip: Callable[[str, Recipe, str], np.ndarray]  # (path, recipe, mode) -> views float32 [V, T, 3, H, W]


# ---------------------------------------------------------------------------------------------------------------------
# Our side


def ours() -> Pipeline:
    """The pipeline of `datasets`."""
    return Pipeline(
        train_indices=sampling.train_indices,
        val_indices=sampling.val_indices,
        test_indices=lambda num_frames, recipe: sampling.test_indices(num_frames, recipe, recipe.clip.test_clips),
        count_frames=_our_count,
        decode=_our_decode,
        short_side_size=transforms.short_side_size,
        resize=transforms.resize,
        draw=lambda height, width, recipe, draws: TrainTransform(recipe).draw(height, width, draws),
        eval_boxes=lambda height, width, recipe, mode: EvalTransform(recipe, mode).boxes(height, width),
        crop=transforms.crop,
        flip=transforms.flip,
        flip_label=transforms.flip_label,
        color_jitter=transforms.color_jitter,
        normalize=_our_normalize,
        train_clip=_our_train_clip,
        eval_clip=load_views,
    )


def _our_count(path: str) -> int:
    with open_source(path) as source:
        return source.num_frames


def _our_decode(path: str, indices: np.ndarray) -> np.ndarray:
    with open_source(path) as source:
        return source.read(indices)


def _our_normalize(frames: np.ndarray, recipe: Recipe) -> np.ndarray:
    out = np.empty((len(frames), 3, *frames.shape[1:3]), np.float32)
    transforms.normalize(frames, transforms.normalize_table(recipe.pixels.mean, recipe.pixels.std), out)
    return out


def _our_train_clip(path: str, label: int, recipe: Recipe, epoch: int) -> tuple[np.ndarray, int]:
    views, target = VideoDataset(Annotation((Entry(path, label),), (), path), recipe, "train").load(0, epoch)
    return views, int(target)


# ---------------------------------------------------------------------------------------------------------------------
# The reference's side


def reference() -> Pipeline:
    """The pipeline of `alignment.reference`."""
    twin = reference_transforms
    return Pipeline(
        train_indices=_reference_train_indices,
        val_indices=_reference_val_indices,
        test_indices=_reference_test_indices,
        count_frames=reference_decode.count_frames,
        decode=lambda path, indices: reference_decode.decode(path, np.asarray(indices).tolist()).numpy(),
        short_side_size=twin.short_side_size,
        resize=lambda frames, height, width: twin.resize(_tensor(frames), height, width).numpy(),
        draw=_reference_draw,
        eval_boxes=_reference_eval_boxes,
        crop=lambda frames, box: twin.crop(_tensor(frames), dataclasses.astuple(box)).numpy(),
        flip=lambda frames: twin.flip(_tensor(frames)).numpy(),
        flip_label=twin.flip_label,
        color_jitter=lambda frames, jitter: twin.color_jitter(_tensor(frames), **dataclasses.asdict(jitter)).numpy(),
        normalize=lambda frames, recipe: twin.normalize(_tensor(frames), recipe.pixels.mean, recipe.pixels.std).numpy(),
        train_clip=_reference_train_clip,
        eval_clip=_reference_eval_clip,
    )


def _tensor(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames))


def _options(recipe: Recipe, *names: str) -> dict[str, Any]:
    values = _values(recipe)
    return {name: values[name] for name in names}


@functools.lru_cache(maxsize=256)
def _values(recipe: Recipe) -> dict[str, Any]:
    return recipe.options()


def _reference_train_indices(num_frames: int, recipe: Recipe, draws: Any) -> np.ndarray:
    return np.array(
        reference_sampling.train_indices(num_frames, draws.integers, draws.uniform, **_options(recipe, *SAMPLING))
    )


def _reference_val_indices(num_frames: int, recipe: Recipe) -> np.ndarray:
    return np.array(reference_sampling.val_indices(num_frames, **_options(recipe, *SAMPLING)))


def _reference_test_indices(num_frames: int, recipe: Recipe) -> np.ndarray:
    options = _options(recipe, *SAMPLING)
    options["num_segments"] = recipe.clip.test_segments or recipe.clip.num_segments
    return np.array(reference_sampling.test_indices(num_frames, recipe.clip.test_clips, **options))


def _reference_draw(height: int, width: int, recipe: Recipe, draws: Any) -> Draw:
    box, flipped, jitter = reference_transforms.draw(height, width, draws, **_options(recipe, *DRAWING))
    return Draw(Box(*box), flipped, None if jitter is None else Jitter(**jitter))


def _eval_options(recipe: Recipe, mode: str) -> dict[str, Any]:
    if mode == "val":
        return {"crops": "center", "size": recipe.pixels.crop_size}
    return {"crops": recipe.pixels.test_crops, "size": recipe.pixels.test_size}


def _reference_eval_boxes(height: int, width: int, recipe: Recipe, mode: str) -> list[tuple[Box, bool]]:
    height, width = reference_transforms.first_size(
        height, width, *_options(recipe, "short_side", "resize_shape").values()
    )
    boxes = reference_transforms.eval_boxes(height, width, **_eval_options(recipe, mode))
    return [(Box(*box), flipped) for box, flipped in boxes]


def _reference_train_clip(path: str, label: int, recipe: Recipe, epoch: int) -> tuple[np.ndarray, int]:
    rng = np.random.default_rng([recipe.training.seed, epoch, 0])
    indices = _reference_train_indices(reference_decode.count_frames(path), recipe, rng)
    frames = reference_decode.decode(path, indices.tolist())
    height, width = frames.shape[1:3]
    box, flipped, jitter = reference_transforms.draw(height, width, rng, **_options(recipe, *DRAWING))
    options = _options(recipe, "short_side", "resize_shape", "crop_size", "mean", "std", "fused_resize")
    views = reference_transforms.train_view(frames, box, flipped, jitter, **options)
    return views.numpy(), reference_transforms.flip_label(label, recipe.pixels.flip_pairs) if flipped else label


def _reference_eval_clip(path: str, recipe: Recipe, mode: str) -> np.ndarray:
    rule = _reference_val_indices if mode == "val" else _reference_test_indices
    clips = [reference_decode.decode(path, row) for row in rule(reference_decode.count_frames(path), recipe).tolist()]
    options = _options(recipe, "short_side", "resize_shape", "mean", "std", "fused_resize")
    return reference_transforms.eval_views(clips, **options, **_eval_options(recipe, mode)).numpy()


# ---------------------------------------------------------------------------------------------------------------------
# The comparison


def compare_data(
    candidate: Pipeline | None = None,
    reference: Pipeline | None = None,
    videos: Sequence[Path] = (),
    seed: int = 0,
    only: Collection[str] = (),
    until_failure: bool = False,
) -> Stage:
    """Compares two data pipelines: indices exactly, then decoding, then each transform, then whole clips.

    Args:
        candidate: The pipeline under test; None takes `ours()`.
        reference: What it should equal; None takes `reference()`.
        videos: Video files or folders of frames to decode; none renders three small ones of the embedded data set.
        seed: Of the random draws and of the frames that transforms are tried on.
        only: Functions of Pipeline to compare; none compares all.
        until_failure: End with the first difference.

    Returns:
        The stage `data`.

    Raises:
        IncomparableError: The reference fails, or `only` names no function.
    """
    unknown = [name for name in only if name not in Pipeline.__dataclass_fields__]
    if unknown:
        known = ", ".join(Pipeline.__dataclass_fields__)
        raise IncomparableError(f"only must name functions of a pipeline ({known}), got {unknown[0]!r}")
    started = time.perf_counter()
    sides = Sides(reference or DEFAULTS.reference, candidate or DEFAULTS.candidate)
    stage = Stage("data")
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(path) for path in videos] or render_media(Path(folder), seed)
        for case in data_cases(paths, seed, partial(_count, sides.reference)):
            if only and case.function not in only:
                continue
            record = _compare(case, sides)
            stage.records.append(record)
            if not record.passed and not stage.sentence:
                stage.place = record.name
                stage.sentence = f"{record.name} is the first to differ: {record.reason}. {case.hint}"
                if until_failure:
                    break
    stage.seconds = time.perf_counter() - started
    return stage


DEFAULTS = Sides(reference=reference(), candidate=ours())


def _compare(case: Case, sides: Sides) -> Record:
    try:
        expected = case.run(sides.reference)
    except Exception as error:
        raise IncomparableError(f"{case.name}: the reference fails: {_one_line(error)}") from error
    try:
        found = case.run(sides.candidate)
    except Exception as error:  # whatever a pipeline under test may raise is its answer
        return Record(case.name, case.kind, False, f"the candidate fails: {_one_line(error)}")
    return case.judge(case.name, case.kind, expected, found)


def _count(pipeline: Pipeline, path: str) -> int:
    try:
        return int(pipeline.count_frames(path))
    except Exception as error:
        raise IncomparableError(f"{path}: the reference cannot count its frames: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
