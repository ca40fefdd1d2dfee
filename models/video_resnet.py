"""What R3D, MC3 and R(2+1)D share, each of which says how its blocks convolve.

Source: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018, table 1;
torchvision's `models/video/resnet.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.implementation import Arrays
from models.kernels.batch_norm import BatchNorm3D, norm_add_relu, norm_relu
from models.resnet3d import Triple, conv3d

DEPTHS = {"r18": (2, 2, 2, 2), "r34": (3, 4, 6, 3), "r50": (3, 4, 6, 3)}
BASIC = ("r18", "r34")  # the others have bottlenecks
WIDTH = 64


# (input channels of the block, its output channels, stride) -> a convolution of the block
Conv = Callable[[int, int, Triple], nn.Layer]


class Convs(NamedTuple):
    """The convolutions of a stage.

    Attributes:
        first, second: Of a block.
        shortcut: Of a shortcut that is no identity.
        stride: Of the stage's first block.
    """

    first: Conv
    second: Conv
    shortcut: Conv
    stride: Triple


def plain(frames: int, stride: Triple) -> Convs:
    """Convolutions over so many frames and 3 x 3 pixels, and plain shortcuts."""

    def first(in_channels: int, width: int, stride: Triple) -> nn.Layer:
        return conv3d(in_channels, width, (frames, 3, 3), stride)

    def second(in_channels: int, width: int, stride: Triple) -> nn.Layer:
        return conv3d(width, width, (frames, 3, 3), stride)

    return Convs(first, second, projection, stride)


def projection(in_channels: int, width: int, stride: Triple) -> nn.Layer:
    """A plain shortcut."""
    return conv3d(in_channels, width, (1, 1, 1), stride)


class BasicBlock3D(nn.Layer):
    """Two convolutions and a shortcut.

    Args:
        in_channels: C.
        width: Channels of the output.
        stride: Of the first convolution and the shortcut.
        made: Its convolutions.
        norm_eps: Epsilon of its norms.
    """

    chains = (("conv1", "bn1", "conv2"),)

    def __init__(self, in_channels: int, width: int, stride: Triple, made: Convs, norm_eps: float) -> None:
        super().__init__()
        self.conv1 = made.first(in_channels, width, stride)
        self.bn1 = BatchNorm3D(width, epsilon=norm_eps)
        self.conv2 = made.second(in_channels, width, (1, 1, 1))
        self.bn2 = BatchNorm3D(width, epsilon=norm_eps)
        self.downsample = None
        if stride != (1, 1, 1) or in_channels != width:
            shortcut = made.shortcut(in_channels, width, stride)
            self.downsample = nn.Sequential(shortcut, BatchNorm3D(width, epsilon=norm_eps))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, T, H, W] to [N, width, T', H', W'], divided by the stride."""
        identity = x if self.downsample is None else self.downsample(x)
        y = norm_relu(self.bn1, self.conv1(x))
        return norm_add_relu(self.bn2, self.conv2(y), identity)


class VideoResNet(nn.Layer):
    """The convolutional part: stem and four stages.

    Args:
        stem: Convolution of 3 channels to 64.
        depths: Blocks of each stage.
        stages: The convolutions of each stage.
        pool: Frames of the pooling behind the stem, which halves them if they are more than 1, and rows and columns;
            0 without one.
        norm_eps: Epsilon of the norms.
        block: (C, width, stride, convolutions, epsilon) -> a block, of `expansion` times as many channels.
        expansion: See there.
    """

    def __init__(
        self,
        stem: nn.Layer,
        depths: Sequence[int],
        stages: Sequence[Convs],
        pool: int,
        norm_eps: float,
        block: Callable[[int, int, Triple, Convs, float], nn.Layer] = BasicBlock3D,
        expansion: int = 1,
    ) -> None:
        super().__init__()
        self.conv1 = stem
        self.bn1 = BatchNorm3D(WIDTH, epsilon=norm_eps)
        self.pool = pool
        channels = WIDTH
        for i, (depth, made) in enumerate(zip(depths, stages, strict=True)):
            width, blocks = WIDTH << i, []
            for j in range(depth):
                stride = made.stride if j == 0 else (1, 1, 1)
                blocks.append(block(channels, width, stride, made, norm_eps))
                channels = expansion * width
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.out_channels = channels

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, 3, T, H, W] to features [N, expansion * 512, t, h, w]."""
        x = norm_relu(self.bn1, self.conv1(x))
        if self.pool:
            stride, padding = (min(self.pool, 2), 2, 2), (self.pool // 2, 1, 1)
            x = F.max_pool3d(x, (self.pool, 3, 3), stride=stride, padding=padding)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def plain_stem() -> nn.Layer:
    """The first convolution of R3D and MC3."""
    return conv3d(3, WIDTH, (3, 7, 7), (1, 2, 2))


def last_reach(arrays: Arrays) -> tuple[str, int]:
    """Which of DEPTHS the tensors of plain basic blocks are, and the frames that the last kernel reaches over.

    Empty and 0 if they are of another network.
    """
    variant, last = basic_depth_of(arrays), arrays.get("backbone.layer4.0.conv2.weight")
    return (variant, last.shape[2]) if variant and last is not None and last.ndim == 5 else ("", 0)


def basic_depth_of(arrays: Arrays) -> str:
    """Which of DEPTHS the tensors of basic blocks over clips are; empty if they are none."""
    norms = [name for name in arrays if re.fullmatch(r"backbone\.layer\d\.\d+\.bn2\.weight", name)]
    depths = tuple(sum(name.startswith(f"backbone.layer{i}.") for name in norms) for i in range(1, 5))
    over_clips = any(array.ndim == 5 for name, array in arrays.items() if name.startswith("backbone.layer4."))
    is_bottleneck = "backbone.layer1.0.conv3.weight" in arrays
    variants = [name for name in BASIC if DEPTHS[name] == depths]
    return variants[0] if variants and over_clips and not is_bottleneck else ""
