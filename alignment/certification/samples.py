"""What the networks of a task are compared on: one function for each task."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from alignment.certification.objectives import CLASSES
from alignment.sides.pair import IncomparableError
from configs import Recipe
from datasets import load_annotation
from datasets.dataset import load_views
from datasets.demo import write_demo_dataset
from datasets.figures import draw_figure
from datasets.letterbox import Letterbox

UNIT = 57.0  # std of pixels in 0 .. 255 that makes values around 1
GRAIN = 0.5  # std, where that of the pixels is about 1


def real_clips(
    recipe: Recipe, frames: int, size: int, batch: int, videos: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Clips float32 [batch, frames, 3, size, size] of encoded videos with some grain, and labels int64 [batch].

    Without grain the frames of a smooth scene are so alike that the variances of deep layers vanish, and with them the
    digits that a comparison lives on. The values are around 1, as random weights need it: beside pixels in the hundreds
    a bias is nothing.

    Args:
        recipe: Read for mean and standard deviation; pixels from which the mean alone is taken are divided, too.
        frames, size, batch: The shape.
        videos: Files, used in turn; without any, embedded scenes are rendered and encoded.
    """
    view = Recipe.of(
        num_segments=frames, clip_len=1, frame_interval=1, test_segments=0, test_clips=1, short_side=size,
        crop_size=size, test_size=size, mean=recipe.pixels.mean, std=tuple(max(UNIT, std) for std in recipe.pixels.std),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        if not videos:
            count = -(-batch // CLASSES)
            root = write_demo_dataset(Path(folder) / "scenes", train_per_class=1, val_per_class=count, size=112)
            videos = [entry.path for entry in load_annotation(str(root), "val").entries]
        views = [load_views(videos[i % len(videos)], view, "val")[0] for i in range(batch)]
    grain = np.random.default_rng(0).normal(0.0, GRAIN, (batch, *views[0].shape))
    return (np.stack(views) + grain).astype(np.float32), np.arange(batch) % CLASSES


def drawn_images(
    recipe: Recipe, frames: int, size: int, batch: int, videos: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [batch, 3, size, size] of drawn people, with some grain, and masks int64 [batch, size, size].

    A mask has three classes, the lower half of a person being one of its own, and a border without labels.

    Args:
        recipe: Read for mean and standard deviation.
        frames: Not looked at: an image is no clip.
        size, batch: The shape.
        videos: None.

    Raises:
        IncomparableError: There are videos.
    """
    if videos:
        raise IncomparableError(f"--video is for networks over videos, and {recipe.network.model} takes images")
    images, masks = [], []
    for seed in range(batch):
        rng = np.random.default_rng(seed)
        image, mask = draw_figure(rng, size)
        mask[image.shape[0] * 2 // 3 :] *= 2
        box = Letterbox(mask.shape[0], mask.shape[1], size)
        images.append((box.apply(image) - np.asarray(recipe.pixels.mean)) / np.maximum(UNIT, recipe.pixels.std))
        masks.append(box.apply_labels(mask))
    grain = np.random.default_rng(0).normal(0.0, GRAIN, (batch, 3, size, size))
    return (np.stack(images).transpose(0, 3, 1, 2) + grain).astype(np.float32), np.stack(masks).astype(np.int64)


# key of `tasks.TASKS` -> (recipe, frames, size, batch, videos) -> inputs and labels
SAMPLES: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "classification": real_clips,
    "segmentation": drawn_images,
}
