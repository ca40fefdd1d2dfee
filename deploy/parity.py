"""Whether an artifact computes what the trained model does: logits of real clips, engine against dygraph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs import Recipe
from deploy.artifact import ArtifactError
from deploy.engines import open_engine
from deploy.interface import Engine, Stream
from runtime.fresh_process import in_fresh_process
from runtime.owned import temporary_folder
from tasks import task_of

TOLERANCE = 1e-4  # largest difference of logits, in units of the largest logit, of 1 at least
OTHER_PIXELS = 1e-3  # of a mask, the fraction of its pixels that may be of another class: those at chance
BATCHES = (1, 2, 5)


class ParityError(ArtifactError):
    """An engine computes other logits than the model."""


def parity_clips(videos: Sequence[str], recipe: Recipe, mode: str) -> np.ndarray:
    """One view of each video or picture, float32 [n, ...]; two that the task draws for none, one for one.

    Args:
        videos: Files or folders that the recipe's task reads.
        recipe: Places and transforms the views.
        mode: `test` or `val`, as of `VideoDataset`.

    Raises:
        DataError: A video cannot be decoded.
    """
    task = task_of(recipe)
    with temporary_folder() as folder:
        paths = [*videos, *(task.draw_example(Path(folder) / str(seed), seed) for seed in range(2 - len(videos)))]
        return np.stack([task.views(path, recipe, mode)[0] for path in paths])


def check_spread(logits: np.ndarray, origin: str) -> float:
    """How far the logits [n, K] of different clips are apart.

    Raises:
        ArtifactError: They are not finite, or so near to each other that agreement would prove nothing.
    """
    if not np.isfinite(logits).all():
        raise ArtifactError(f"{origin} gives logits that are not finite: its weights are damaged, or lr was too high")
    spread = float(np.abs(logits - logits[:1]).max())
    if spread <= 1e-6 * max(float(np.abs(logits).max()), 1e-30):
        raise ArtifactError(f"{origin} gives the same scores to every clip, as untrained weights do: train it first")
    return spread


def compare(name: str, directory: Path, clips: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    """Runs an engine on an artifact in a fresh process, in batches of 1, 2 and 5 clips.

    Args:
        name: A key of `deploy.engines.ENGINES`.
        directory: The artifact.
        clips: float32 [n, ...], n at least 2.
        expected: Their logits by dygraph, [n, K] or [n, K, H, W].

    Returns:
        `max_difference`, `allowed`, `relative` (to the largest logit), `spread` of the clips' logits, `top1` (top-1
        agreement, a fraction of the clips, or of all their pixels), `clips`, and of maps `other_pixels`, the fraction
        that are of another class.

    Raises:
        ArtifactError: The engine does not run the graph.
        ParityError: It gives other logits.
    """
    rows = np.concatenate([*(np.arange(size) % len(clips) for size in BATCHES), np.arange(max(BATCHES), len(clips))])
    found = in_fresh_process(_logits, name, str(directory), clips, rows)
    wanted = expected[rows]
    difference, scale = float(np.abs(found - wanted).max()), float(np.abs(expected).max())
    spread = float(np.abs(expected - expected[:1]).max())
    figures = {
        "max_difference": difference,
        # What is small beside the logits must be so beside what tells the clips apart, too.
        "allowed": min(TOLERANCE * max(scale, 1.0), 0.1 * spread),
        "relative": difference / scale,
        "spread": spread,
        "top1": float((found.argmax(axis=1) == wanted.argmax(axis=1)).mean()),
        "clips": len(clips),
    }
    is_maps = wanted.ndim > 2
    if is_maps:
        figures["other_pixels"] = 1 - figures["top1"]
    if not difference <= figures["allowed"] or 1 - figures["top1"] > OTHER_PIXELS * is_maps:
        raise ParityError(
            f"{name} differs from the trained model by {difference:.1e} (allowed: {figures['allowed']:.1e}), top-1 "
            f"agreement is {figures['top1']:.2%}: the artifact is not kept"
        )
    return figures


def _logits(name: str, directory: str, clips: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Logits [len(rows), K] of the clips of these rows, in batches of BATCHES and what is left one by one."""
    engine = open_engine(name, directory)
    ends = list(np.cumsum(BATCHES)) + list(range(sum(BATCHES) + 1, len(rows) + 1))
    run = clip_by_frames if engine.signature.states else Engine.__call__
    return np.concatenate([run(engine, clips[part]) for part in np.split(rows, ends[:-1])])


def clip_by_frames(engine: Engine, clips: np.ndarray) -> np.ndarray:
    """Mean logits [N, K] of clips [N, T, 3, H, W] that a graph of a stream sees frame by frame."""
    stream = Stream(engine, len(clips))
    steps = [stream.step({engine.signature.inputs[0].name: frames}) for frames in clips.swapaxes(0, 1)]
    return np.mean([step[engine.signature.outputs[0].name] for step in steps], axis=0)
