"""MobileNetV2 for single frames, in torchvision's layout of names.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, table 2; torchvision
`models/mobilenetv2.py` (width multiplier 1); TensorFlow's manual, `tf.nn`, for the rule of its padding SAME.
"""

from __future__ import annotations

import math

import paddle
from paddle import nn

from models.kernels import is_plain
from models.kernels.batch_norm import BatchNorm2D, norm_relu6
from models.kernels.conv import Conv2D
from models.kernels.depthwise_conv import DepthwiseConv2D

# expansion, output channels, number of blocks, stride of the first block (table 2)
GROUPS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
STEM_CHANNELS = 32
OUT_CHANNELS = 1280


def _conv(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1, same_padding: bool = False
) -> nn.Conv2D:
    std = math.sqrt(2.0 / (kernel * kernel * out_channels))  # Kaiming normal over fan_out
    weight_attr = paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, std))
    same_padding = same_padding and stride > 1
    if groups == in_channels == out_channels:
        return DepthwiseConv2D(in_channels, kernel, stride, same_padding, weight_attr)
    return Conv2D(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding="SAME" if same_padding else kernel // 2,
        groups=groups,
        weight_attr=weight_attr,
        bias_attr=False,
    )


class ConvBNReLU6(nn.Sequential):
    """A convolution, BatchNorm and ReLU6."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [B, C, H, W] to [B, out_channels, H / stride, W / stride]."""
        conv, norm, relu6 = (self[i] for i in range(3))
        return norm_relu6(norm, conv(x)) if is_plain(relu6, nn.ReLU6) else super().forward(x)


def _conv_bn_relu6(
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    same_padding: bool = False,
    norm_eps: float = 1e-5,
) -> ConvBNReLU6:
    conv = _conv(in_channels, out_channels, kernel, stride, groups, same_padding)
    return ConvBNReLU6(conv, BatchNorm2D(out_channels, epsilon=norm_eps), nn.ReLU6())


def inner_chains(expands: bool) -> tuple[tuple[str, ...], ...]:
    """The `chains` of an inverted residual, with or without the expanding convolution; see `scaling.extract`."""
    parts = 1 + expands
    return ((*(f"conv.{i}.{j}" for i in range(parts) for j in (0, 1)), f"conv.{parts}"),)


class InvertedResidual(nn.Layer):
    """1x1 expand, 3x3 depthwise, linear 1x1 projection; a shortcut where the shapes allow it."""

    first_conv = "conv.0.0"  # the 1x1 expansion, or the depthwise convolution of a block without one

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        expansion: int,
        same_padding: bool = False,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.has_shortcut = stride == 1 and in_channels == out_channels
        expand = [] if expansion == 1 else [_conv_bn_relu6(in_channels, hidden, 1, norm_eps=norm_eps)]
        self.chains = inner_chains(bool(expand))
        self.conv = nn.Sequential(
            *expand,
            _conv_bn_relu6(hidden, hidden, 3, stride, hidden, same_padding, norm_eps),
            _conv(hidden, out_channels, 1),
            BatchNorm2D(out_channels, epsilon=norm_eps),
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [B, C, H, W] to [B, out_channels, H / stride, W / stride]."""
        return x + self.conv(x) if self.has_shortcut else self.conv(x)


class MobileNetV2(nn.Layer):
    """The convolutional part of MobileNetV2: 2.2 M parameters, no pooling and no classifier.

    `block_paths` groups the residual blocks by the resolution they put out (56, 28, 14 and 7 at an input of 224), as
    the four stages of a ResNet are; `features.1`, alone at 112 and without an expansion, belongs to none.

    Args:
        same_padding: Pad the strided convolutions as TensorFlow's `SAME` does, by the size of their input: an even
            side gets nothing before and 1 behind, an odd one 1 at both ends. Without it all get 1 at both ends.
        norm_eps: Epsilon of every BatchNorm.
    """

    out_channels = OUT_CHANNELS
    stage_paths = None  # a stage is a run of blocks, not a layer of its own

    def __init__(self, same_padding: bool = False, norm_eps: float = 1e-5) -> None:
        super().__init__()
        layers: list[nn.Layer] = [
            _conv_bn_relu6(3, STEM_CHANNELS, 3, stride=2, same_padding=same_padding, norm_eps=norm_eps)
        ]
        self.block_paths: list[list[str]] = []
        channels = STEM_CHANNELS
        for expansion, out_channels, depth, first_stride in GROUPS:
            for j in range(depth):
                stride = first_stride if j == 0 else 1
                if stride == 2:
                    self.block_paths.append([])
                if self.block_paths:
                    self.block_paths[-1].append(f"features.{len(layers)}")
                layers.append(InvertedResidual(channels, out_channels, stride, expansion, same_padding, norm_eps))
                channels = out_channels
        layers.append(_conv_bn_relu6(channels, OUT_CHANNELS, 1, norm_eps=norm_eps))
        self.features = nn.Sequential(*layers)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps images float [B, 3, H, W] to features [B, 1280, H / 32, W / 32]."""
        return self.features(x)
