"""A copy of a network for an engine: BatchNorm folded into convolutions, and other layers in the place of some.

Every weight that a forward pass would compute from another one is computed here, once: engines need not fold constants,
and paddle2onnx cannot get it wrong.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import paddle
from paddle import nn
from paddle.nn.layer.norm import _BatchNormBase

from deploy.signature import Signature
from models.multi_view_fusion import MultiViewFusion
from models.temporal_module import replace_layer

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
    return _replaced(model, fusions)


def _replaced(layer: nn.Layer, fusions: Mapping[type[nn.Layer], Fusion]) -> nn.Layer:
    """What takes the place of a layer, and in it of each of its sublayers; a layer that it keeps inside stays."""
    found = fusions[type(layer)](layer) if type(layer) in fusions else layer
    for name, sublayer in list(found.named_children()):
        if sublayer is not layer:
            setattr(found, name, _replaced(sublayer, fusions))
    return found


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


def fusion_kernels(module: MultiViewFusion) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The kernels of a fusion with its BatchNorm folded in: along the frames [C', 3], over rows and columns as a cross
    [C', 1, 3, 3], and the bias [C']."""
    channels = module.channels
    scale, shift = np.ones(channels), np.zeros(channels)
    if module.bn is not None:
        scale, shift = norm_as_scale_and_shift(module.bn)
    time, height, width = (
        (conv or module.shift_conv).weight.numpy().reshape(channels, 3) * scale[:, None]
        for conv in (module.shift_conv, module.h_conv, module.w_conv)
    )  # [C', 3] each
    cross = np.zeros((channels, 1, 3, 3))
    if "H" in module.mode:
        cross[:, 0, :, 1] += height
    if "W" in module.mode:
        cross[:, 0, 1, :] += width
    return time, cross, shift
