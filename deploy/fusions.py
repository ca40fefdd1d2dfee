"""The same network from fewer operations: temporal modules and heads fused, for engines that take batches."""

from __future__ import annotations

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from deploy.folding import Fusion, constant, fusion_kernels
from deploy.formats import FORMATS
from deploy.planar import CONVOLUTIONS_3D, PLANAR, PaddedMaxPool3D
from models.heads import FrameHead, TSNHead
from models.kernels.conv import same_padding
from models.multi_view_fusion import MultiViewFusion
from models.pooling import SameMaxPool3D
from models.temporal_module import TemporalModule
from models.temporal_shift import DIRECTIONS, TemporalShift
from models.unet import Up


class SplitConv(TemporalModule):
    """A convolution whose first input channels are changed beforehand, without a copy of all the others.

    A convolution is a sum over its input channels: those that stay are read from x as it is, under a kernel that is
    zero for the others, and the others go through a convolution of their own. Of the ways tried (a concatenation with
    the channels that stay, 3-D convolutions, band matrices, slices of frames), depthwise 2-D convolutions are the
    fastest of Paddle Inference and within 5 % of the fastest of ONNX Runtime and OpenVINO.

    Args:
        module: The temporal module whose place it takes; its kernel is split here.
        time: Kernels [C', 3] that each changed channel is convolved with along the frames.
    """

    def __init__(self, module: TemporalModule, time: np.ndarray) -> None:
        super().__init__(module.net, module.num_frames * module.frame_divisor, module.frame_divisor)
        self.channels = len(time)
        self.time = constant(self, time.reshape(-1, 1, 3, 1))
        weight = module.net.weight.numpy()
        self.changed_weight = constant(self, weight[:, : self.channels])
        weight[:, : self.channels] = 0
        module.net.weight.set_value(weight)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N*T, C, H, W] to the convolution of it, its first channels changed."""
        changed = self.change(x[:, : self.channels])
        options = {"stride": self.net._stride, "padding": self.net._updated_padding}
        return self.net(x) + F.conv2d(changed, self.changed_weight, **options)

    def change(self, part: paddle.Tensor) -> paddle.Tensor:
        """Maps the first channels [N*T, C', H, W] to what the convolution reads in their place."""
        _, channels, height, width = part.shape
        x = part.reshape([-1, self.num_frames, channels, height * width]).transpose([0, 2, 1, 3])  # [N, C', T, H*W]
        x = F.conv2d(x, self.time, padding=[1, 0], groups=channels)
        return x.transpose([0, 2, 1, 3]).reshape([-1, channels, height, width])  # [N*T, C', H, W]


class FusedConv(SplitConv):
    """`MultiViewFusion` of a convolution: height and width by one cross-shaped kernel, BatchNorm folded into it."""

    def __init__(self, module: MultiViewFusion) -> None:
        time, cross, shift = fusion_kernels(module)
        super().__init__(module, time)
        self.cross = constant(self, cross)
        self.shift = constant(self, shift)
        self.use_hs = module.bn is not None

    def change(self, part: paddle.Tensor) -> paddle.Tensor:
        """The fused channels, [N*T, C', H, W]."""
        fused = super().change(part) + F.conv2d(part, self.cross, self.shift, padding=1, groups=self.channels)
        return F.hardswish(fused) if self.use_hs else fused


class PooledHead(nn.Layer):
    """Averages over space and frames by poolings, then classifies once, which without dropout is every head's result.

    A mean makes Paddle 3.3.1 with oneDNN write a line of its own to standard output.
    """

    def __init__(self, head: TSNHead) -> None:
        super().__init__()
        self.new_fc = head.new_fc

    def forward(self, features: paddle.Tensor, num_frames: int) -> paddle.Tensor:
        """Maps the features [N*T, C, h, w] of videos of T frames to logits [N, K]."""
        x = F.adaptive_avg_pool2d(features, 1).reshape([-1, 1, num_frames, features.shape[1]])  # [N, 1, T, C]
        x = F.avg_pool2d(x, (num_frames, 1))  # [N, 1, 1, C]
        return self.new_fc(x.reshape([-1, features.shape[1]]))


class NumberedConv3D(nn.Layer):
    """A convolution over clips whose padding `SAME` is written as numbers: of the word MNN's converter makes none."""

    def __init__(self, conv: nn.Conv3D) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, T, H, W] to [N, C', T', H', W']."""
        conv = self.conv
        padding = same_padding(x.shape[2:], conv.weight.shape[2:], conv._stride)
        numbers = [side for sides in padding for side in sides]
        return F.conv3d(x, conv.weight, conv.bias, conv._stride, numbers, conv._dilation, conv._groups)


def numbered_conv(conv: nn.Conv3D) -> nn.Layer:
    """The convolution, its padding in numbers."""
    return NumberedConv3D(conv) if conv._padding == "SAME" else conv


class SpreadUp(nn.Layer):
    """Upsampling to twice the size by a transposed convolution of each channel, with a kernel that is always the same.

    Paddle Inference 3.3.1 with oneDNN does not load an interpolation.
    """

    def __init__(self, up: Up) -> None:
        super().__init__()
        self.conv, self.channels = up.conv, up.conv._in_channels
        self.reach = 1 if up.how == "bilinear" else 0  # pixels around each that it reads
        line = np.array([0.25, 0.75, 0.75, 0.25] if self.reach else [1.0, 1.0])
        self.kernel = constant(self, np.broadcast_to(np.outer(line, line), (self.channels, 1, len(line), len(line))))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, H, W] to [N, out_channels, 2H, 2W]."""
        if self.reach:
            x = F.pad(x, [1, 1, 1, 1], mode="replicate")
        return self.conv(F.conv2d_transpose(x, self.kernel, stride=2, padding=3 * self.reach, groups=self.channels))


def spread_up(up: Up) -> nn.Layer:
    """What takes the place of an upsampling; a transposed convolution stays."""
    return up if up.how == "transposed" else SpreadUp(up)


def shifted_conv(module: TemporalShift) -> nn.Layer:
    """The fused form of a shift of a convolution; the convolution where nothing moves; a shift of blocks as it is."""
    if not isinstance(module.net, nn.Conv2D):
        return module
    bounds = module.bounds(module.net.weight.shape[1])
    time = np.zeros((bounds[-1], 3))  # the kernel of a shift is a one before or behind the middle
    for i, step in enumerate(DIRECTIONS[module.direction]):
        time[bounds[i] : bounds[i + 1], 1 + step] = 1
    return SplitConv(module, time) if len(time) else module.net


_EVERYWHERE: dict[type[nn.Layer], Fusion] = {
    MultiViewFusion: FusedConv,
    TemporalShift: shifted_conv,
    TSNHead: PooledHead,
    FrameHead: PooledHead,
}
# graph format -> layer type -> function; a format whose engines are served better by something else has its own dict
FUSIONS: dict[str, dict[type[nn.Layer], Fusion]] = {
    **dict.fromkeys(FORMATS, _EVERYWHERE),
    "paddle": {**_EVERYWHERE, Up: spread_up},
    "legacy": {**_EVERYWHERE, Up: spread_up},
    "onnx": {**_EVERYWHERE, SameMaxPool3D: PaddedMaxPool3D},
    "mnn": {**_EVERYWHERE, SameMaxPool3D: PaddedMaxPool3D, **dict.fromkeys(CONVOLUTIONS_3D, numbered_conv)},
    "ncnn": PLANAR,
}
