"""What all recognizers share: a backbone, a head, and BatchNorms that may stay frozen while training."""

from __future__ import annotations

from typing import Self

import paddle
from paddle import nn
from paddle.nn.layer.norm import _BatchNormBase

from runtime.errors import UserError


class Recognizer(nn.Layer):
    """A backbone and the classifier of its features.

    Args:
        backbone: Maps what `forward` makes of clips to features.
        cls_head: Maps them to logits [N, K].
        partial_bn: Keep every BatchNorm but the first frozen while training.
    """

    def __init__(self, backbone: nn.Layer, cls_head: nn.Layer, partial_bn: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.cls_head = cls_head
        self.partial_bn = partial_bn
        if partial_bn:
            freeze_batch_norm(self)

    def train(self) -> Self:
        """Switches to training; BatchNorms frozen by `partial_bn` stay frozen."""
        super().train()
        if self.partial_bn:
            freeze_batch_norm(self)
        return self


def check_axes(clips: paddle.Tensor) -> None:
    """Raises UserError unless clips have the five axes [N, T, 3, H, W]."""
    if len(clips.shape) != 5:
        raise UserError(f"clips must be [N, T, 3, H, W], got {list(clips.shape)}; add the missing axis")


def batch_norms(model: nn.Layer) -> list[_BatchNormBase]:
    """The BatchNorm layers of a network, in its order."""
    return [layer for layer in model.sublayers() if isinstance(layer, _BatchNormBase)]


def freeze_batch_norm(model: nn.Layer, keep_first: bool = True) -> None:
    """Makes BatchNorm layers use their running statistics and stop learning, until `model.train()`.

    Args:
        model: Any network.
        keep_first: Leave the first one as it is: the statistics of pixels differ most between data sets
            (Wang et al., TSN, section 3.2, "partial BN").
    """
    for norm in batch_norms(model)[1 if keep_first else 0 :]:
        norm.eval()
        norm.weight.stop_gradient = True
        norm.bias.stop_gradient = True
