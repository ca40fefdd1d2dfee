"""What can be seen of a training while it goes, beside its log: a board, and where the time goes."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import paddle
from paddle import nn

from configs import Recipe
from datasets import Dataset
from datasets.loader import Batch
from datasets.sampling import evenly
from datasets.transforms import denormalized
from engine.boards import Board
from engine.shares import PARTS, Shares, table
from runtime.cpu import usable_cores

SHOWN, FRAMES, SIDE = 4, 8, 96  # clips of the picture, frames of each, and their height in pixels


class Watch:
    """Watches a run. Nothing of it changes a number of the run.

    Args:
        board: Where it shows what it sees; None for nowhere.
        profile: Whether each epoch ends with a table of where its time went.
        workers: Processes that read.
    """

    def __init__(self, board: Board | None = None, profile: bool = False, workers: int = 0) -> None:
        self.board, self._profile, self._workers = board, profile, workers
        self._epoch = Shares(exact=profile or board is not None)
        self._lines = dict(self._epoch.seconds)  # seconds when the last line was written
        self._norm = float("nan")

    # -----------------------------------------------------------------------------------------------------------------
    # In an epoch

    def begin_epoch(self) -> None:
        """The clock starts."""
        self._epoch.begin()
        self._lines = dict.fromkeys(PARTS, 0.0)

    def mark(self, part: str) -> None:
        """What has passed since the last call was this part of `PARTS`."""
        self._epoch.mark(part)

    def clips(self, batch: Batch, dataset: Dataset, step: int) -> None:
        """Shows what the network gets of the first samples of a batch."""
        if self.board is None or not len(batch.clips):
            return
        names, entries = dataset.annotation.class_names, dataset.annotation.entries
        rows, words = [], []
        for views, index in zip(batch.clips[:SHOWN], batch.indices[:SHOWN], strict=True):
            rows.append(strip(views[0], dataset.recipe))
            target = entries[index].target
            label = names[target] if isinstance(target, int) and target < len(names) else str(target)
            words.append(f"{label}: {entries[index].path}")
        self.board.image("train/clips", np.vstack(rows), step)
        self.board.text("train/clips_are", "\n\n".join(words), step)

    def batch(self, loss: float) -> None:
        """The mean loss of each batch; here nobody looks at it."""

    def gradients(self, model: nn.Layer, scale: float) -> None:
        """Looks at the gradients of a step before they are clipped; `scale` is what float16 multiplies them by."""
        if self.board is not None:
            self._norm = gradient_norm(model) / scale

    def line(self, step: int, figures: Mapping[str, float]) -> None:
        """Shows figures of training with a line of the log, and where the time since the last one went."""
        if self.board is None:
            return
        passed = {part: seconds - self._lines[part] for part, seconds in self._epoch.seconds.items()}
        self._lines = dict(self._epoch.seconds)
        total = sum(passed.values()) or 1.0
        shown = {f"train/{name}": value for name, value in figures.items()}
        shown["train/gradient_norm"] = self._norm
        shown |= {f"share/{part}": seconds / total for part, seconds in passed.items()}
        self._show(shown, step)

    def end_epoch(self) -> list[str]:
        """Lines of the log: where the time of the epoch went, if that is asked for."""
        if not self._profile or not self._epoch.batches:
            return []
        return table(self._epoch.seconds, self._epoch.batches, self._workers, usable_cores())

    # -----------------------------------------------------------------------------------------------------------------
    # Beside

    def evaluated(self, step: int, metrics: Mapping[str, float], pictures: Mapping[str, bytes]) -> None:
        """Shows an evaluation and its pictures, which are PNG files."""
        if self.board is None:
            return
        self._show({f"eval/{name}": value for name, value in metrics.items()}, step)
        for name, content in pictures.items():
            image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
            self.board.image(f"eval/{name}", cv2.cvtColor(image, cv2.COLOR_BGR2RGB), step)

    def sizes(self) -> dict[str, int]:
        """Name of the board -> bytes that a checkpoint knows of."""
        return {self.board.name: self.board.size} if self.board else {}

    def close(self) -> None:
        """Writes what is left."""
        if self.board:
            self.board.close()

    def _show(self, figures: Mapping[str, float], step: int) -> None:
        assert self.board is not None
        for name, value in figures.items():
            if np.isfinite(value):
                self.board.scalar(name, float(value), step)


def gradient_norm(model: nn.Layer) -> float:
    """The norm of all gradients of a model together; 0 without any."""
    gradients = (parameter.grad for parameter in model.parameters() if parameter.grad is not None)
    squares = [(gradient.astype("float32") ** 2).sum() for gradient in gradients]
    return float(paddle.stack(squares).sum().sqrt()) if squares else 0.0


def strip(view: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Frames of a view as pictures side by side, uint8 [H, W, 3] RGB.

    Args:
        view: float32 [T, 3, H, W], or of an image [3, H, W].
        recipe: Says how pixels were normalized.
    """
    frames = view if view.ndim == 4 else view[None]
    width = round(SIDE * frames.shape[3] / frames.shape[2])
    shown = denormalized(frames[evenly(len(frames), FRAMES)], recipe.pixels)
    return np.hstack([cv2.resize(frame, (width, SIDE), interpolation=cv2.INTER_AREA) for frame in shown])
