"""What training minimizes: cross entropy against smoothed and mixed labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.static import InputSpec

from configs import Recipe
from runtime.errors import UserError


class DivergenceError(UserError):
    """The loss is not a finite number."""


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


def targets(labels: paddle.Tensor, num_classes: int, smoothing: float = 0.0, dtype: str = "float32") -> paddle.Tensor:
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


class TrainingStep(nn.Layer):
    """What is differentiated in a step.

    Args:
        model: Recognizer in train mode.
    """

    def __init__(self, model: nn.Layer) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: paddle.Tensor, target: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Maps clips [N, T, 3, H, W] and distributions [N, K] to the loss and the logits [N, K]."""
        logits = self.model(clips)
        return cross_entropy(logits, target), logits


def as_graph(step: TrainingStep, recipe: Recipe) -> nn.Layer:
    """The step as a static graph, which Paddle traces at the first batch, for batches of any size N.

    Models may arrange a computation in another way than step by step; the numbers are the same but for rounding.
    """
    kind = paddle.get_default_dtype()
    clips = InputSpec([None, recipe.clip.num_frames, 3, recipe.pixels.crop_size, recipe.pixels.crop_size], kind)
    target = InputSpec([None, recipe.network.num_classes], kind)
    return paddle.jit.to_static(step, input_spec=[clips, target], full_graph=True)
