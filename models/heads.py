"""Classifiers of a video from the features of its frames: pool each frame, classify, consensus by averaging.

Source: Wang et al., "Temporal Segment Networks", ECCV 2016, section 3.1 (consensus by averaging); the repositories of
TSM and MVFNet for what is averaged (logits, behind a dropout of each frame) and for the initial values.
"""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn


class TSNHead(nn.Layer):
    """Averages the features over space and time, then classifies once.

    Args:
        in_channels: Channels C of the features.
        num_classes: Classes K.
        dropout: Fraction of the averaged features that is zeroed while training.
        init_std: Std of the initial weights.
    """

    def __init__(self, in_channels: int, num_classes: int, dropout: float, init_std: float = 0.01) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.new_fc = nn.Linear(
            in_channels, num_classes, weight_attr=paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, init_std))
        )

    def forward(self, features: paddle.Tensor, num_frames: int) -> paddle.Tensor:
        """Maps the features [N*T, C, h, w] of videos of T frames to logits [N, K]."""
        x = features.mean(axis=[2, 3])
        x = x.reshape([-1, num_frames, x.shape[1]])  # [N, T, C]
        return self.new_fc(self.dropout(x.mean(axis=1)))

    def fcn_logits(self, features: paddle.Tensor, num_frames: int) -> paddle.Tensor:
        """Classifies each position of [N*T, C, h, w] by a 1x1 convolution, then averages: logits [N, K].

        This is how the reference tests fully convolutionally. Without dropout every step after the features is
        linear, so the result equals that of `forward`, which is cheaper.
        """
        weight = self.new_fc.weight.t().unsqueeze([2, 3])  # [K, C, 1, 1]
        scores = F.conv2d(features, weight, self.new_fc.bias).mean(axis=[2, 3])
        return scores.reshape([-1, num_frames, scores.shape[1]]).mean(axis=1)  # [N, K]


class FrameHead(TSNHead):
    """Classifies each frame behind a dropout mask of its own, then averages the logits (TSM, MVF)."""

    def forward(self, features: paddle.Tensor, num_frames: int) -> paddle.Tensor:
        """Maps the features [N*T, C, h, w] of videos of T frames to logits [N, K]."""
        scores = self.new_fc(self.dropout(features.mean(axis=[2, 3])))
        return scores.reshape([-1, num_frames, scores.shape[1]]).mean(axis=1)  # [N, K]


# what is averaged over the frames -> head
CONSENSUS: dict[str, type[TSNHead]] = {"features": TSNHead, "scores": FrameHead}
