"""The same network over clips from 2-D operations alone, on tensors of four axes at most, for one clip at a time.

Engines for phones have fast convolutions over images and slow ones over clips, or none, and no axis for a batch. So the
frames are laid beside the channels, [1, C*T, H, W], the frames of a channel next to each other; as they lie in memory
this is [1, C, T, H, W], so that no reshape between them moves anything. Frame by frame a kernel goes over the frames of
a channel one below the other, [1, C, T*H, W], with rows of zeros between; along the frames it goes over
[1, C, T, H*W]; and a kernel over both is one over the frames that it reaches, one behind the other as channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import paddle
import paddle.nn.functional as F
from paddle import nn

from deploy.folding import constant, fusion_kernels
from models.kernels.conv import Conv2D, Conv3D, same_padding
from models.kernels.depthwise_conv import DepthwiseConv2D, DepthwiseConv3D
from models.multi_view_fusion import MultiViewFusion
from models.pooling import BELOW, SameMaxPool3D
from models.recognizer2d import Recognizer2D
from models.temporal_shift import DIRECTIONS, TemporalPool, TemporalShift


class PlanarConv2D(nn.Layer):
    """A convolution of every frame: [1, C*T, H, W] to [1, C'*T, H', W'], of any T."""

    def __init__(self, conv: nn.Conv2D) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.geometry = Geometry(conv)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """See the class."""
        return frame_by_frame(x, self.weight, self.bias, self.geometry)


class PlanarConv3D(nn.Layer):
    """A convolution over a clip: [1, C, T, H, W] to [1, C', T', H', W']."""

    def __init__(self, conv: nn.Conv3D) -> None:
        super().__init__()
        self.bias, self.groups = conv.bias, conv._groups
        self.along, self.around = Geometry(conv, slice(0, 1)), Geometry(conv, slice(1, 3))
        self.out_channels = conv._out_channels
        weight = conv.weight.numpy()  # [C', C / groups, t, h, w]
        self.is_along_frames = self.around.is_pointwise
        if self.is_along_frames:
            self.weight = constant(self, weight[:, :, :, 0])  # [C', C / groups, t, 1]
        elif self.groups == 1:
            joined = weight.transpose(0, 2, 1, 3, 4).reshape(len(weight), -1, *weight.shape[3:])
            self.weight = constant(self, joined)  # [C', t*C, h, w]
        else:
            self.taps = nn.ParameterList([constant(self, weight[:, :, tap]) for tap in range(weight.shape[2])])

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """See the class."""
        _, channels, frames, height, width = x.shape
        x = x.reshape([1, channels, frames, height * width])
        (kernel,), (stride,), (dilation,) = self.along.kernel, self.along.stride, self.along.dilation
        ((before, behind),) = self.along.padding([frames])
        if self.is_along_frames:
            y = F.conv2d(x, self.weight, self.bias, (stride, 1), [before, behind, 0, 0], (dilation, 1), self.groups)
            return y.reshape([1, self.out_channels, y.shape[2], height, width])
        taps, after = taps_of(x, kernel, stride, (before, behind), dilation)
        taps = [tap.reshape([1, channels * after, height, width]) for tap in taps]
        if self.groups == 1:
            x = taps[0] if len(taps) == 1 else paddle.concat(taps, axis=1)
            y = frame_by_frame(x, self.weight, self.bias, self.around)
        else:
            y = frame_by_frame(taps[0], self.taps[0], self.bias, self.around)
            for i in range(1, len(taps)):
                y = y + frame_by_frame(taps[i], self.taps[i], None, self.around)
        return y.reshape([1, self.out_channels, after, y.shape[2], y.shape[3]])


class Geometry:
    """Kernel, stride, dilation and padding of a convolution along some of its axes.

    Args:
        conv: The convolution.
        axes: Those that are meant; all without.
    """

    def __init__(self, conv: nn.Conv2D | nn.Conv3D, axes: slice = slice(None)) -> None:
        count = len(conv.weight.shape) - 2
        self.kernel = conv.weight.shape[2:][axes]
        self.stride, self.dilation = list(conv._stride)[axes], list(conv._dilation)[axes]
        self.groups = conv._groups
        given = [conv._padding] * count if isinstance(conv._padding, int) else conv._padding
        self.is_same = given == "SAME"
        self.given = [0] * count if self.is_same else list(given)[axes]

    @property
    def is_pointwise(self) -> bool:
        """Whether it takes the input as it is along these axes."""
        return set(self.kernel) == set(self.stride) == {1} and not any(self.given)

    def padding(self, sizes: Sequence[int]) -> list[tuple[int, int]]:
        """Zeros before and behind, of each axis."""
        if self.is_same:
            return same_padding(sizes, self.kernel, self.stride)
        return [(side, side) for side in self.given]


def frame_by_frame(
    x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor | None, geometry: Geometry
) -> paddle.Tensor:
    """Convolves each frame of [1, C*T, H, W]: [1, C'*T, H', W']."""
    out_channels, groups = weight.shape[0], geometry.groups
    channels = weight.shape[1] * groups
    frames, height, width = x.shape[1] // channels, x.shape[2], x.shape[3]
    (top, bottom), (left, right) = geometry.padding([height, width])
    stride, dilation = geometry.stride, geometry.dilation
    if frames == 1:
        return F.conv2d(x, weight, bias, stride, [top, bottom, left, right], dilation, groups)
    if geometry.is_pointwise:
        y = F.conv2d(x.reshape([1, channels, frames * height, width]), weight, bias, groups=groups)
        return y.reshape([1, out_channels * frames, height, width])
    reach = dilation[0] * (geometry.kernel[0] - 1) + 1
    rows = (height + top + bottom - reach) // stride[0] + 1  # of a frame that come out
    tall = -(-(height + top + bottom) // stride[0]) * stride[0]  # rows of a frame with its zeros
    if tall != height:
        x = padded(x, top, tall - height - top)  # [1, C*T, tall, W]
    x = x.reshape([1, channels, frames * tall, width])
    end = max(0, reach - stride[0])  # zeros that make a row come out for every stride
    y = F.conv2d(x, weight, bias, stride, [0, end, left, right], dilation, groups)
    y = y.reshape([1, out_channels * frames, tall // stride[0], y.shape[3]])
    return y[:, :, :rows] if rows < tall // stride[0] else y


def taps_of(
    x: paddle.Tensor, kernel: int, stride: int, padding: tuple[int, int], dilation: int
) -> tuple[list[paddle.Tensor], int]:
    """For each place of a kernel along the frames of [1, C, T, P], the frames that it reads [1, C, T', P]; and T'.

    A stride is a reshape and two slices: not every engine has a slice with a step.
    """
    channels, frames, places = x.shape[1], x.shape[2], x.shape[3]
    before, behind = padding
    after = (frames + before + behind - dilation * (kernel - 1) - 1) // stride + 1
    tall = -(-(frames + before + behind) // stride) * stride
    if tall != frames:
        x = padded(x, before, tall - frames - before)  # [1, C, tall, P]
    if stride > 1:
        x = x.reshape([1, channels, tall // stride, stride * places])
    taps = []
    for tap in range(kernel):
        first, phase = tap * dilation // stride, tap * dilation % stride
        part = x if (first, after) == (0, x.shape[2]) else x[:, :, first : first + after]
        taps.append(part[:, :, :, phase * places : (phase + 1) * places] if stride > 1 else part)
    return taps, after


def padded(x: paddle.Tensor, before: int, behind: int) -> paddle.Tensor:
    """Zeros before and behind the third of four axes."""
    return F.pad(x, [0, 0, 0, 0, before, behind, 0, 0])


class PlanarShift(nn.Layer):
    """`TemporalShift`: [1, C*T, H, W] to what its layer makes of it, shifted."""

    def __init__(self, module: TemporalShift) -> None:
        super().__init__()
        self.net = module.net
        self.bounds, self.direction, self.frames = module.bounds, module.direction, module.num_frames

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """See the class."""
        _, stacked, height, width = x.shape
        frames, places = self.frames, height * width
        bounds = self.bounds(stacked // frames)
        if not bounds[-1]:
            return self.net(x)
        flat = x.reshape([1, stacked // frames, frames, places])
        pieces = []
        for i, step in enumerate(DIRECTIONS[self.direction]):
            part = flat[:, bounds[i] : bounds[i + 1]]
            part = part[:, :, 1:] if step == 1 else part[:, :, : frames - 1]
            pieces.append(padded(part, 0, 1) if step == 1 else padded(part, 1, 0))
        pieces.append(flat[:, bounds[-1] :])
        return self.net(paddle.concat(pieces, axis=1).reshape([1, stacked, height, width]))


class PlanarFusion(nn.Layer):
    """`MultiViewFusion`: [1, C*T, H, W] to what its layer makes of it, its first channels fused."""

    def __init__(self, module: MultiViewFusion) -> None:
        super().__init__()
        self.net = module.net
        self.channels, self.frames = module.channels, module.num_frames
        self.use_hs = module.bn is not None
        self.geometry = Geometry(nn.Conv2D(self.channels, self.channels, 3, padding=1, groups=self.channels))
        time, cross, shift = fusion_kernels(module)
        self.time = constant(self, time.reshape(-1, 1, 3, 1))
        self.cross, self.shift = constant(self, cross), constant(self, shift)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """See the class."""
        _, stacked, height, width = x.shape
        end = self.channels * self.frames
        part = x[:, :end] if end < stacked else x
        time = part.reshape([1, self.channels, self.frames, height * width])
        time = F.conv2d(time, self.time, padding=[1, 0], groups=self.channels).reshape([1, end, height, width])
        fused = time + frame_by_frame(part, self.cross, self.shift, self.geometry)
        fused = F.hardswish(fused) if self.use_hs else fused
        return self.net(paddle.concat([fused, x[:, end:]], axis=1) if end < stacked else fused)


class PlanarPool(nn.Layer):
    """`TemporalPool`: half the frames, [1, C*T, H, W] to what its layer makes of [1, C*T/2, H, W]."""

    def __init__(self, module: TemporalPool) -> None:
        super().__init__()
        self.net, self.frames = module.net, module.num_frames

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """See the class."""
        _, stacked, height, width = x.shape
        flat = x.reshape([1, stacked // self.frames, self.frames, height * width])
        flat = F.max_pool2d(flat, kernel_size=(3, 1), stride=(2, 1), padding=(1, 0))
        return self.net(flat.reshape([1, stacked // 2, height, width]))


class PlanarRecognizer2D(nn.Layer):
    """`Recognizer2D` of one clip [1, T, 3, H, W]; without dropout every head averages features, and classifies once."""

    def __init__(self, model: Recognizer2D) -> None:
        super().__init__()
        self.backbone, self.new_fc = model.backbone, model.cls_head.new_fc

    def forward(self, clips: paddle.Tensor) -> paddle.Tensor:
        """Logits [1, K]."""
        _, frames, channels, height, width = clips.shape
        x = self.backbone(clips.transpose([0, 2, 1, 3, 4]).reshape([1, channels * frames, height, width]))
        channels = self.new_fc.weight.shape[0]
        x = x.reshape([1, channels, x.shape[1] // channels * x.shape[2], x.shape[3]])
        return self.new_fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class PaddedMaxPool3D(nn.Layer):
    """`SameMaxPool3D`, its padding an operation of its own: [N, C, T, H, W] to [N, C, T', H', W'].

    Of the word `SAME` MNN's converter dies, and ncnn pads other places; paddle2onnx 2.1.0 makes a kernel that is larger
    than a side as small, and takes any bytes for the value of a padding of frames, rows and columns. That of a list of
    both sides of every axis it takes as it is; Paddle Inference dies of such a list over clips.
    """

    def __init__(self, pool: SameMaxPool3D) -> None:
        super().__init__()
        self.kernel, self.stride = pool.kernel, pool.stride

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """See the class."""
        frames, rows, columns = same_padding(x.shape[2:], self.kernel, self.stride)
        x = F.pad(x, [0, 0, 0, 0, *frames, *rows, *columns], value=BELOW)
        return F.max_pool3d(x, self.kernel, stride=self.stride)


CONVOLUTIONS_2D = (nn.Conv2D, Conv2D, DepthwiseConv2D)
CONVOLUTIONS_3D = (nn.Conv3D, Conv3D, DepthwiseConv3D)
PLANAR: dict[type[nn.Layer], Callable[[nn.Layer], nn.Layer]] = {
    Recognizer2D: PlanarRecognizer2D,
    TemporalShift: PlanarShift,
    TemporalPool: PlanarPool,
    MultiViewFusion: PlanarFusion,
    SameMaxPool3D: PaddedMaxPool3D,
    **dict.fromkeys(CONVOLUTIONS_2D, PlanarConv2D),
    **dict.fromkeys(CONVOLUTIONS_3D, PlanarConv3D),
}
