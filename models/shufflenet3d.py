"""ShuffleNetV2 over clips: half of the channels passes each unit by, and a shuffle mixes the halves.

Source: Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", ECCV 2018, figure 3 and
table 5; Köpüklü et al., "Resource Efficient 3D Convolutional Neural Networks", ICCV Workshops 2019, table 4;
Efficient-3DCNNs' `models/shufflenetv2.py` (widths; strides of time).
"""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn

from configs.networks import ShuffleNet3D
from models.implementation import Arrays, Implementation, Recognition
from models.kernels.batch_norm import BatchNorm3D, norm_relu
from models.recognizer3d import Recognizer3D, with_clip_head
from models.resnet3d import conv3d, depthwise_conv3d

# channels of the three stages and behind the last convolution
WIDTHS = {
    "x0_25": (32, 64, 128, 1024),
    "x0_5": (48, 96, 192, 1024),
    "x1_0": (116, 232, 464, 1024),
    "x1_5": (176, 352, 704, 1024),
    "x2_0": (224, 488, 976, 2048),
}
DEPTHS = (4, 8, 4)
STEM_CHANNELS = 24


def channel_shuffle(x: paddle.Tensor) -> paddle.Tensor:
    """Channels of both halves in turns: [N, C, T, H, W] to the same, by at most four axes, as mobile engines have."""
    channels, *sides = x.shape[1:]
    return x.reshape([0, 2, channels // 2, -1]).transpose([0, 2, 1, 3]).reshape([0, channels, *sides])


class Unit(nn.Layer):
    """A unit of ShuffleNetV2.

    Args:
        in_channels, out_channels: Of the unit.
        stride: 2 halves frames, rows and columns, and both branches see all channels; with 1 one half stays as it is.
        norm_eps: Epsilon of its norms.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm_eps: float) -> None:
        super().__init__()
        half = out_channels // 2
        self.branch1 = _Shortcut(in_channels, half, norm_eps) if stride > 1 else None
        self.branch2 = _Residual(in_channels if stride > 1 else half, half, stride, norm_eps)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, T, H, W] to [N, out_channels, T / stride, H / stride, W / stride]."""
        if self.branch1 is None:
            kept, x = paddle.split(x, 2, axis=1)
        else:
            kept = self.branch1(x)
        return channel_shuffle(paddle.concat([kept, self.branch2(x)], axis=1))


class _Shortcut(nn.Layer):
    """Depthwise 3x3x3 of stride 2, and 1x1x1."""

    def __init__(self, in_channels: int, out_channels: int, norm_eps: float) -> None:
        super().__init__()
        self.conv1 = depthwise_conv3d(in_channels, (3, 3, 3), (2, 2))
        self.bn1 = BatchNorm3D(in_channels, epsilon=norm_eps)
        self.conv2 = conv3d(in_channels, out_channels, (1, 1, 1))
        self.bn2 = BatchNorm3D(out_channels, epsilon=norm_eps)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return norm_relu(self.bn2, self.conv2(self.bn1(self.conv1(x))))


class _Residual(nn.Layer):
    """1x1x1, depthwise 3x3x3, 1x1x1."""

    chains = (("conv1", "bn1", "conv2", "bn2", "conv3"),)

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm_eps: float) -> None:
        super().__init__()
        self.conv1 = conv3d(in_channels, out_channels, (1, 1, 1))
        self.bn1 = BatchNorm3D(out_channels, epsilon=norm_eps)
        self.conv2 = depthwise_conv3d(out_channels, (3, 3, 3), (stride, stride))
        self.bn2 = BatchNorm3D(out_channels, epsilon=norm_eps)
        self.conv3 = conv3d(out_channels, out_channels, (1, 1, 1))
        self.bn3 = BatchNorm3D(out_channels, epsilon=norm_eps)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.bn2(self.conv2(norm_relu(self.bn1, self.conv1(x))))
        return norm_relu(self.bn3, self.conv3(x))


class ShuffleNet3DBackbone(nn.Layer):
    """Stem, pooling, three stages, and the widening convolution behind them.

    Args:
        widths: Channels of the stages and of the last convolution.
        norm_eps: Epsilon of every BatchNorm.
    """

    def __init__(self, widths: tuple[int, int, int, int], norm_eps: float) -> None:
        super().__init__()
        self.conv1 = conv3d(3, STEM_CHANNELS, (3, 3, 3), (1, 2, 2))
        self.bn1 = BatchNorm3D(STEM_CHANNELS, epsilon=norm_eps)
        channels = STEM_CHANNELS
        for i, (depth, width) in enumerate(zip(DEPTHS, widths[:-1], strict=True)):
            units = [Unit(channels, width, 2, norm_eps)]
            units += [Unit(width, width, 1, norm_eps) for _ in range(depth - 1)]
            setattr(self, f"stage{i + 2}", nn.Sequential(*units))
            channels = width
        self.out_channels = widths[-1]
        self.conv5 = conv3d(channels, self.out_channels, (1, 1, 1))
        self.bn5 = BatchNorm3D(self.out_channels, epsilon=norm_eps)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, 3, T, H, W] to [N, out_channels, T / 16, H / 32, W / 32]."""
        x = F.max_pool3d(norm_relu(self.bn1, self.conv1(x)), 3, stride=2, padding=1)
        for i in range(len(DEPTHS)):
            x = getattr(self, f"stage{i + 2}")(x)
        return norm_relu(self.bn5, self.conv5(x))


def build(network: ShuffleNet3D, num_classes: int, num_frames: int) -> Recognizer3D:
    """The network of the options."""
    return with_clip_head(ShuffleNet3DBackbone(WIDTHS[network.variant], network.norm_eps), network, num_classes)


def recognize(arrays: Arrays, modules_hidden: bool) -> Recognition | None:
    """The width whose tensors these are."""
    last = arrays.get("backbone.stage4.0.branch2.conv3.weight")
    variants = [variant for variant, widths in WIDTHS.items() if last is not None and 2 * len(last) == widths[2]]
    return Recognition(variants[0], {}) if variants else None


IMPLEMENTATION = Implementation(build, recognize)
