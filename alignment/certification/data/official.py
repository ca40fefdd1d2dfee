"""What the official review compares of the data: length, labels, indices and pixels of the first samples."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from alignment.certification.data.pipeline import DEFAULTS, Pipeline
from alignment.sides.pair import Sides
from alignment.verdicts.record import Record, exact, tensor
from configs import Recipe
from datasets import load_annotation
from datasets.demo import write_demo_dataset

SAMPLES = 5
SIZE = 64
TOLERANCE = 1e-6  # of a clip, relative to its largest value; the review allows as much in the mean
# The review allows an error of 1e-6 in the mean, so no side is resized here: OpenCV's bilinear rule has weights of 11
# bits, and by how much it may differ is what the stage `data` judges.
RECIPE = Recipe.of(
    num_segments=1, clip_len=4, frame_interval=2, test_clips=2, short_side=SIZE, crop_size=48, test_size=48,
    train_crop="center", flip_pairs=((0, 1), (2, 3)),
)  # fmt: skip


def official_data(sides: Sides = DEFAULTS, seed: int = 0) -> dict[str, Sides]:
    """Arrays of both sides by `data/NAME`.

    Args:
        sides: The two `Pipeline`s; the candidate's samples are those that our `load_annotation` finds.
        seed: Of the embedded data set that is written for it, and of the draws.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = write_demo_dataset(Path(folder) / "set", train_per_class=1, val_per_class=1, size=SIZE, seed=seed)
        found = [(entry.path, int(entry.target)) for entry in load_annotation(str(root), "val").entries]
        samples = Sides(_listed(root / "val"), found)
        arrays = Sides(*(_arrays(*side, seed) for side in zip(sides, samples, strict=True)))
    names = [*arrays.reference, *(name for name in arrays.candidate if name not in arrays.reference)]
    nothing = np.empty(0)
    return {f"data/{name}": Sides(*(side.get(name, nothing) for side in arrays)) for name in names}


def official_records(arrays: dict[str, Sides]) -> list[Record]:
    """The verdict of each array of `official_data`: whole numbers are equal, clips within TOLERANCE of their scale."""
    return [
        tensor(name, "pixels", *sides, TOLERANCE)
        if np.issubdtype(sides.reference.dtype, np.floating)
        else exact(name, "indices", *sides)
        for name, sides in arrays.items()
    ]


def _listed(folder: Path) -> list[tuple[str, int]]:
    """(path, label) of a folder for each class, by the rule of torchvision's ImageFolder."""
    names = sorted(path.name for path in folder.iterdir())
    return [(str(path), label) for label, name in enumerate(names) for path in sorted((folder / name).iterdir())]


def _arrays(pipeline: Pipeline, samples: list[tuple[str, int]], seed: int) -> dict[str, np.ndarray]:
    arrays = {"length": np.array(len(samples)), "labels": np.array([label for _, label in samples])}
    for number, (path, label) in enumerate(samples[:SAMPLES]):
        count = pipeline.count_frames(path)
        clip, target = pipeline.train_clip(path, label, RECIPE, number)  # another epoch for each: other draws
        values: dict[str, Any] = {
            "frames": count,
            "train_indices": pipeline.train_indices(count, RECIPE, np.random.default_rng([seed, number])),
            "val_indices": pipeline.val_indices(count, RECIPE),
            "test_indices": pipeline.test_indices(count, RECIPE),
            "train_label": target,
        }
        arrays |= {f"sample_{number}/{name}": np.asarray(value, np.int64) for name, value in values.items()}
        arrays[f"sample_{number}/train"] = clip  # [1, T, 3, H, W]
        arrays |= {f"sample_{number}/{mode}": pipeline.eval_clip(path, RECIPE, mode) for mode in ("val", "test")}
    return arrays
