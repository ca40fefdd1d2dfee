"""Times a training step, ours against PyTorch: `python -m tools.bench_train`.

A step is what `train.py` does with a batch: forward, smoothed cross entropy, backward, gradient clipping, SGD with
momentum and decay. The data are in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from configs import Recipe
from runtime import command
from tools import measure
from tools.measure import Engine, Job, Work

RATE = 2.0**-10  # so small that rounding, which BatchNorm of two clips magnifies, stays small in the second loss


def ours(job: Job) -> Work:
    """As `train.py` runs it."""
    return _paddle_step(job, tune=True)


def ours_no_tune(job: Job) -> Work:
    """The same under --no_tune."""
    return _paddle_step(job, tune=False)


def _paddle_step(job: Job, tune: bool) -> Work:
    model = measure.paddle_model(job, tune)
    import paddle

    from engine.optim import build_optimizer
    from tasks.cross_entropy import cross_entropy, distributions

    recipe = Recipe()
    optimizer = build_optimizer(model, recipe)
    optimizer.set_lr(RATE)
    clips = paddle.to_tensor(job.clips)
    target = distributions(paddle.to_tensor(job.labels), job.num_classes, recipe.training.label_smoothing)
    model.train()

    def step():
        loss = cross_entropy(model(clips), target)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        return np.array(float(loss))

    return step


def torch_eager(job: Job) -> Work:
    """PyTorch as it comes."""
    return _torch_step(job)


def torch_malloc(job: Job) -> Work:
    """PyTorch with our allocator settings."""
    return _torch_step(job, keep_memory=True)


def torch_channels_last(job: Job) -> Work:
    """PyTorch with what speeds it up without a compiler."""
    return _torch_step(job, keep_memory=True, channels_last=True)


def _torch_step(job: Job, keep_memory: bool = False, channels_last: bool = False) -> Work:
    model = measure.torch_model(job, keep_memory, channels_last).train()
    clips = measure.torch_clips(job, channels_last)
    import torch
    import torch.nn.functional as F

    recipe = Recipe()
    optimizer = torch.optim.SGD(
        model.parameters(),
        RATE,
        recipe.training.momentum,
        weight_decay=recipe.training.weight_decay,
        nesterov=recipe.training.nesterov,
    )
    labels = torch.from_numpy(job.labels)

    def step():
        loss = F.cross_entropy(model(clips), labels, label_smoothing=recipe.training.label_smoothing)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.training.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        return np.array(loss.item())

    return step


ENGINES = {
    "ours": Engine("ActionAlign", ours),
    "ours_no_tune": Engine("ActionAlign --no_tune", ours_no_tune, rounds=1),
    "torch": Engine("PyTorch eager", torch_eager),
    "torch_malloc": Engine("PyTorch eager, allocator set", torch_malloc),
    "torch_channels_last": Engine("PyTorch eager, channels last, allocator set", torch_channels_last),
}


def prepare(job: Job, names: Sequence[str]) -> None:
    """Writes the weights that all engines start from."""
    measure.in_process(measure.make_weights, job)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table."""
    title = "Training: one step"
    measure.run(title, ENGINES, 2, "difference of the first / second loss, relative", prepare, argv)


if __name__ == "__main__":
    with command.clear_errors():
        main()
