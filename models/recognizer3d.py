"""A video recognizer whose backbone convolves over frames, and its head.

Source: Feichtenhofer et al., "SlowFast Networks for Video Recognition", ICCV 2019, section 3 (pooling over all
places, dropout, one classifier); PySlowFast's `models/head_helper.py` and PyTorchVideo's `models/head.py` for frames
larger than those of training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import paddle
import paddle.nn.functional as F
from paddle import nn

from configs.networks import ClipNetwork
from models.recognizer import Recognizer, check_axes

INIT_STD = 0.01


class Recognizer3D(Recognizer):
    """Classifies clips by features of space and time.

    Args:
        backbone: Maps [N, 3, T, H, W] to features [N, C, t, h, w], or to several of these.
        cls_head: Called with what the backbone returns.
        partial_bn: See Recognizer.
    """

    def forward(self, clips: paddle.Tensor) -> paddle.Tensor:
        """Maps normalized clips float32 [N, T, 3, H, W] to logits [N, K].

        Raises:
            UserError: The clips have no five axes.
        """
        check_axes(clips)
        return self.cls_head(self.backbone(clips.transpose([0, 2, 1, 3, 4])))


def mean_over_places(x: paddle.Tensor) -> paddle.Tensor:
    """The mean of each channel: [N, C, T, H, W] to [N, C].

    One axis after the other: Paddle on CPU adds up one number after the other, so that the mean of 20,000 is off by
    4e-6, and faster so, too. oneDNN, which sums otherwise, takes 2.4 times as long for X3D so, in graphs.
    """
    if paddle.in_dynamic_mode():
        return x.mean(axis=4).mean(axis=3).mean(axis=2)
    return x.flatten(3).mean(axis=3).mean(axis=2)


class Classifier(nn.Layer):
    """Dropout and a linear layer.

    Args:
        in_channels: Channels C of the features.
        num_classes: Classes K.
        dropout: Fraction of the features that is zeroed while training.
        init_std: Std of the initial weights.
    """

    def __init__(self, in_channels: int, num_classes: int, dropout: float, init_std: float = INIT_STD) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        weight_attr = paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, init_std))
        self.new_fc = nn.Linear(in_channels, num_classes, weight_attr=weight_attr)

    def forward(self, features: paddle.Tensor) -> paddle.Tensor:
        """Maps features [..., C] to logits [..., K]."""
        return self.classify(features)

    def classify(self, features: paddle.Tensor) -> paddle.Tensor:
        """The same: of a head whose `forward` pools first, what follows. `to_static` takes no `super().forward`."""
        return self.new_fc(self.dropout(features))


class ClipHead(Classifier):
    """Averages features over all places, then classifies; or classifies many places of larger frames.

    Args:
        in_channels: Channels C of the features, of all pathways together.
        num_classes, dropout: See Classifier.
        places: `all` averages over all places before the classifier. Others average over each window of `window` x
            `window` places, classify each, and average their `logits`, or their `probabilities`, whose logarithms are
            the logits that come out. They change nothing for frames of the size of training.
        window: Side of the window in places: that of a training crop's features.
    """

    def __init__(
        self, in_channels: int, num_classes: int, dropout: float, places: str = "all", window: int = 7
    ) -> None:
        super().__init__(in_channels, num_classes, dropout)
        self.places = places
        self.window = window

    def forward(self, features: paddle.Tensor | Sequence[paddle.Tensor]) -> paddle.Tensor:
        """Maps features [N, C, t, h, w], or those of several pathways, whose channels are joined, to logits [N, K]."""
        pathways = self.pathways(features)
        if self.places == "all":
            pooled = [mean_over_places(x) for x in pathways]  # [N, C]
            return self.classify(pooled[0] if len(pooled) == 1 else paddle.concat(pooled, axis=1))
        windows = [self._windows(x) for x in pathways]  # [N, P, C]
        logits = self.classify(windows[0] if len(windows) == 1 else paddle.concat(windows, axis=2))  # [N, P, K]
        if self.places == "logits":
            return logits.mean(axis=1)
        # The logarithm of the mean of their softmax. Paddle's log_softmax on CPU returns nothing below -64.
        log_softmax = logits - paddle.logsumexp(logits, axis=2, keepdim=True)
        return paddle.logsumexp(log_softmax, axis=1) - math.log(logits.shape[1])

    def pathways(self, features: paddle.Tensor | Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
        """The features of each pathway, in the order in which their channels are joined."""
        return list(features) if isinstance(features, list | tuple) else [features]  # a graph has other tensors

    def _windows(self, x: paddle.Tensor) -> paddle.Tensor:
        """The mean of each window, and of all frames: [N, C, t, h, w] to [N, P, C]."""
        x = F.avg_pool2d(x.mean(axis=2), self.window, stride=1)  # [N, C, p, q]
        return x.flatten(2).transpose([0, 2, 1])


def with_clip_head(
    backbone: nn.Layer, network: ClipNetwork, num_classes: int, head: type[ClipHead] = ClipHead
) -> Recognizer3D:
    """A recognizer of a backbone, whose `out_channels` are said, and a new head."""
    cls_head = head(backbone.out_channels, num_classes, network.dropout, network.places, network.place_window)
    return Recognizer3D(backbone, cls_head, network.partial_bn)
