"""R(2+1)D: a ResNet of basic blocks whose convolutions are factored into one over space and one over time.

Source: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018, section 3.5;
torchvision's `r2plus1d_18` (one middle width for both convolutions of a block, plain shortcuts, 45 channels inside the
stem), mmaction2's `models/backbones/resnet2plus1d.py` with 34 layers (a middle width for each convolution, factored
shortcuts, a pooling behind the stem).
"""

from __future__ import annotations

import paddle
from paddle import nn

from configs.networks import R2Plus1D
from models.implementation import Arrays, Implementation, Recognition
from models.kernels.batch_norm import BatchNorm3D, norm_relu
from models.recognizer3d import Recognizer3D, with_clip_head
from models.resnet3d import Triple, conv3d
from models.video_resnet import DEPTHS, WIDTH, Convs, VideoResNet, basic_depth_of, projection

STRIDES = ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
STEM_KERNEL, STEM_STRIDE = (3, 7, 7), (1, 2, 2)
STEM_MIDDLE = 45  # torchvision's
INNER_EPS = 1e-5  # of the norm between the two factors, whatever that of the others is


def middle_channels(in_channels: int, out_channels: int, side: int = 3) -> int:
    """Channels between two factors that have as many weights together as a whole kernel over three frames."""
    return 3 * side**2 * in_channels * out_channels // (side**2 * in_channels + 3 * out_channels)


class Conv2Plus1D(nn.Layer):
    """A convolution over space, its norm, ReLU, and a convolution over time.

    Args:
        in_channels, middle, out_channels: C, of the first factor, of the second.
        kernel, stride: Of both together.
    """

    chains = (("conv_s", "bn_s", "conv_t"),)

    def __init__(self, in_channels: int, middle: int, out_channels: int, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.conv_s = conv3d(in_channels, middle, (1, *kernel[1:]), (1, *stride[1:]))
        self.bn_s = BatchNorm3D(middle, epsilon=INNER_EPS)
        self.conv_t = conv3d(middle, out_channels, (kernel[0], 1, 1), (stride[0], 1, 1))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, T, H, W] to [N, out_channels, T', H', W'], divided by the stride."""
        return self.conv_t(norm_relu(self.bn_s, self.conv_s(x)))


def _of_torchvision(stride: Triple) -> Convs:
    """Both convolutions of a block have the middle width of the first."""

    def first(in_channels: int, width: int, stride: Triple) -> nn.Layer:
        return Conv2Plus1D(in_channels, middle_channels(in_channels, width), width, (3, 3, 3), stride)

    def second(in_channels: int, width: int, stride: Triple) -> nn.Layer:
        return Conv2Plus1D(width, middle_channels(in_channels, width), width, (3, 3, 3), stride)

    return Convs(first, second, projection, stride)


def _of_mmaction2(stride: Triple) -> Convs:
    """Each convolution has the middle width of its own channels, that of the shortcut too."""

    def first(in_channels: int, width: int, stride: Triple) -> nn.Layer:
        return Conv2Plus1D(in_channels, middle_channels(in_channels, width), width, (3, 3, 3), stride)

    def second(in_channels: int, width: int, stride: Triple) -> nn.Layer:
        return Conv2Plus1D(width, middle_channels(width, width), width, (3, 3, 3), stride)

    def shortcut(in_channels: int, width: int, stride: Triple) -> nn.Layer:
        return Conv2Plus1D(in_channels, middle_channels(in_channels, width, 1), width, (1, 1, 1), stride)

    return Convs(first, second, shortcut, stride)


def build(network: R2Plus1D, num_classes: int, num_frames: int) -> Recognizer3D:
    """The network of the options: torchvision's with 18 layers, mmaction2's with 34."""
    of_torchvision = network.variant == "r18"
    middle = STEM_MIDDLE if of_torchvision else middle_channels(3, WIDTH, STEM_KERNEL[1])
    stem = Conv2Plus1D(3, middle, WIDTH, STEM_KERNEL, STEM_STRIDE)
    stages = [(_of_torchvision if of_torchvision else _of_mmaction2)(stride) for stride in STRIDES]
    backbone = VideoResNet(stem, DEPTHS[network.variant], stages, 0 if of_torchvision else 1, network.norm_eps)
    return with_clip_head(backbone, network, num_classes)


def recognize(arrays: Arrays, modules_hidden: bool) -> Recognition | None:
    """The R(2+1)D whose tensors these are."""
    variant = basic_depth_of(arrays)
    return Recognition(variant, {}) if variant and "backbone.conv1.conv_s.weight" in arrays else None


IMPLEMENTATION = Implementation(build, recognize)
