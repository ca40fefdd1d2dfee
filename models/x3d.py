"""X3D: bottlenecks with a depthwise convolution over space and time, and squeeze and excitation in every other.

Source: Feichtenhofer, "X3D: Expanding Architectures for Efficient Video Recognition", CVPR 2020, tables 1 and 3 and
section 3.1; PySlowFast's `models/video_model_builder.py` and PyTorchVideo's `models/x3d.py`, which differ in the
shortcut that keeps the channels.
"""

from __future__ import annotations

import re

import paddle
import paddle.nn.functional as F
from paddle import nn

from configs.networks import X3D
from models.implementation import Arrays, Implementation, Recognition
from models.kernels.batch_norm import BatchNorm3D, norm_add_relu, norm_relu
from models.recognizer3d import ClipHead, Recognizer3D, mean_over_places, with_clip_head
from models.resnet3d import conv3d, depthwise_conv3d

# blocks of the four stages
DEPTHS = {"xs": (3, 5, 11, 7), "s": (3, 5, 11, 7), "m": (3, 5, 11, 7), "l": (5, 10, 25, 15), "tiny": (1, 2, 1, 1)}
WIDTHS = (24, 48, 96, 192)
EXPANSION = 2.25
SQUEEZE, DIVISOR = 16, 8
HEAD_CHANNELS = 2048


def _squeezed(channels: int) -> int:
    """The nearest multiple of 8 to a sixteenth of the channels, not more than a tenth below it."""
    width = channels / SQUEEZE
    rounded = max(DIVISOR, int(width + DIVISOR / 2) // DIVISOR * DIVISOR)
    return rounded if rounded >= 0.9 * width else rounded + DIVISOR


class SqueezeExcitation(nn.Layer):
    """Scales each channel by what the mean over space and time of all channels says (Hu et al., CVPR 2018)."""

    gate = ("fc1", "fc2")  # the convolution that reads all channels, and the one that says what scales them

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv3D(channels, _squeezed(channels), 1)
        self.fc2 = nn.Conv3D(_squeezed(channels), channels, 1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, T, H, W] to the same."""
        mean = mean_over_places(x).reshape([-1, x.shape[1], 1, 1, 1])
        return x * F.sigmoid(self.fc2(F.relu(self.fc1(mean))))


class BlockX3D(nn.Layer):
    """1x1x1 up, depthwise 3x3x3, norm, squeeze and excitation, swish, 1x1x1 down, and a shortcut.

    Args:
        in_channels, out_channels: Of the block.
        stride: Of rows and columns.
        squeeze: Whether it has squeeze and excitation.
        shortcut_norm: Whether a strided shortcut that keeps the channels has a norm.
        norm_eps: Epsilon of its norms.
    """

    chains = (("conv1", "bn1", "conv2", "bn2", "se", "conv3"),)

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, squeeze: bool, shortcut_norm: bool, norm_eps: float
    ) -> None:
        super().__init__()
        width = int(EXPANSION * out_channels)
        self.conv1 = conv3d(in_channels, width, (1, 1, 1))
        self.bn1 = BatchNorm3D(width, epsilon=norm_eps)
        self.conv2 = depthwise_conv3d(width, (3, 3, 3), (1, stride))
        self.bn2 = BatchNorm3D(width, epsilon=norm_eps)
        self.se = SqueezeExcitation(width) if squeeze else None
        self.conv3 = conv3d(width, out_channels, (1, 1, 1))
        zero = paddle.ParamAttr(initializer=nn.initializer.Constant(0.0))
        self.bn3 = BatchNorm3D(out_channels, epsilon=norm_eps, weight_attr=zero)
        self.downsample = None
        if stride > 1 or in_channels != out_channels:
            layers = [conv3d(in_channels, out_channels, (1, 1, 1), (1, stride, stride))]
            if shortcut_norm or in_channels != out_channels:
                layers.append(BatchNorm3D(out_channels, epsilon=norm_eps))
            self.downsample = nn.Sequential(*layers)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, T, H, W] to [N, out_channels, T, H / stride, W / stride]."""
        identity = x if self.downsample is None else self.downsample(x)
        y = norm_relu(self.bn1, self.conv1(x))
        y = self.bn2(self.conv2(y))
        if self.se is not None:
            y = self.se(y)
        return norm_add_relu(self.bn3, self.conv3(F.swish(y)), identity)


class X3DBackbone(nn.Layer):
    """Stem, four stages, and the widening convolution behind them.

    Args:
        depths: Blocks of each stage.
        shortcut_norm: See BlockX3D.
        norm_eps: Epsilon of every BatchNorm.
    """

    def __init__(self, depths: tuple[int, ...], shortcut_norm: bool, norm_eps: float) -> None:
        super().__init__()
        channels = WIDTHS[0]
        self.conv1_s = conv3d(3, channels, (1, 3, 3), (1, 2, 2))
        self.conv1_t = depthwise_conv3d(channels, (5, 1, 1))
        self.bn1 = BatchNorm3D(channels, epsilon=norm_eps)
        for i, (depth, width) in enumerate(zip(depths, WIDTHS, strict=True)):
            blocks = []
            for j in range(depth):
                blocks.append(BlockX3D(channels, width, 2 if j == 0 else 1, j % 2 == 0, shortcut_norm, norm_eps))
                channels = width
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.out_channels = int(EXPANSION * channels)
        self.conv5 = conv3d(channels, self.out_channels, (1, 1, 1))
        self.bn5 = BatchNorm3D(self.out_channels, epsilon=norm_eps)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, 3, T, H, W] to [N, 432, T, H / 32, W / 32]."""
        x = norm_relu(self.bn1, self.conv1_t(self.conv1_s(x)))
        for i in range(len(WIDTHS)):
            x = getattr(self, f"layer{i + 1}")(x)
        return norm_relu(self.bn5, self.conv5(x))


class X3DHead(ClipHead):
    """Pools, widens to 2048 channels without a norm, ReLU, dropout, classifier; see ClipHead."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float, places: str, window: int) -> None:
        super().__init__(HEAD_CHANNELS, num_classes, dropout, places, window)
        weight_attr = paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, (2.0 / HEAD_CHANNELS) ** 0.5))
        self.fc1 = nn.Linear(in_channels, HEAD_CHANNELS, weight_attr=weight_attr, bias_attr=False)

    def classify(self, pooled: paddle.Tensor) -> paddle.Tensor:
        """Maps averaged features [..., C] to logits [..., K]."""
        return self.new_fc(self.dropout(F.relu(self.fc1(pooled))))


def build(network: X3D, num_classes: int, num_frames: int) -> Recognizer3D:
    """The network of the options."""
    backbone = X3DBackbone(DEPTHS[network.variant], network.x3d_shortcut_norm, network.norm_eps)
    return with_clip_head(backbone, network, num_classes, X3DHead)


def recognize(arrays: Arrays, modules_hidden: bool) -> Recognition | None:
    """The X3D whose tensors these are; XS, S and M have the same."""
    blocks = [match[1] for name in arrays if (match := re.match(r"backbone\.layer([1-4])\.\d+\.conv1\.weight", name))]
    depths = tuple(blocks.count(str(i)) for i in range(1, 5))
    variants = [variant for variant, known in DEPTHS.items() if known == depths]
    if "backbone.conv1_s.weight" not in arrays or not variants:
        return None
    options = {"x3d_shortcut_norm": "backbone.layer1.0.downsample.1.weight" in arrays}
    return Recognition(variants[0], options, alike=tuple(variants[1:]))


IMPLEMENTATION = Implementation(build, recognize)
