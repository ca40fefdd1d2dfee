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
        model: As it will be trained.
        train, val: The loaders.
        notes: Lines of the runtime, of the weights and of the directory.
        processes: Of the run.
    """
    trainable = sum(p.size for p in model.parameters() if not p.stop_gradient)
    groups = parameter_groups(model, recipe)
    scaled = f"{recipe.scaled_lr * processes.rate_factor(recipe):g}"
    if recipe.scale_lr:
        effective = recipe.batch_size * recipe.accumulate * processes.size
        scaled += f" ({recipe.lr:g} at batch {recipe.base_batch_size}, scaled to {effective})"
    schedule = (
        recipe.schedule if recipe.schedule == "cosine" else f"step at {list(recipe.milestones)} x{recipe.gamma:g}"
    )
    view = "x".join(map(str, train.dataset.sample_shape))
    many = f" in each of {processes.size} processes, BatchNorm by process" if processes.size > 1 else ""
    short = f", {train.left_out} videos left out of each" if train.left_out else ""
    clip = f"clip at global norm {recipe.clip_norm:g}" if recipe.clip_norm else "no clipping"
    return [
        f"model     {recipe.model}, {int(trainable):,} trainable parameters, {recipe.num_classes} classes",
        f"data      {len(train.dataset)} training and {len(val.dataset)} validation videos from "
        f"{train.dataset.annotation.source}",
        f"sample    {view} (views x frames x RGB x height x width), {recipe.sampling} sampling",
        f"schedule  {recipe.max_epochs} epochs of {len(train)} batches of {recipe.batch_size}{many}{short}, "
        f"{schedule}, warm-up {recipe.warmup_epochs:g} epochs from {recipe.warmup_ratio:g}",
        f"rate      {scaled}, momentum {recipe.momentum:g}{' Nesterov' if recipe.nesterov else ''}, "
        f"decay {recipe.weight_decay:g}, {len(groups)} parameter group(s), {clip}",
        *notes,
    ]
