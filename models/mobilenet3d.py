"""MobileNetV2 over clips.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, table 2; Köpüklü et al.,
"Resource Efficient 3D Convolutional Neural Networks", ICCV Workshops 2019, table 3; Efficient-3DCNNs'
`models/mobilenetv2.py` (widths are cut down and not rounded; every stride is one of frames too, but that of the stem).
"""

from __future__ import annotations

import paddle
from paddle import nn

from configs.networks import MobileNet3D
from models.implementation import Arrays, Implementation, Recognition
from models.kernels.batch_norm import BatchNorm3D
from models.mobilenet_v2 import GROUPS, OUT_CHANNELS, STEM_CHANNELS, ConvBNReLU6, inner_chains
from models.recognizer3d import Recognizer3D, with_clip_head
from models.resnet3d import conv3d, depthwise_conv3d

WIDTHS = {"x0_2": 0.2, "x0_45": 0.45, "x0_7": 0.7, "x1_0": 1.0}


class InvertedResidual3D(nn.Layer):
    """1x1x1 expand, 3x3x3 depthwise, linear 1x1x1 projection; a shortcut where the shapes allow it.

    Args:
        in_channels, out_channels: Of the block.
        stride: Of frames, rows and columns.
        expansion: Channels inside for each that comes in; 1 has no expanding convolution.
        norm_eps: Epsilon of its norms.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int, norm_eps: float) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.has_shortcut = stride == 1 and in_channels == out_channels
        expand = [] if expansion == 1 else [_with_relu6(conv3d(in_channels, hidden, (1, 1, 1)), norm_eps)]
        self.chains = inner_chains(bool(expand))
        self.conv = nn.Sequential(
            *expand,
            _with_relu6(depthwise_conv3d(hidden, (3, 3, 3), (stride, stride)), norm_eps),
            conv3d(hidden, out_channels, (1, 1, 1)),
            BatchNorm3D(out_channels, epsilon=norm_eps),
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, T, H, W] to [N, out_channels, T / stride, H / stride, W / stride]."""
        return x + self.conv(x) if self.has_shortcut else self.conv(x)


def _with_relu6(conv: nn.Conv3D, norm_eps: float) -> ConvBNReLU6:
    return ConvBNReLU6(conv, BatchNorm3D(conv.weight.shape[0], epsilon=norm_eps), nn.ReLU6())


class MobileNet3DBackbone(nn.Layer):
    """The convolutional part.

    Args:
        width: Factor of all channels but the last, which are 1280.
        norm_eps: Epsilon of every BatchNorm.
    """

    out_channels = OUT_CHANNELS

    def __init__(self, width: float, norm_eps: float) -> None:
        super().__init__()
        channels = int(STEM_CHANNELS * width)
        layers: list[nn.Layer] = [_with_relu6(conv3d(3, channels, (3, 3, 3), (1, 2, 2)), norm_eps)]
        for expansion, full, depth, first_stride in GROUPS:
            for j in range(depth):
                stride = first_stride if j == 0 else 1
                layers.append(InvertedResidual3D(channels, int(full * width), stride, expansion, norm_eps))
                channels = int(full * width)
        layers.append(_with_relu6(conv3d(channels, OUT_CHANNELS, (1, 1, 1)), norm_eps))
        self.features = nn.Sequential(*layers)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, 3, T, H, W] to [N, 1280, T / 16, H / 32, W / 32]."""
        return self.features(x)


def build(network: MobileNet3D, num_classes: int, num_frames: int) -> Recognizer3D:
    """The network of the options."""
    return with_clip_head(MobileNet3DBackbone(WIDTHS[network.variant], network.norm_eps), network, num_classes)


def recognize(arrays: Arrays, modules_hidden: bool) -> Recognition | None:
    """The width whose tensors these are."""
    stem = arrays.get("backbone.features.0.0.weight")
    if stem is None or stem.ndim != 5:
        return None
    variants = [variant for variant, width in WIDTHS.items() if int(STEM_CHANNELS * width) == len(stem)]
    return Recognition(variants[0], {}) if variants else None


IMPLEMENTATION = Implementation(build, recognize)
