"""The pairs that this repository vouches for: each recognizer of `models` and its PyTorch twin."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle
import torch
from torch import nn

import models
from alignment.certification.objectives import OBJECTIVES
from alignment.certification.twins import create_twin
from alignment.reference import heads as twin_heads
from alignment.reference import optim as reference_optim
from alignment.reference import recognizer2d as twin_recognizer
from alignment.reference import resnet as twin_resnet
from alignment.reference import temporal_shift as twin_shift
from alignment.sides.pair import Optimization, Pair, Sides
from alignment.sides.state import read_weights, write_weights
from configs import Recipe
from configs.networks import TSM
from engine import optim
from models import heads, resnet, temporal_shift

DROPOUT = 0.5
CLIP_NORM = 0.5
FEW = 4  # channels
SCHEDULE = ("schedule", "max_epochs", "milestones", "gamma", "warmup_epochs", "warmup_ratio")
GROUPING = ("momentum", "nesterov", "weight_decay", "decay_norm_bias", "lr_groups")
ITERATIONS = 2  # batches in an epoch of the schedule that the stage train follows


def recognizer_pair(
    name: str,
    recipe: Recipe,
    clips: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int = 0,
    randomize: bool = True,
    as_published: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Pair:
    """A recognizer and its twin, with everything that trains them.

    Args:
        name: The name of a model, or `tsm_bottleneck`: a small network of Bottleneck blocks.
        recipe: Read for the optimizer and its schedule, see `exercised`.
        clips: float32 [N, T, 3, H, W], or images [N, 3, H, W]; normalized.
        labels: int64 [N], or masks [N, H, W].
        seed: Of the initial weights.
        randomize: Give norms, statistics and biases values that are nowhere 0 or 1; without it both models keep the
            initial weights of their own frameworks, which the stage init compares.
        as_published: Let ours compute by the layers of the paper where it takes a faster way.
        options: Further arguments of `create_model` and `create_twin`.
    """
    objective = OBJECTIVES[recipe.network.family.task]
    settings = {"num_classes": objective.classes, "num_frames": clips.shape[1] if clips.ndim == 5 else 1,
                "dropout": DROPOUT, **(options or {})}  # fmt: skip
    torch.manual_seed(seed)
    paddle.seed(seed)
    if name == "tsm_bottleneck":
        ours, theirs = _small_bottlenecks(settings)
    else:
        ours, theirs = models.create_model(name, **settings), create_twin(name, **settings)
    if as_published:
        models.compute_as_published(ours)
    if randomize:
        randomize_weights(theirs, seed)
    return Pair(
        reference=theirs,
        candidate=ours,
        inputs=(clips,),
        labels=labels,
        losses=objective.losses(settings["num_classes"]),
        optimizer=optimizers(exercised(recipe)),
        # What is inside a layer that takes a faster way than published has no counterpart in the twin.
        opaque=tuple(
            re.escape(path) for path, layer in ours.named_sublayers() if not getattr(layer, "as_published", True)
        ),
        metric=objective.metric,
        title=name,
    )


def _small_bottlenecks(settings: dict[str, Any]) -> tuple[paddle.nn.Layer, nn.Module]:
    """TSM on a ResNet-50 of a quarter of its width and four blocks: Bottlenecks at the price of a tiny network."""
    ours = resnet.ResNet(resnet.Bottleneck, (1, 1, 1, 1), width=16)
    theirs = twin_resnet.ResNet(twin_resnet.Bottleneck, (1, 1, 1, 1), width=16)
    temporal_shift.insert_temporal_shift(ours, settings["num_frames"], TSM())
    twin_shift.insert_temporal_shift(theirs, settings["num_frames"])
    head = (ours.out_channels, settings["num_classes"], settings["dropout"], 0.001)
    return (
        models.Recognizer2D(ours, heads.FrameHead(*head)),
        twin_recognizer.Recognizer2D(theirs, twin_heads.FrameHead(*head)),
    )


def exercised(recipe: Recipe) -> Recipe:
    """The recipe with a warm-up that a few steps can see, and with gradients so large that they are clipped."""
    return recipe.with_(
        warmup_epochs=2.0, warmup_ratio=0.25, clip_norm=min(recipe.training.clip_norm or CLIP_NORM, CLIP_NORM)
    )


def randomize_weights(model: nn.Module, seed: int) -> None:
    """Moves what starts at 0 or 1 away from it, and matrices to a useful size, so that no exchange goes unseen.

    The last norm of a residual branch stays small: a deep sum of branches of full size amplifies rounding until no
    judge could tell it from a bug. A model of its own kind names these norms as `residual_ends`.
    """
    rng = np.random.default_rng(seed)
    arrays = read_weights(model)
    for name, array in arrays.items():
        if array.ndim == 1:
            least = 0.5 if array.size <= FEW else 0.0  # all of so few may be near 0, where another value shows nowhere
            arrays[name] = (array + 0.25 * rng.uniform(least, 1.0, array.shape)).astype(array.dtype)
        elif array.ndim == 2:
            arrays[name] = rng.normal(0, 1 / np.sqrt(array.shape[0]), array.shape).astype(array.dtype)
        elif array.ndim == 5 and array.shape[1] == 1 and array[0].size > 9:  # depthwise: they begin near 0
            arrays[name] = rng.normal(0, 1 / np.sqrt(array[0].size), array.shape).astype(array.dtype)
        if name.endswith(getattr(model, "residual_ends", ())):
            arrays[name] *= np.float32(0.25)
    write_weights(model, arrays)


def optimizers(recipe: Recipe) -> Sides:
    """The optimizer of a recipe as `train.py` builds it, and its twin."""
    training = recipe.training
    schedule, grouping = ({key: getattr(training, key) for key in keys} for keys in (SCHEDULE, GROUPING))
    steps = training.max_epochs * ITERATIONS

    def their_rate(step: int) -> float:
        return reference_optim.learning_rate(step / ITERATIONS, lr=training.scaled_lr, **schedule)

    def theirs(model: nn.Module) -> Optimization:
        optimizer = reference_optim.build_optimizer(model, lr=their_rate(0), **grouping)
        return Optimization(optimizer, training.clip_norm, their_rate, steps)

    def ours(model: paddle.nn.Layer) -> Optimization:
        optimizer = optim.build_optimizer(model, recipe)
        return Optimization(optimizer, rate=lambda step: optim.learning_rate(recipe, step / ITERATIONS), steps=steps)

    return Sides(theirs, ours)
