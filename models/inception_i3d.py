"""I3D as published: Inception-v1, inflated, in the names of piergiaj's port.

Source: Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017, figure 3; DeepMind's kinetics-i3d, `i3d.py`
(padding SAME, epsilon 1e-3, norms without a weight, the mean of the logits over the places behind the last pooling).
"""

from __future__ import annotations

import math
from itertools import product

import paddle
import paddle.nn.functional as F
from paddle import nn

from configs.networks import InceptionI3D
from models.implementation import Arrays, Implementation, Recognition
from models.kernels.batch_norm import BatchNorm3D, norm_relu
from models.kernels.conv import Conv3D
from models.pooling import SameMaxPool3D
from models.recognizer3d import Classifier, Recognizer3D, mean_over_places

# name -> channels of the four branches: 1x1x1; 1x1x1 and 3x3x3; the same; behind a pooling 1x1x1
MIXED = {
    "Mixed_3b": (64, (96, 128), (16, 32), 32),
    "Mixed_3c": (128, (128, 192), (32, 96), 64),
    "Mixed_4b": (192, (96, 208), (16, 48), 64),
    "Mixed_4c": (160, (112, 224), (24, 64), 64),
    "Mixed_4d": (128, (128, 256), (24, 64), 64),
    "Mixed_4e": (112, (144, 288), (32, 64), 64),
    "Mixed_4f": (256, (160, 320), (32, 128), 128),
    "Mixed_5b": (256, (160, 320), (32, 128), 128),
    "Mixed_5c": (384, (192, 384), (48, 128), 128),
}
# name -> kernel and stride
POOLS = {
    "MaxPool3d_2a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_3a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_4a_3x3": ((3, 3, 3), (2, 2, 2)),
    "MaxPool3d_5a_2x2": ((2, 2, 2), (2, 2, 2)),
}
ORDER = (
    "Conv3d_1a_7x7", "MaxPool3d_2a_3x3", "Conv3d_2b_1x1", "Conv3d_2c_3x3",
    "MaxPool3d_3a_3x3", "Mixed_3b", "Mixed_3c",
    "MaxPool3d_4a_3x3", "Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f",
    "MaxPool3d_5a_2x2", "Mixed_5b", "Mixed_5c",
)  # fmt: skip
OUT_CHANNELS = 1024
PLACE = (2, 7)  # frames, and rows and columns, of the last pooling


class Unit3D(nn.Layer):
    """A convolution padded as TensorFlow pads, its norm, ReLU.

    Args:
        in_channels, out_channels: C, and of the output.
        kernel: Its side, along all three axes.
        stride: Along all three axes.
        norm_eps: Epsilon of the norm.
        learn_weight: Whether the norm has a weight that trains.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, norm_eps: float, learn_weight: bool
    ) -> None:
        super().__init__()
        std = math.sqrt(2.0 / (kernel**3 * in_channels))
        weight_attr = paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, std))
        self.conv3d = Conv3D(
            in_channels, out_channels, kernel, stride, "SAME", weight_attr=weight_attr, bias_attr=False
        )
        self.bn = BatchNorm3D(out_channels, epsilon=norm_eps)
        self.bn.weight.stop_gradient = not learn_weight

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, T, H, W] to [N, out_channels, T / stride, H / stride, W / stride]."""
        return norm_relu(self.bn, self.conv3d(x))


class Mixed(nn.Layer):
    """Four branches, whose channels are joined.

    Args:
        in_channels: C.
        widths: As in MIXED.
        norm_eps, learn_weight: See Unit3D.
    """

    chains = (("b1a.conv3d", "b1a.bn", "b1b.conv3d"), ("b2a.conv3d", "b2a.bn", "b2b.conv3d"))

    def __init__(
        self, in_channels: int, widths: tuple[int, tuple[int, int], tuple[int, int], int], norm_eps: float,
        learn_weight: bool,
    ) -> None:  # fmt: skip
        super().__init__()

        def unit(channels: int, width: int, kernel: int) -> Unit3D:
            return Unit3D(channels, width, kernel, 1, norm_eps, learn_weight)

        first, (narrow1, wide1), (narrow2, wide2), pooled = widths
        self.b0 = unit(in_channels, first, 1)
        self.b1a, self.b1b = unit(in_channels, narrow1, 1), unit(narrow1, wide1, 3)
        self.b2a, self.b2b = unit(in_channels, narrow2, 1), unit(narrow2, wide2, 3)
        self.b3a = SameMaxPool3D((3, 3, 3), (1, 1, 1))
        self.b3b = unit(in_channels, pooled, 1)
        self.out_channels = first + wide1 + wide2 + pooled

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, T, H, W] to [N, out_channels, T, H, W]."""
        branches = self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))
        return paddle.concat(branches, axis=1)


class InceptionI3DBackbone(nn.Layer):
    """All before the last pooling.

    Args:
        norm_eps: Epsilon of the norms.
        learn_weight: Whether the norms have weights that train.
    """

    out_channels = OUT_CHANNELS

    def __init__(self, norm_eps: float, learn_weight: bool) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit3D(3, 64, 7, 2, norm_eps, learn_weight)
        self.Conv3d_2b_1x1 = Unit3D(64, 64, 1, 1, norm_eps, learn_weight)
        self.Conv3d_2c_3x3 = Unit3D(64, 192, 3, 1, norm_eps, learn_weight)
        channels = 192
        for name, widths in MIXED.items():
            mixed = Mixed(channels, widths, norm_eps, learn_weight)
            setattr(self, name, mixed)
            channels = mixed.out_channels
        for name, (kernel, stride) in POOLS.items():
            setattr(self, name, SameMaxPool3D(kernel, stride))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, 3, T, H, W] to [N, 1024, T / 8, H / 32, W / 32]."""
        for name in ORDER:
            x = getattr(self, name)(x)
        return x


class PlaceHead(Classifier):
    """Classifies each window of two frames and 7 x 7 places, or of what is there, and averages the logits."""

    def forward(self, features: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, t, h, w] to logits [N, K]."""
        frames, side = PLACE
        kernel = [min(frames, features.shape[2]), *(min(side, length) for length in features.shape[3:])]
        if paddle.in_dynamic_mode():  # Paddle's pooling has a factor in single precision in its gradient
            firsts = [range(length - size + 1) for length, size in zip(features.shape[2:], kernel, strict=True)]
            windows = [features[:, :, i : i + frames, j : j + side, k : k + side] for i, j, k in product(*firsts)]
            x = paddle.stack([mean_over_places(window) for window in windows], axis=1)  # [N, P, C]
        else:
            x = F.avg_pool3d(features, kernel, stride=1).flatten(2).transpose([0, 2, 1])  # [N, P, C]
        return self.classify(x).mean(axis=1)


def build(network: InceptionI3D, num_classes: int, num_frames: int) -> Recognizer3D:
    """The network of the options."""
    backbone = InceptionI3DBackbone(network.norm_eps, network.i3d_norm_weight)
    return Recognizer3D(backbone, PlaceHead(OUT_CHANNELS, num_classes, network.dropout), network.partial_bn)


def recognize(arrays: Arrays, modules_hidden: bool) -> Recognition | None:
    """The Inception I3D whose tensors these are."""
    return Recognition("", {}) if "backbone.Conv3d_1a_7x7.conv3d.weight" in arrays else None


IMPLEMENTATION = Implementation(build, recognize)
