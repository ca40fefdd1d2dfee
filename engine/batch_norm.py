"""Precise BatchNorm: statistics averaged over batches with the final weights instead of a running mean."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import paddle
from paddle import nn

from datasets.loader import Batch


def recompute_statistics(model: nn.Layer, batches: Iterable[Batch]) -> int:
    """Replaces the running mean and variance of every BatchNorm that trains by their means over the batches.

    With momentum 0 Paddle stores the batch's own mean and (biased) variance at each forward pass; their averages over
    the batches become the statistics. Weights do not change.

    Args:
        model: In train mode.
        batches: Of the training set.

    Returns:
        Batches that were used.

    Source: Wu and Johnson, Rethinking "Batch" in BatchNorm, 2021; fvcore precise_bn.
    """
    layers = _training_norms(model)
    momenta = [layer._momentum for layer in layers]
    sums = [(np.zeros(layer._mean.shape), np.zeros(layer._variance.shape)) for layer in layers]
    used = 0
    try:
        for layer in layers:
            layer._momentum = 0.0
        for batch in batches:
            if len(batch.targets) == 0:
                continue
            with paddle.no_grad():
                model(fold_views(batch.clips))
            for layer, (mean, variance) in zip(layers, sums, strict=True):
                mean += layer._mean.numpy()
                variance += layer._variance.numpy()
            used += 1
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer._momentum = momentum
    if used:
        for layer, (mean, variance) in zip(layers, sums, strict=True):
            layer._mean.set_value((mean / used).astype("float32"))
            layer._variance.set_value((variance / used).astype("float32"))
    return used


def training_statistics(model: nn.Layer) -> list[paddle.Tensor]:
    """The running means and variances that training changes."""
    return [statistic for layer in _training_norms(model) for statistic in (layer._mean, layer._variance)]


def _training_norms(model: nn.Layer) -> list[nn.Layer]:
    return [layer for layer in model.sublayers() if isinstance(layer, nn.layer.norm._BatchNormBase) and layer.training]


def fold_views(clips: np.ndarray) -> paddle.Tensor:
    """Training clips [N, 1, T, 3, H, W], or images [N, 1, 3, H, W], as a tensor without the axis of views."""
    return paddle.to_tensor(clips.reshape(-1, *clips.shape[2:]))  # [N, T, 3, H, W]
