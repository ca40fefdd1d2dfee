"""What a network gives for a data set, as its task sees it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import paddle
from paddle import nn

from datasets import ClipLoader
from engine.processes import Processes
from engine.progress import progress
from tasks import Meter, Task


def run_of(model: nn.Layer) -> Callable[[np.ndarray], np.ndarray]:
    """A function from views float32 [B, ...] to the output float32 [B, ...] of a network in eval mode."""

    def run(clips: np.ndarray) -> np.ndarray:
        with paddle.no_grad():
            output: np.ndarray = model(paddle.to_tensor(clips)).astype("float32").numpy()
        return output

    return run


def evaluate(
    model: nn.Layer, loader: ClipLoader, task: Task, views_per_pass: int = 0, title: str = "test",
    processes: Processes | None = None,
) -> Meter:  # fmt: skip
    """A meter that has seen a data set, in its order; leaves the model in eval mode.

    Several processes take the batches in turn, so that each is computed as one process alone would compute it.

    Args:
        model: Any network of the task.
        loader: Of the data set, whose recipe says how views are averaged.
        task: What the output means.
        views_per_pass: Views in one forward pass; 0 takes as many as hold 64 frames.
        title: Of the progress bar.
        processes: That share the loader's batches, see `ClipLoader`; all of them get the meter.
    """
    model.eval()
    run, recipe = run_of(model), loader.dataset.recipe
    meter = task.meter(recipe)
    batches = loader.epoch(0)
    processes = processes or Processes()
    if loader.part != (processes.rank, processes.size):
        raise ValueError(f"the loader reads part {loader.part} for process {processes.rank} of {processes.size}")
    seen: list[Meter] = []
    with progress(len(loader), title) as bar:
        for batch in batches:
            if processes.size > 1:
                meter = task.meter(recipe)
                seen.append(meter)
            if len(batch.targets):
                meter.update(task.scores(run, batch.clips, recipe, views_per_pass), batch.targets)
            bar.update()
    if processes.size == 1:
        return meter
    meter = task.meter(recipe)
    for part in processes.interleave(seen):
        meter.add(part)
    return meter
