"""A small network of one 3-D convolution, as a newcomer would add it: this file, and an entry in `configs.networks`."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn

from configs.networks import Dummy
from models.implementation import Arrays, Implementation, Recognition


class Trunk(nn.Layer):
    """A strided convolution over `kernel` frames, with its norm."""

    def __init__(self, kernel: int, norm_eps: float) -> None:
        super().__init__()
        size, padding = (kernel, 5, 5), (kernel // 2, 2, 2)
        self.conv = nn.Conv3D(3, 8, size, stride=(1, 4, 4), padding=padding, bias_attr=False)
        self.norm = nn.BatchNorm3D(8, epsilon=norm_eps)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, 3, T, H, W] to [N, 8, T, H/4, W/4]."""
        return F.relu(self.norm(self.conv(x)))


class Head(nn.Layer):
    """Averages over space and time, then classifies."""

    def __init__(self, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        initializer = nn.initializer.Normal(0.0, 0.01)
        self.fc = nn.Linear(8, num_classes, weight_attr=paddle.ParamAttr(initializer=initializer))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, 8, T, h, w] to logits [N, K]."""
        return self.fc(self.dropout(x.mean(axis=[2, 3, 4])))


class DummyNetwork(nn.Layer):
    """Classifies clips [N, T, 3, H, W]: logits [N, K]."""

    def __init__(self, kernel: int, num_classes: int, dropout: float, norm_eps: float) -> None:
        super().__init__()
        self.trunk = Trunk(kernel, norm_eps)
        self.cls_head = Head(num_classes, dropout)

    def forward(self, clips: paddle.Tensor) -> paddle.Tensor:
        """Maps clips [N, T, 3, H, W] to logits [N, K]."""
        return self.cls_head(self.trunk(clips.transpose([0, 2, 1, 3, 4])))


def build(network: Dummy, num_classes: int, num_frames: int) -> DummyNetwork:
    """The network of the options."""
    return DummyNetwork(network.dummy_kernel, num_classes, network.dropout, network.norm_eps)


def recognize(arrays: Arrays, modules_hidden: bool) -> Recognition | None:
    """The network whose tensors these are."""
    kernel = arrays.get("trunk.conv.weight")
    return None if kernel is None else Recognition("small", {"dummy_kernel": kernel.shape[2]})


IMPLEMENTATION = Implementation(build, recognize)
