"""What a classifier minimizes: cross entropy against smoothed and mixed labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import paddle
import paddle.nn.functional as F


@dataclass(frozen=True)
class Mix:
    """One draw of mixup: sample i becomes `weight * i + (1 - weight) * order[i]`."""

    weight: float
    order: np.ndarray

    @classmethod
    def draw(cls, alpha: float, batch: int, rng: np.random.Generator) -> Mix:
        """One weight from Beta(alpha, alpha) for the whole batch. Source: mm MixupBlending; Zhang et al., 2018."""
        return cls(float(rng.beta(alpha, alpha)), rng.permutation(batch))

    def __call__(self, values: paddle.Tensor) -> paddle.Tensor:
        """Mixes along the first axis."""
        other = paddle.index_select(values, paddle.to_tensor(self.order), axis=0)
        return self.weight * values + (1 - self.weight) * other


def distributions(
    labels: paddle.Tensor, num_classes: int, smoothing: float = 0.0, dtype: str = "float32"
) -> paddle.Tensor:
    """Labels int64 [N] as distributions [N, K] of type `dtype`: (1 - smoothing) * one-hot + smoothing / K."""
    return F.one_hot(labels, num_classes).astype(dtype) * (1 - smoothing) + smoothing / num_classes


def cross_entropy(logits: paddle.Tensor, target: paddle.Tensor) -> paddle.Tensor:
    """Mean over N of the cross entropy of logits [N, K] against distributions [N, K].

    Returns:
        A scalar, float64 for logits and distributions of that type; half types are widened to float32.
    """
    if logits.dtype in (paddle.float16, paddle.bfloat16):
        logits = logits.astype("float32")
    return -(target * F.log_softmax(logits, axis=1)).sum(axis=1).mean()
