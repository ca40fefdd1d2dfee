"""The same network from fewer operations: BatchNorm folded into convolutions, temporal modules and heads fused.

A graph for an engine is made from a copy that these functions change in place. Every weight that a forward pass would
compute from another one is computed here, once: engines need not fold constants, and paddle2onnx cannot get it wrong.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.nn.layer.norm import _BatchNormBase

from deploy.formats import FORMATS
from deploy.signature import Signature
from models.heads import FrameHead, TSNHead
from models.multi_view_fusion import MultiViewFusion
from models.temporal_module import TemporalModule, replace_layer
from models.temporal_shift import DIRECTIONS, TemporalShift

Convolution: TypeAlias = nn.Conv2D | nn.Conv3D
Fusion = Callable[[nn.Layer], nn.Layer]  # a layer in eval mode -> what takes its place


def fused(model: nn.Layer, signature: Signature, fusions: Mapping[type[nn.Layer], Fusion]) -> nn.Layer:
    """A copy of a model in eval mode that computes the same outputs, beyond rounding, in fewer operations.

    Args:
        model: Left as it is.
        signature: Of its inputs.
        fusions: What takes the place of each layer of exactly a type; a value of FUSIONS.
    """
    model = copy.deepcopy(model)
    model.eval()
    fold_batch_norm(model, signature)
    for path, layer in list(model.named_sublayers()):
        if type(layer) in fusions:
            replace_layer(model, path, fusions[type(layer)](layer))
    return model


def fold_batch_norm(model: nn.Layer, signature: Signature) -> int:
    """Folds each BatchNorm that reads what one convolution wrote into that convolution; returns how many.

    Which belong together is seen from a forward pass of zeros. A norm of anything else, such as of a sum, stays.
    """
    paths = {id(layer): path for path, layer in model.named_sublayers()}
    pairs = _convolutions_before_norms(model, signature)
    for convolution, norm in pairs:
        scale, shift = norm_as_scale_and_shift(norm)
        weight = convolution.weight.numpy()
        weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        bias = shift if convolution.bias is None else convolution.bias.numpy() * scale + shift
        convolution.weight.set_value(weight.astype(np.float32))
        convolution.bias = constant(convolution, bias)
        replace_layer(model, paths[id(norm)], nn.Identity())
    return len(pairs)


def norm_as_scale_and_shift(norm: _BatchNormBase) -> tuple[np.ndarray, np.ndarray]:
    """A BatchNorm in eval mode as `x * scale + shift`, float64 [C] each."""
    gamma, beta, mean, variance = (
        tensor.numpy().astype(np.float64) for tensor in (norm.weight, norm.bias, norm._mean, norm._variance)
    )
    scale = gamma / np.sqrt(variance + norm._epsilon)
    return scale, beta - mean * scale


def constant(layer: nn.Layer, values: np.ndarray) -> paddle.Tensor:
    """A parameter of the layer with these values; engines take it for a constant."""
    parameter = layer.create_parameter(list(values.shape), default_initializer=nn.initializer.Constant(0.0))
    parameter.set_value(values.astype(np.float32))
    return parameter


def _convolutions_before_norms(model: nn.Layer, signature: Signature) -> list[tuple[Convolution, _BatchNormBase]]:
    """Pairs of a convolution and the norm whose input is its output, or is linear in its weight and bias."""
    writers: dict[int, tuple[Convolution, paddle.Tensor]] = {}  # the tensor is kept, so that no other gets its id
    pairs = []

    def written(layer: nn.Layer, _: tuple, output: paddle.Tensor) -> None:
        writers[id(output)] = (layer.net if isinstance(layer, MultiViewFusion) else layer, output)

    def read(norm: nn.Layer, inputs: tuple) -> None:
        if id(inputs[0]) in writers:
            pairs.append((writers[id(inputs[0])][0], norm))

    hooks = []
    for layer in model.sublayers():
        if isinstance(layer, _BatchNormBase):
            hooks.append(layer.register_forward_pre_hook(read))
        elif isinstance(layer, Convolution | MultiViewFusion):
            hooks.append(layer.register_forward_post_hook(written))
    with paddle.no_grad():
        model(*signature.arguments([paddle.to_tensor(spec.zeros()) for spec in signature.inputs]))
    for hook in hooks:
        hook.remove()
    return pairs


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
        channels = module.channels
        scale, shift = np.ones(channels), np.zeros(channels)
        if module.bn is not None:
            scale, shift = norm_as_scale_and_shift(module.bn)
        time, height, width = (
            (conv or module.shift_conv).weight.numpy().reshape(channels, 3) * scale[:, None]
            for conv in (module.shift_conv, module.h_conv, module.w_conv)
        )  # [C', 3] each
        super().__init__(module, time)
        cross = np.zeros((channels, 1, 3, 3))
        if "H" in module.mode:
            cross[:, 0, :, 1] += height
        if "W" in module.mode:
            cross[:, 0, 1, :] += width
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
FUSIONS: dict[str, dict[type[nn.Layer], Fusion]] = dict.fromkeys(FORMATS, _EVERYWHERE)
