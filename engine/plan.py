"""What a run is about to do, printed before it starts."""

from __future__ import annotations

from paddle import nn

from configs import Recipe
from datasets import ClipLoader
from engine.optim import parameter_groups
from engine.processes import Processes


def training_plan(
    recipe: Recipe, model: nn.Layer, train: ClipLoader, val: ClipLoader, notes: list[str], processes: Processes
) -> list[str]:
    """Lines that name model, parameters, data, schedule and learning rate of a run.

    Args:
        recipe: The numbers of the run.
        model: As the trainer has prepared it.
        train, val: The loaders.
        notes: Lines of the runtime, of the weights and of the directory.
        processes: Of the run.
    """
    network, clip, training = recipe.network, recipe.clip, recipe.training
    trainable = sum(p.size for p in model.parameters() if not p.stop_gradient)
    groups = parameter_groups(model, recipe)
    scaled = f"{training.scaled_lr * processes.rate_factor(recipe):g}"
    if training.scale_lr:
        effective = training.batch_size * training.accumulate * processes.batches
        scaled += f" ({training.lr:g} at batch {training.base_batch_size}, scaled to {effective})"
    schedule = (
        training.schedule
        if training.schedule == "cosine"
        else f"step at {list(training.milestones)} x{training.gamma:g}"
    )
    view = "x".join(map(str, train.dataset.sample_shape))
    norms = "over all" if training.sync_bn else "by process"
    many = f" in each of {processes.size} processes, BatchNorm {norms}" if processes.size > 1 else ""
    what = train.dataset.what
    short = f", {train.left_out} {what} left out of each" if train.left_out else ""
    clipping = f"clip at global norm {training.clip_norm:g}" if training.clip_norm else "no clipping"
    return [
        f"model     {network.model}, {int(trainable):,} trainable parameters, {network.num_classes} classes",
        f"data      {len(train.dataset)} training and {len(val.dataset)} validation {what} from "
        f"{train.dataset.annotation.source}",
        f"sample    {view} ({train.dataset.axes} x height x width)"
        + f", {clip.sampling} sampling" * (what == "videos"),
        f"schedule  {training.max_epochs} epochs of {len(train)} batches of {train.batch_size}{many}{short}, "
        f"{schedule}, warm-up {training.warmup_epochs:g} epochs from {training.warmup_ratio:g}",
        f"rate      {scaled}, momentum {training.momentum:g}{' Nesterov' if training.nesterov else ''}, "
        f"decay {training.weight_decay:g}, {len(groups)} parameter group(s), {clipping}",
        *notes,
    ]
