"""Mistakes in what can be read off a live model: hyper-parameters, classes of layers, weights and how they train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from paddle import nn
from paddle.nn.layer.norm import _BatchNormBase

from alignment.mutation.mutant import Mutant, override, setting
from alignment.sides.pair import Pair
from models.temporal_module import find_layer, replace_layer
from models.temporal_shift import TemporalShift


def exchanging(path: str, layer: Callable[[], nn.Layer]) -> Callable[[Pair], None]:
    """A mutation that puts another layer in the place of one without weights."""
    return lambda pair: replace_layer(pair.candidate, path, layer())


def stride_in_the_1x1(pair: Pair) -> None:
    """Moves the stride of a bottleneck from its 3x3 convolution to the 1x1 before it."""
    block = find_layer(pair.candidate, "backbone.layer2.0")
    getattr(block.conv1, "net", block.conv1)._stride = [2, 2]
    block.conv2._stride = [1, 1]


def replicated_edges(pair: Pair) -> None:
    """Pads a 3x3 convolution with copies of its edge."""
    conv = find_layer(pair.candidate, "backbone.layer1.0.conv2")
    conv._padding_mode, conv._reversed_padding_repeated_twice, conv._updated_padding = "replicate", [1] * 4, [0, 0]


def leaving_in_evaluation(path: str) -> Callable[[Pair], None]:
    """A mutation by which `model.train()` leaves one layer out."""

    def apply(pair: Pair) -> None:
        cls = type(pair.candidate)

        def train(self: Any) -> Any:
            cls.train(self)
            find_layer(self, path).training = False
            return self

        override(pair.candidate, train=train)

    return apply


def freezing(*names: str) -> Callable[[Pair], None]:
    """A mutation that stops parameters from training."""

    def apply(pair: Pair) -> None:
        for name in names:
            find_layer(pair.candidate, name).stop_gradient = True

    return apply


def sharing(pair: Pair) -> None:
    """Gives two convolutions of equal shape one weight."""
    block = find_layer(pair.candidate, "backbone.layer1.0")
    block.conv2.weight = getattr(block.conv1, "net", block.conv1).weight


def changing_weight(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Pair], None]:
    """A mutation of one weight's values."""

    def apply(pair: Pair) -> None:
        tensor = find_layer(pair.candidate, name)
        array = tensor.numpy()
        tensor.set_value(np.ascontiguousarray(change(array)).astype(array.dtype))

    return apply


def exchanging_weights(first: str, second: str) -> Callable[[Pair], None]:
    """A mutation that exchanges the values of two weights of equally many elements."""

    def apply(pair: Pair) -> None:
        left, right = find_layer(pair.candidate, first), find_layer(pair.candidate, second)
        a, b = left.numpy(), right.numpy()
        left.set_value(b.reshape(a.shape))
        right.set_value(a.reshape(b.shape))

    return apply


def statistics_left_at_their_start(pair: Pair) -> None:
    """Keeps mean 0 and variance 1 in one BatchNorm, as if the checkpoint had no such names."""
    norm = find_layer(pair.candidate, "backbone.layer3.0.bn1")
    norm._mean.set_value(np.zeros(norm._mean.shape, np.float32))
    norm._variance.set_value(np.ones(norm._variance.shape, np.float32))


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "stride in the 1x1 convolution",
        "Caffe's ResNet strides in the first convolution of a bottleneck, torchvision's in the second.",
        "tsm_bottleneck", ("layer2.0.conv1", "layer2.0.conv2"), stride_in_the_1x1,
    ),
    *(
        Mutant(name, description, pair, (path,), setting(f"backbone.{path}", **values))
        for name, pair, path, values, description in (
            ("epsilon of a BatchNorm", "tsn_tiny", "layer2.0.bn1", {"_epsilon": 1e-3},
             "TensorFlow's 1e-3 in place of PyTorch's 1e-5, in one layer."),
            ("epsilon of a BatchNorm by a hair", "tsn_tiny", "layer4.1.bn2", {"_epsilon": 1.1e-5},
             "1.1e-5 for 1e-5: far below any visual difference."),
            ("BatchNorm on global statistics", "mvf_tiny", "layer1.0.bn2", {"_use_global_stats": True},
             "`use_global_stats=True` from a fine-tuning config left in one layer."),
            ("dilation", "tsn_tiny", "layer1.1.conv2", {"_dilation": [2, 2], "_updated_padding": [2, 2]},
             "A 3x3 convolution with dilation 2 and the padding that keeps the size."),
            ("mode of the fusion", "mvf_tiny", "layer3.0.conv1", {"mode": "TH"}, "Time and height only."),
        )
    ),
    Mutant(
        "momentum of BatchNorm not inverted", "PyTorch's 0.1 weighs the new value, Paddle's 0.9 the old one.",
        "tsn_tiny", ("backbone.bn1.momentum",), setting(_BatchNormBase, _momentum=0.1),
    ),
    Mutant(
        "a BatchNorm never trains", "`train()` is overridden and leaves a layer in evaluation.",
        "tsn_tiny", ("backbone.bn1",), leaving_in_evaluation("backbone.bn1"),
    ),
    Mutant(
        "dropout never switched on", "`train()` is overridden and leaves the head's dropout in evaluation.",
        "tsn_tiny", ("dropout",), leaving_in_evaluation("cls_head.dropout"),
    ),
    Mutant("probability of dropout", "0.4 for 0.5.", "tsn_tiny", ("dropout",), setting("cls_head.dropout", p=0.4)),
    Mutant(
        "mode of dropout", "Paddle 1.x scaled in inference, `downscale_in_infer`.",
        "tsm_tiny", ("dropout",), setting("cls_head.dropout", mode="downscale_in_infer"),
    ),
    Mutant(
        "dropout of whole samples", "`axis=0` drops a frame's features all together or not at all.",
        "mvf_tiny", ("dropout",), setting("cls_head.dropout", axis=0),
    ),
    Mutant(
        "padding mode", "Edges replicated instead of zeros.",
        "tsn_tiny", ("layer1.0.conv2",), replicated_edges,
    ),
    Mutant(
        "direction of the shift", "`paddle.nn.functional.temporal_shift` moves the folds the other way.",
        "tsm_tiny", ("layer1.0.conv1",), setting(TemporalShift, direction="paddle"),
    ),
    Mutant(
        "fold of the shift", "A quarter of the channels moves each way: 1/4 in all was meant, 1/4 each is done.",
        "tsm_tiny", ("layer1.0.conv1",), setting(TemporalShift, shift_div=4),
    ),
    Mutant(
        "ReLU for ReLU6", "The stem of MobileNetV2 without its upper bound.",
        "tsm_mobilenet_v2", ("features.0.2",), exchanging("backbone.features.0.2", nn.ReLU),
    ),
    Mutant(
        "hard-swish for ReLU6", "The activation of MobileNetV3 in a block of MobileNetV2.",
        "tsm_mobilenet_v2", ("features.3.conv.1.2",), exchanging("backbone.features.3.conv.1.2", nn.Hardswish),
    ),
    *(
        Mutant(name, description, "small_net", (layer,), setting(layer, **values))
        for name, layer, values, description in (
            ("slope of a leaky ReLU", "leaky", {"_negative_slope": 0.01},
             "PyTorch's default 0.01 for the 0.25 of the network."),
            ("GELU by tanh", "gelu", {"_approximate": True},
             "The approximation in place of the error function: 1e-4 apart."),
            ("padding counted in an average", "avg_pool", {"exclusive": True},
             "`exclusive=True`, Paddle's default, is PyTorch's `count_include_pad=False`."),
            ("ceil mode", "max_pool", {"ceil_mode": False}, "The last window of a pooling left out."),
            ("aligned corners", "upsample", {"align_corners": True}, "`align_corners=True` in an interpolation."),
            ("rule of pixels", "upsample", {"align_mode": 1}, "Paddle's `align_mode=1` in an interpolation."),
            ("groups of a GroupNorm", "group_norm", {"_num_groups": 4}, "4 groups for 2."),
            ("axis of a softmax", "softmax", {"_axis": 0}, "Over the batch instead of over the features."),
            ("epsilon of a LayerNorm", "layer_norm", {"_epsilon": 1e-12}, "BERT's 1e-12 for 1e-5."),
        )
    ),
    Mutant(
        "a frozen weight", "One convolution does not train.",
        "tsn_tiny", ("layer1.1.conv1.weight",), freezing("backbone.layer1.1.conv1.weight"),
    ),
    Mutant(
        "a frozen norm", "Weight and bias of one BatchNorm do not train, its statistics do.",
        "tsm_tiny", ("layer2.1.bn2",), freezing("backbone.layer2.1.bn2.weight", "backbone.layer2.1.bn2.bias"),
    ),
    Mutant(
        "a weight shared by mistake", "Two convolutions hold one tensor.",
        "tsn_tiny", ("layer1.0.conv1", "layer1.0.conv2"), sharing,
    ),
    Mutant(
        "transposed square Linear", "Paddle's Linear keeps [in, out]; no shape tells for a square one.",
        "small_net", ("square.weight",), changing_weight("square.weight", np.transpose),
    ),
    *(
        Mutant(name, description, pair, (a, b), exchanging_weights(within + a, within + b))
        for name, pair, within, a, b, description in (
            ("two weights exchanged", "tsn_tiny", "backbone.", "layer1.0.conv1.weight", "layer1.0.conv2.weight",
             "A map of weights by position takes two of equal shape in the wrong order."),
            ("kernels of height and width exchanged", "mvf_tiny", "backbone.",
             "layer3.0.conv1.h_conv.weight", "layer3.0.conv1.w_conv.weight",
             "In the checkpoint: they have equally many values."),
            ("scale and bias of a norm exchanged", "tsn_tiny", "backbone.", "layer2.0.bn2.weight", "layer2.0.bn2.bias",
             "Both are vectors of one length."),
            ("mean and variance exchanged", "tsn_tiny", "backbone.", "layer2.0.bn2._mean", "layer2.0.bn2._variance",
             "`_mean` and `_variance` filled in the wrong order."),
            ("two Linears exchanged", "small_net", "", "square.weight", "square_too.weight",
             "As two weights exchanged, in a head."),
        )
    ),
    Mutant(
        "a kernel mirrored", "A convolution taken for a correlation.",
        "mvf_tiny", ("layer4.0.conv2.weight",),
        changing_weight("backbone.layer4.0.conv2.weight", lambda w: w[:, :, ::-1, ::-1]),
    ),
    Mutant(
        "input channels reversed in the stem", "A BGR checkpoint with an RGB pipeline.",
        "tsn_tiny", ("backbone.conv1.weight",), changing_weight("backbone.conv1.weight", lambda w: w[:, ::-1]),
    ),
    Mutant(
        "running statistics not loaded", "`running_mean` has no namesake in Paddle, and nobody complains.",
        "tsn_tiny", ("layer3.0.bn1._mean", "layer3.0.bn1._variance"), statistics_left_at_their_start,
    ),
    Mutant(
        "a weight in half precision", "A checkpoint saved as float16: each value is right to three digits.",
        "tsm_tiny", ("layer4.1.conv2",), changing_weight(
            "backbone.layer4.1.conv2.weight", lambda w: w.astype(np.float16)
        ),
    ),
    Mutant(
        "bias of the classifier not loaded", "It starts at 0 and looks as if it had been.",
        "tsn_tiny", ("new_fc.bias",), changing_weight("cls_head.new_fc.bias", np.zeros_like),
    ),
)  # fmt: skip
