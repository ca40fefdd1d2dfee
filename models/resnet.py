"""ResNet for single frames, in torchvision's layout of names and strides.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1; torchvision
`models/resnet.py` (the stride of a bottleneck sits on its 3x3 convolution, BatchNorm epsilon 1e-5).
The file holds images only: how frames of a video see each other is decided by modules wrapped around it.
"""

from __future__ import annotations

import math

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.kernels.batch_norm import BatchNorm2D, norm_add_relu, norm_relu
from models.kernels.conv import Conv2D

STRIDES = (1, 2, 2, 2)  # of the first block of each stage


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> Conv2D:
    # Kaiming normal over fan_out: the variance that keeps gradients level through ReLU layers.
    std = math.sqrt(2.0 / (kernel * kernel * out_channels))
    return Conv2D(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=kernel // 2,
        weight_attr=paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, std)),
        bias_attr=False,
    )


def _downsample(in_channels: int, out_channels: int, stride: int, norm_eps: float) -> nn.Sequential | None:
    """The projection of the shortcut, or None where the identity fits."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(_conv(in_channels, out_channels, 1, stride), BatchNorm2D(out_channels, epsilon=norm_eps))


class BasicBlock(nn.Layer):
    """Two 3x3 convolutions and a shortcut (He et al., figure 5, left)."""

    expansion = 1
    first_conv = "conv1"
    chains = (("conv1", "bn1", "conv2"),)  # layers that the channels inside go through, see `scaling.extract`
    has_shortcut = True

    def __init__(self, in_channels: int, width: int, stride: int, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, width, 3, stride)
        self.bn1 = BatchNorm2D(width, epsilon=norm_eps)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = BatchNorm2D(width, epsilon=norm_eps)
        self.downsample = _downsample(in_channels, width, stride, norm_eps)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [B, C, H, W] to [B, width, H / stride, W / stride]."""
        identity = x if self.downsample is None else self.downsample(x)
        y = norm_relu(self.bn1, self.conv1(x))
        return norm_add_relu(self.bn2, self.conv2(y), identity)


class Bottleneck(nn.Layer):
    """1x1 down, 3x3, 1x1 up to four times the width, and a shortcut (He et al., figure 5, right)."""

    expansion = 4
    first_conv = "conv1"
    chains = (("conv1", "bn1", "conv2", "bn2", "conv3"),)
    has_shortcut = True

    def __init__(self, in_channels: int, width: int, stride: int, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, width, 1)
        self.bn1 = BatchNorm2D(width, epsilon=norm_eps)
        self.conv2 = _conv(width, width, 3, stride)
        self.bn2 = BatchNorm2D(width, epsilon=norm_eps)
        self.conv3 = _conv(width, width * self.expansion, 1)
        self.bn3 = BatchNorm2D(width * self.expansion, epsilon=norm_eps)
        self.downsample = _downsample(in_channels, width * self.expansion, stride, norm_eps)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [B, C, H, W] to [B, 4 * width, H / stride, W / stride]."""
        identity = x if self.downsample is None else self.downsample(x)
        y = norm_relu(self.bn1, self.conv1(x))
        y = norm_relu(self.bn2, self.conv2(y))
        return norm_add_relu(self.bn3, self.conv3(y), identity)


class ResNet(nn.Layer):
    """The convolutional part of a ResNet: stem and four stages, no pooling and no classifier at the end.

    Args:
        block: BasicBlock or Bottleneck.
        depths: Blocks of each of the four stages.
        width: Channels of the stem and of the first stage; each later stage doubles them.
        norm_eps: Epsilon of every BatchNorm.
    """

    stage_paths = ("layer1", "layer2", "layer3", "layer4")

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, int, int, int],
        width: int = 64,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.conv1 = _conv(3, width, 7, stride=2)
        self.bn1 = BatchNorm2D(width, epsilon=norm_eps)
        channels = width
        for i, (path, depth, stride) in enumerate(zip(self.stage_paths, depths, STRIDES, strict=True)):
            blocks = []
            for j in range(depth):
                blocks.append(block(channels, width << i, stride if j == 0 else 1, norm_eps))
                channels = (width << i) * block.expansion
            setattr(self, path, nn.Sequential(*blocks))
        self.out_channels = channels
        self.block_paths = [[f"{p}.{j}" for j in range(d)] for p, d in zip(self.stage_paths, depths, strict=True)]

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps images float [B, 3, H, W] to features [B, out_channels, H / 32, W / 32]."""
        x = norm_relu(self.bn1, self.conv1(x))
        x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
        for path in self.stage_paths:
            x = getattr(self, path)(x)
        return x


def resnet18(norm_eps: float = 1e-5) -> ResNet:
    """ResNet-18, 11.2 M parameters without the classifier."""
    return ResNet(BasicBlock, (2, 2, 2, 2), norm_eps=norm_eps)


def resnet34(norm_eps: float = 1e-5) -> ResNet:
    """ResNet-34, 21.3 M parameters without the classifier."""
    return ResNet(BasicBlock, (3, 4, 6, 3), norm_eps=norm_eps)


def resnet50(norm_eps: float = 1e-5) -> ResNet:
    """ResNet-50, 23.5 M parameters without the classifier."""
    return ResNet(Bottleneck, (3, 4, 6, 3), norm_eps=norm_eps)


def resnet101(norm_eps: float = 1e-5) -> ResNet:
    """ResNet-101, 42.5 M parameters without the classifier."""
    return ResNet(Bottleneck, (3, 4, 23, 3), norm_eps=norm_eps)


def tiny(norm_eps: float = 1e-5) -> ResNet:
    """ResNet-18 with a quarter of its width: 0.7 M parameters, for demonstrations and tests."""
    return ResNet(BasicBlock, (2, 2, 2, 2), width=16, norm_eps=norm_eps)
