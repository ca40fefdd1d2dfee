"""What a run says: TIPC's lines in `train.log`, a progress bar on a terminal, one JSON object per event."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from engine.checkpoint import errors_named
from runtime.command import printable
from runtime.owned import Owned
from weights import CheckpointError


class RunLog:
    """Writes lines to the terminal and to `train.log`, and events to `metrics.jsonl`."""

    def __init__(self, directory: Path, resume_at: int | None = None) -> None:
        """Opens the two files.

        Args:
            directory: The run directory.
            resume_at: Bytes of `metrics.jsonl` that the resumed checkpoint knows of; what a killed run wrote after
                that is cut off. None starts new files.

        Raises:
            CheckpointError: A file cannot be written, or has lost what the checkpoint knows of.
            ForeignError: A file of that name is not this program's.
        """
        self._metrics_path = directory / "metrics.jsonl"
        self._text_path = directory / "train.log"
        run = Owned(directory)
        if resume_at is None:
            with errors_named(directory):
                for path in (self._metrics_path, self._text_path):
                    run.start_log(path.name)
            return
        run.check(self._metrics_path.name)
        cut_back(self._metrics_path, resume_at)

    def line(self, text: str = "") -> None:
        """Writes one line."""
        text = printable(text)  # a file name need not be
        tqdm.write(text)
        with errors_named(self._text_path), self._text_path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def event(self, **values: Any) -> None:
        """Appends one JSON object to `metrics.jsonl`."""
        with errors_named(self._metrics_path), self._metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    @property
    def metrics_size(self) -> int:
        """Bytes in `metrics.jsonl`."""
        return self._metrics_path.stat().st_size


def cut_back(path: Path, known: int) -> None:
    """Cuts off what a killed run has written into a file after its checkpoint.

    Args:
        path: The file.
        known: Bytes that the checkpoint knows of.

    Raises:
        CheckpointError: It cannot be written, or has lost what the checkpoint knows of.
    """
    size = path.stat().st_size if path.is_file() else 0
    if size < known:
        raise CheckpointError(f"{path} is shorter than the checkpoint knows it: it was changed")
    with errors_named(path):
        os.truncate(path, known)


class SilentLog(RunLog):
    """The log of a process that is not the first of its run: it says and writes nothing."""

    def __init__(self) -> None:
        pass

    def line(self, text: str = "") -> None:
        """Drops the line."""

    def event(self, **values: Any) -> None:
        """Drops the event."""


class EpochMeter:
    """Loss and accuracy over an epoch, reader and batch cost over the batches since the last line."""

    def __init__(self) -> None:
        self.loss_sum = self.hits = 0.0
        self.samples = 0
        self._restart_window()
        self._mark = time.perf_counter()

    def data_arrived(self) -> None:
        """Call when a batch has been read."""
        now = time.perf_counter()
        self._reader += now - self._mark

    def batch_done(self, loss: float, hits: float, samples: int) -> None:
        """Call after the step: loss is the batch's mean, hits its number of correct predictions."""
        now = time.perf_counter()
        self._last, self._last_samples = now - self._mark, samples
        self._total += self._last
        self._mark = now
        self._batches += 1
        self._window_samples += samples
        self.loss_sum += loss * samples
        self.hits += hits
        self.samples += samples

    @property
    def loss(self) -> float:
        """Mean loss of the epoch so far."""
        return self.loss_sum / max(self.samples, 1)

    @property
    def clips_per_second(self) -> float:
        """Of the batches since the last line."""
        return self._window_samples / max(self._total, 1e-9)

    @property
    def accuracy(self) -> float:
        """Training accuracy of the epoch so far."""
        return self.hits / max(self.samples, 1)

    def train_line(self, epoch: int, epochs: int, batch: int, step: int, lr: float, batches_left: int) -> str:
        """The line of training that TIPC's readers know; restarts the window of costs.

        Those split it at spaces: `train step` and a `loss:` without a comma are PaddleVideo's, `ips:`, here of the last
        batch, is the benchmark's, the rest is the guide's.

        Args:
            epoch, epochs: Of how many, from 1.
            batch, step: Batches of this epoch, and of all.
            lr: The learning rate.
            batches_left: Of all epochs.

        Source: PaddleVideo, test_tipc/extract_loss.py; PaddlePaddle/benchmark, scripts/analysis.py;
            PaddlePaddle/models, ArticleReproduction_CV.md, section 3.10.
        """
        count = max(self._batches, 1)
        reader, cost, samples = self._reader / count, self._total / count, self._window_samples / count
        ips = self._last_samples / max(self._last, 1e-9)
        self._restart_window()
        return (
            f"[TRAIN] epoch: [{epoch}/{epochs}], batch_id: {batch}, train step: {step}, loss: {self.loss:.6f} "
            f"lr: {lr:.6f} acc: {self.accuracy:.3f}, avg_reader_cost: {reader:.3f} sec, "
            f"avg_batch_cost: {cost:.3f} sec, avg_samples: {samples:g}, "
            f"avg_ips: {samples / max(cost, 1e-9):.3f} images/sec, ips: {ips:.3f} images/sec, "
            f"ETA {_clock(cost * batches_left)}"
        )

    def _restart_window(self) -> None:
        self._reader = self._total = self._last = 0.0
        self._last_samples = 0
        self._batches = self._window_samples = 0


class Speed:
    """Clips in a second over a number of batches, the first fifth (ten at most) left out as warm-up."""

    def __init__(self, batches: int) -> None:
        self.batches, self.done, self.samples = batches, 0, 0
        self.warm_up = min(10, batches // 5)
        self._mark = time.perf_counter()

    def batch_done(self, samples: float) -> None:
        """Call after each step, with the clips of all processes."""
        self.done += 1
        self.samples += int(samples)
        if self.done == self.warm_up:
            self.samples, self._mark = 0, time.perf_counter()

    def line(self) -> str:
        """The only line of a run that has `benchmark` and one number called avg_ips in it."""
        seconds = time.perf_counter() - self._mark
        return (
            f"benchmark: {self.done} batches, the first {min(self.warm_up, self.done)} not counted, "
            f"avg_ips: {self.samples / max(seconds, 1e-9):.3f} images/sec"
        )


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}"
