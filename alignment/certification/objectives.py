"""What the networks of a task are trained and measured by, on both sides: one value for each task."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import paddle
import torch

from alignment.reference import mask_metrics as reference_mask_metrics
from alignment.reference import mask_objective as reference_masks
from alignment.reference import metrics as reference_metrics
from alignment.reference import objective as reference_objective
from alignment.sides.pair import Sides
from configs.presets import preset_for_model
from tasks import TASKS, accuracy, cross_entropy, mask_losses, mask_metrics

SMOOTHING = 0.1
MIX = 0.375  # weight of a mixup
DICE, BOUNDARY = 0.75, 0.5  # weights beside cross entropy
CLASSES, MASK_CLASSES = 8, 3


class Objective(NamedTuple):
    """Of one task.

    Attributes:
        classes: That networks are compared with.
        losses: Number of classes -> losses by name, functions (logits, labels) -> scalar; the first one is minimized.
        metric: Functions (scores, labels) -> figures.
    """

    classes: int
    losses: Callable[[int], dict[str, Sides]]
    metric: Sides


def class_losses(classes: int) -> dict[str, Sides]:
    """Cross entropy as trained with: smoothed (minimized by the stages backward and train), plain, and mixed."""

    def ours(
        logits: paddle.Tensor, labels: paddle.Tensor, smoothing: float = SMOOTHING, mixed: bool = False
    ) -> paddle.Tensor:
        targets = cross_entropy.distributions(labels, classes, smoothing, str(logits.dtype).rpartition(".")[2])
        if mixed:
            targets = cross_entropy.Mix(MIX, np.roll(np.arange(len(labels)), 1))(targets)
        return cross_entropy.cross_entropy(logits, targets)

    def their_mixed(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        order = torch.arange(len(labels)).roll(1)
        return reference_objective.mixed_cross_entropy(logits, labels, MIX, order, SMOOTHING)

    return {
        "smoothed": Sides(partial(reference_objective.cross_entropy, smoothing=SMOOTHING), ours),
        "plain": Sides(reference_objective.cross_entropy, partial(ours, smoothing=0.0)),
        "mixup": Sides(their_mixed, partial(ours, mixed=True)),
    }


def mask_objectives(classes: int) -> dict[str, Sides]:
    """All three losses of masks together as trained with (minimized), smoothed cross entropy, Dice, the boundary's."""
    recipe = preset_for_model("unet_tiny").with_(num_classes=classes, dice_weight=DICE, boundary_weight=BOUNDARY)

    def maps_of(logits: paddle.Tensor, labels: paddle.Tensor, smoothing: float = 0.0) -> paddle.Tensor:
        return mask_losses.label_maps(labels, classes, smoothing, str(logits.dtype).rpartition(".")[2])

    def distances_of(logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        dtype = str(logits.dtype).rpartition(".")[2]
        return paddle.to_tensor(mask_losses.signed_distances(labels.numpy(), classes, dtype))

    def ours(logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        target = paddle.concat([maps_of(logits, labels), distances_of(logits, labels)], axis=1)
        return TASKS["segmentation"]().loss(logits, target, recipe)

    def theirs(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        total = reference_masks.pixel_cross_entropy(logits, labels) + DICE * reference_masks.dice_loss(logits, labels)
        return total + BOUNDARY * reference_masks.boundary_loss(logits, labels)

    def smoothed(logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        return mask_losses.pixel_cross_entropy(logits, maps_of(logits, labels, SMOOTHING))

    def dice(logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        return mask_losses.dice_loss(logits, maps_of(logits, labels, SMOOTHING))

    def boundary(logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        return mask_losses.boundary_loss(logits, maps_of(logits, labels), distances_of(logits, labels))

    return {
        "all": Sides(theirs, ours),
        "smoothed": Sides(partial(reference_masks.pixel_cross_entropy, smoothing=SMOOTHING), smoothed),
        "dice": Sides(partial(reference_masks.dice_loss, smoothing=SMOOTHING), dice),
        "boundary": Sides(reference_masks.boundary_loss, boundary),
    }


def mask_figures(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The figures of scores [N, K, H, W] and masks [N, H, W], as a test has them."""
    return mask_metrics.summarize([mask_metrics.figures(*image) for image in zip(scores, labels, strict=True)])


# key of `tasks.TASKS` -> its objective
OBJECTIVES: dict[str, Objective] = {
    "classification": Objective(CLASSES, class_losses, Sides(reference_metrics.summarize, accuracy.summarize)),
    "segmentation": Objective(MASK_CLASSES, mask_objectives, Sides(reference_mask_metrics.summarize, mask_figures)),
}
