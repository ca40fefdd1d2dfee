"""Where the time of a training goes: the share of each part of a step, and what to change."""

from __future__ import annotations

import time
from collections.abc import Mapping

import paddle

PARTS = {
    "reading": "waiting for the readers",
    "forward": "network and loss",
    "backward": "gradients",
    "step": "gradients of other processes, optimizer, average",
    "other": "log, progress, checkpoints inside the epoch",
}
WAITS, SMALL_STEPS, TALKS = 0.15, 0.2, 0.1  # shares from which reading, steps and the rest are worth a change


class Shares:
    """A clock that gives all time since the last call to one part.

    Args:
        exact: Wait for the device before each reading of the clock: a GPU is otherwise still at the part before.
    """

    def __init__(self, exact: bool = False) -> None:
        self._exact = exact and paddle.get_device() != "cpu"
        self.begin()

    def begin(self) -> None:
        """Forgets all and starts the clock."""
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.batches = 0
        self._last = time.perf_counter()

    def mark(self, part: str) -> None:
        """What has passed since the last call was this part; `other` ends a batch."""
        if self._exact:
            paddle.device.synchronize()
        now = time.perf_counter()
        self.seconds[part] += now - self._last
        self._last = now
        self.batches += part == "other"


def table(seconds: Mapping[str, float], batches: int, workers: int, cores: int) -> list[str]:
    """Seconds and share of each part as lines, and what to change.

    Args:
        seconds: Part -> seconds, as `Shares` has them.
        batches: In which they passed.
        workers: Processes that read.
        cores: That this process may use.
    """
    total = sum(seconds.values()) or 1.0
    lines = [f"profile of {batches} batches, {sum(seconds.values()):.1f} s", "part       ms a batch  share"]
    for part, words in PARTS.items():
        lines.append(f"{part:<9} {1000 * seconds[part] / max(batches, 1):11.1f} {seconds[part] / total:6.1%}  {words}")
    return [*lines, *advice({part: one / total for part, one in seconds.items()}, workers, cores)]


def advice(shares: Mapping[str, float], workers: int, cores: int) -> list[str]:
    """What to change, a line each, by the shares of `PARTS`."""
    found = []
    if shares["reading"] > WAITS:
        more = f"--num_workers above {workers}" if workers < cores else f"more cores than the {cores} here"
        found.append(
            f"the network waits for videos: {more}, or smaller ones (python -m tools.prepare --reencode); "
            "python -m tools.bench_data times the readers alone"
        )
    if shares["step"] > SMALL_STEPS:
        found.append("the optimizer works for few clips: a larger --batch_size, or --accumulate")
    if shares["other"] > TALKS:
        found.append("the run writes much: a larger --log_iters, and --checkpoint_iters")
    if not found:
        found.append(
            "the network decides: fewer frames or pixels (--num_segments, --crop_size), a smaller --model, more cores "
            "or a GPU, there --amp float16; --to_static is faster where many small operators are"
        )
    return [f"change     {line}" for line in found]
