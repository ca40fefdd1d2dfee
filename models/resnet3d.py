"""ResNet whose convolutions reach over frames, in the names of the ResNet of single frames.

Source: Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017 (inflation); Feichtenhofer et al.,
"SlowFast Networks for Video Recognition", ICCV 2019, table 1; mmaction2's `models/backbones/resnet3d.py` and
PySlowFast's `models/video_model_builder.py` (which kernels reach over time).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.implementation import Arrays
from models.kernels.batch_norm import BatchNorm3D, norm_add_relu, norm_relu
from models.kernels.conv import Conv3D
from models.kernels.depthwise_conv import DepthwiseConv3D

Triple = tuple[int, int, int]

# blocks of the four stages
DEPTHS = {"r50": (3, 4, 6, 3), "r101": (3, 4, 23, 3), "tiny": (1, 2, 2, 2)}
WIDTHS = {"tiny": 16}  # channels of the stem, where they are not 64
STRIDES = (1, 2, 2, 2)  # of rows and columns, in the first block of each stage
EXPANSION = 4


def conv3d(in_channels: int, out_channels: int, kernel: Triple, stride: Triple = (1, 1, 1)) -> Conv3D:
    """A convolution without a bias that keeps the size but for its stride; Kaiming normal over fan_out."""
    std = math.sqrt(2.0 / (math.prod(kernel) * out_channels))
    return Conv3D(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=[side // 2 for side in kernel],
        weight_attr=paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, std)),
        bias_attr=False,
    )


def depthwise_conv3d(channels: int, kernel: Triple, stride: tuple[int, int] = (1, 1)) -> DepthwiseConv3D:
    """A convolution of each channel by itself, with a stride of frames and one of rows and columns, see `conv3d`."""
    std = math.sqrt(2.0 / (math.prod(kernel) * channels))
    weight_attr = paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, std))
    return DepthwiseConv3D(channels, kernel, stride, weight_attr)


class Bottleneck3D(nn.Layer):
    """A bottleneck whose first or second convolution may reach over frames.

    Args:
        in_channels: C.
        width: Channels inside.
        stride: Of the second convolution and the shortcut.
        frames: Frames that the first and the second convolution reach over.
        norm_eps: Epsilon of its norms.
        zero_init: Begin as the identity: the last norm's weight is 0.
    """

    chains = (("conv1", "bn1", "conv2", "bn2", "conv3"),)

    def __init__(
        self, in_channels: int, width: int, stride: Triple, frames: tuple[int, int], norm_eps: float, zero_init: bool
    ) -> None:
        super().__init__()
        out_channels = EXPANSION * width
        self.conv1 = conv3d(in_channels, width, (frames[0], 1, 1))
        self.bn1 = BatchNorm3D(width, epsilon=norm_eps)
        self.conv2 = conv3d(width, width, (frames[1], 3, 3), stride)
        self.bn2 = BatchNorm3D(width, epsilon=norm_eps)
        self.conv3 = conv3d(width, out_channels, (1, 1, 1))
        zero = paddle.ParamAttr(initializer=nn.initializer.Constant(0.0)) if zero_init else None
        self.bn3 = BatchNorm3D(out_channels, epsilon=norm_eps, weight_attr=zero)
        self.downsample = None
        if stride != (1, 1, 1) or in_channels != out_channels:
            projection = conv3d(in_channels, out_channels, (1, 1, 1), stride)
            self.downsample = nn.Sequential(projection, BatchNorm3D(out_channels, epsilon=norm_eps))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, T, H, W] to [N, 4 * width, T', H', W'], divided by the stride."""
        identity = x if self.downsample is None else self.downsample(x)
        y = norm_relu(self.bn1, self.conv1(x))
        y = norm_relu(self.bn2, self.conv2(y))
        return norm_add_relu(self.bn3, self.conv3(y), identity)


class Temporal(NamedTuple):
    """How a network reaches over time.

    Attributes:
        stem: Frames that the first convolution reaches over.
        stem_stride: Its temporal stride, and that of the pooling behind it.
        stages: For each stage the frames that the two convolutions of a block reach over, for its blocks in turn.
        halves: Whether the frames are halved behind the first stage.
    """

    stem: int
    stem_stride: int
    stages: Sequence[Sequence[tuple[int, int]]]
    halves: bool


class ResNet3D(nn.Layer):
    """The convolutional part of a ResNet over clips: stem and four stages.

    Args:
        variant: A key of DEPTHS.
        temporal: How it reaches over time.
        divisor: Of the channels of the stem and of the first stage; each later stage doubles them.
        joined: Channels of another pathway that are joined to the input of each stage.
        norm_eps: Epsilon of every BatchNorm.
        zero_init: See Bottleneck3D.
    """

    def __init__(
        self,
        variant: str,
        temporal: Temporal,
        *,
        divisor: int = 1,
        joined: Sequence[int] = (0, 0, 0, 0),
        norm_eps: float = 1e-5,
        zero_init: bool = True,
    ) -> None:
        super().__init__()
        self.temporal = temporal
        width = WIDTHS.get(variant, 64) // divisor
        self.conv1 = conv3d(3, width, (temporal.stem, 7, 7), (temporal.stem_stride, 2, 2))
        self.bn1 = BatchNorm3D(width, epsilon=norm_eps)
        self.widths = [width]  # channels of the stem's output and of each stage's
        for i, (depth, stride, frames) in enumerate(zip(DEPTHS[variant], STRIDES, temporal.stages, strict=True)):
            blocks, channels = [], self.widths[-1] + joined[i]
            for j in range(depth):
                strides, reach = (1, stride, stride) if j == 0 else (1, 1, 1), frames[j % len(frames)]
                blocks.append(Bottleneck3D(channels, width << i, strides, reach, norm_eps, zero_init))
                channels = EXPANSION * (width << i)
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
            self.widths.append(channels)
        self.out_channels = channels

    def stem(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps clips [N, 3, T, H, W] to [N, width, T', H / 4, W / 4]."""
        x = norm_relu(self.bn1, self.conv1(x))
        return F.max_pool3d(x, (1, 3, 3), stride=(self.temporal.stem_stride, 2, 2), padding=(0, 1, 1))

    def stage(self, i: int, x: paddle.Tensor) -> paddle.Tensor:
        """What stage i, from 0, makes of [N, C, T, H, W]."""
        x = getattr(self, f"layer{i + 1}")(x)
        return F.max_pool3d(x, (2, 1, 1), stride=(2, 1, 1)) if i == 0 and self.temporal.halves else x

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps clips [N, 3, T, H, W] to features [N, out_channels, t, H / 32, W / 32]."""
        x = self.stem(x)
        for i in range(len(STRIDES)):
            x = self.stage(i, x)
        return x


def depth_of(arrays: Arrays, prefix: str = "backbone.") -> str:
    """Which of DEPTHS the tensors below `prefix` are; empty if none."""
    blocks = {name.removeprefix(prefix).partition(".conv3.weight")[0] for name in arrays if ".conv3.weight" in name}
    depths = tuple(sum(block.startswith(f"layer{i}.") for block in blocks) for i in range(1, 5))
    return next((name for name, known in DEPTHS.items() if known == depths), "")


def frames_of(arrays: Arrays, prefix: str = "backbone.") -> dict[str, int]:
    """Path of each convolution below `prefix` -> frames that its kernel reaches over."""
    return {
        name.removeprefix(prefix).removesuffix(".weight"): array.shape[2]
        for name, array in arrays.items()
        if name.startswith(prefix) and array.ndim == 5
    }
