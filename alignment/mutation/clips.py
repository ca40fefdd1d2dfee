"""Mistakes in the code of networks that convolve over frames: in inflation, strides of time, pathways and gates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from alignment.mutation.mutant import Mutant, changing, rewriting, setting
from alignment.mutation.network import rewritten
from alignment.sides.pair import Pair
from models.inception_i3d import Mixed, Unit3D
from models.r2plus1d import Conv2Plus1D
from models.recognizer3d import Recognizer3D
from models.temporal_module import find_layer
from models.x3d import BlockX3D, SqueezeExcitation

Tensor = Any
BACKBONE, HEAD = "backbone", "cls_head"

# ---------------------------------------------------------------------------------------------------------------------
# Clips, inflation, strides of time


def reshaped_clips(model: nn.Layer, _: Callable, clips: Tensor) -> Tensor:
    """Frames and colours are exchanged by a reshape and not by a transpose."""
    n, frames, colours, *size = clips.shape
    return model.cls_head(model.backbone(clips.reshape([n, colours, frames, *size])))


def backwards(model: nn.Layer, original: Callable, clips: Tensor) -> Tensor:
    """The frames of a clip come last first."""
    return original(clips.flip([1]))


def inflated(change: Callable[[Tensor], Tensor]) -> Callable[[Pair], None]:
    """A mutation of an inflated kernel [out, in, T, h, w], whose twin has the mean of the image's in each frame."""

    def apply(pair: Pair) -> None:
        conv = pair.reference.get_submodule(f"{BACKBONE}.conv1")
        mean = conv.weight.data.mean(2, keepdim=True)
        conv.weight.data.copy_(mean.expand_as(conv.weight))
        ours = find_layer(pair.candidate, f"{BACKBONE}.conv1")
        ours.weight.set_value(change(paddle.to_tensor(conv.weight.detach().numpy())))

    return apply


def centred(weight: Tensor) -> Tensor:
    """All of the image's kernel in the middle frame."""
    frames = weight.shape[2]
    alone = paddle.zeros_like(weight)
    alone[:, :, frames // 2] = weight.sum(axis=2)
    return alone


def reversed_kernel(conv: nn.Layer, _: Callable, x: Tensor) -> Tensor:
    """The kernel is a convolution's of the textbook, turned round in time."""
    return F.conv3d(x, conv.weight.flip([2]), None, conv._stride, conv._updated_padding)


def causal(conv: nn.Layer, _: Callable, x: Tensor) -> Tensor:
    """The frames are padded before the first alone."""
    frames, height, width = (side // 2 for side in conv.weight.shape[2:])
    x = F.pad(x, [0, 0, 0, 0, 2 * frames, 0], data_format="NCDHW")
    return F.conv3d(x, conv.weight, None, conv._stride, [0, height, width])


def stride_of_time_in_the_pool(net: nn.Layer, _: Callable, x: Tensor) -> Tensor:
    """The stem keeps the frames, and the pooling behind it takes every fourth."""
    conv = net.conv1
    x = F.relu(net.bn1(F.conv3d(x, conv.weight, None, [1, 2, 2], conv._updated_padding)))
    return F.max_pool3d(x, (1, 3, 3), stride=(4, 2, 2), padding=(0, 1, 1))


def pooled_over_time(net: nn.Layer, _: Callable, x: Tensor) -> Tensor:
    """The pooling behind the stem is one of three frames, too."""
    return F.max_pool3d(F.relu(net.bn1(net.conv1(x))), 3, stride=(net.temporal.stem_stride, 2, 2), padding=1)


def frames_averaged(net: nn.Layer, _: Callable, i: int, x: Tensor) -> Tensor:
    """Behind the first stage two frames are averaged, where their maximum belongs."""
    x = getattr(net, f"layer{i + 1}")(x)
    return F.avg_pool3d(x, (2, 1, 1), stride=(2, 1, 1)) if i == 0 else x


def without_second_pool(net: nn.Layer, _: Callable, i: int, x: Tensor) -> Tensor:
    """The pooling behind the first stage is left out: the mean over all frames hides it from the shapes."""
    return getattr(net, f"layer{i + 1}")(x)


def staged(name: str, pair: str, method: str, forward: Callable, *expect: str) -> Mutant:
    """A mutant by another method of the backbone, called with the layer, its former method and the arguments."""

    def change(layer: nn.Layer) -> None:
        former = getattr(type(layer), method)

        def changed(self: nn.Layer, *inputs: Any) -> Any:
            return forward(self, lambda *given: former(self, *given), *inputs)

        object.__setattr__(layer, "__class__", type(type(layer).__name__, (type(layer),), {method: changed}))

    return Mutant(name, str(forward.__doc__), pair, expect, changing(BACKBONE, change))


def largest_frame(head: nn.Layer, _: Callable, features: Tensor) -> Tensor:
    """The places of a frame are averaged, and of the frames the maximum is taken."""
    return head.classify(features.mean(axis=[3, 4]).max(axis=2))


# ---------------------------------------------------------------------------------------------------------------------
# Two pathways


def lateral_before_the_pool(net: nn.Layer, _: Callable, x: Tensor) -> tuple[Tensor, Tensor]:
    """The first lateral connection starts before the fast pathway's pooling, which follows it."""
    fast = net.fast_path
    early = F.relu(fast.bn1(fast.conv1(x)))
    handed = F.max_pool3d(net.lateral[0](early), (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
    return pathways(net, x, first=handed)


def pathways(
    net: nn.Layer, x: Tensor, first: Tensor | None = None, join: Callable | None = None
) -> tuple[Tensor, Tensor]:
    """What a SlowFastBackbone computes, with another first lateral tensor or another way to join."""
    join = join or (lambda slow, handed: paddle.concat([slow, handed], axis=1))
    slow, fast = net.slow_path.stem(net._slow(x)), net.fast_path.stem(x)
    for i in range(4):
        handed = first if i == 0 and first is not None else net.lateral[i](fast)
        slow = join(slow, handed)
        slow, fast = net.slow_path.stage(i, slow), net.fast_path.stage(i, fast)
    return slow, fast


def joined_in_front(net: nn.Layer, _: Callable, x: Tensor) -> tuple[Tensor, Tensor]:
    """What comes from the fast pathway is put before the slow channels."""
    return pathways(net, x, join=lambda slow, handed: paddle.concat([handed, slow], axis=1))


def lateral_without_relu(layer: nn.Layer, _: Callable, x: Tensor) -> Tensor:
    """A lateral connection ends with its norm."""
    return layer.bn(layer.conv(x))


def lateral_from_the_first_frames(layer: nn.Layer, _: Callable, x: Tensor) -> Tensor:
    """The kernel of a lateral connection begins at each slow frame, and is not centred on it."""
    alpha, frames = layer.conv._stride[0], layer.conv.weight.shape[2]
    x = F.pad(x, [0, 0, 0, 0, 0, frames - 1], data_format="NCDHW")
    return F.relu(layer.bn(F.conv3d(x, layer.conv.weight, None, [alpha, 1, 1])))


def columns_exchanged(head: nn.Layer, original: Callable, features: Any) -> Tensor:
    """The classifier reads the fast pathway's channels first."""
    return original(features[::-1])


# ---------------------------------------------------------------------------------------------------------------------
# X3D


def x3d_block(gate: Callable[[nn.Layer, Tensor], Tensor]) -> Callable:
    """A forward of BlockX3D with another middle: (block, what its depthwise convolution gives) -> its activation."""

    def forward(block: BlockX3D, _: Callable, x: Tensor) -> Tensor:
        identity = x if block.downsample is None else block.downsample(x)
        y = gate(block, block.conv2(F.relu(block.bn1(block.conv1(x)))))
        return F.relu(block.bn3(block.conv3(y)) + identity)

    return forward


def squeezed(block: nn.Layer, y: Tensor) -> Tensor:
    """Squeeze and excitation where the block has it."""
    return y if block.se is None else block.se(y)


def gate_of_each_frame(layer: SqueezeExcitation, _: Callable, x: Tensor) -> Tensor:
    """Squeeze and excitation judges each frame by itself."""
    return x * F.sigmoid(layer.fc2(F.relu(layer.fc1(x.mean(axis=[3, 4], keepdim=True)))))


def gate_without_relu(layer: SqueezeExcitation, _: Callable, x: Tensor) -> Tensor:
    """Between the two layers of squeeze and excitation there is nothing."""
    return x * F.sigmoid(layer.fc2(layer.fc1(x.mean(axis=[2, 3, 4], keepdim=True))))


def hard_gate(layer: SqueezeExcitation, _: Callable, x: Tensor) -> Tensor:
    """The gate is a piecewise sigmoid, as MobileNetV3's."""
    return x * F.hardsigmoid(layer.fc2(F.relu(layer.fc1(x.mean(axis=[2, 3, 4], keepdim=True)))))


def shortcut_without_norm(block: Any, _: Callable, x: Tensor) -> Tensor:
    """The shortcut has no norm, as the first of PyTorchVideo's."""
    y = F.swish(squeezed(block, block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))))
    return F.relu(block.bn3(block.conv3(y)) + block.downsample[0](x))


def norm_in_the_stem(net: nn.Layer, _: Callable, x: Tensor) -> Tensor:
    """ReLU stands between the two convolutions of the stem, too."""
    x = F.relu(net.bn1(net.conv1_t(F.relu(net.conv1_s(x)))))
    for i in range(1, 5):
        x = getattr(net, f"layer{i}")(x)
    return F.relu(net.bn5(net.conv5(x)))


def widened_before_the_pool(head: nn.Layer, _: Callable, features: Tensor) -> Tensor:
    """The head widens and activates each place, and averages afterwards: the ReLU makes it another network."""
    widened = F.relu(head.fc1(features.flatten(2).transpose([0, 2, 1])))  # [N, P, C]
    return head.new_fc(head.dropout(widened.mean(axis=1)))


# ---------------------------------------------------------------------------------------------------------------------
# Factored convolutions, Inception


def without_middle_norm(layer: Conv2Plus1D, _: Callable, x: Tensor) -> Tensor:
    """Nothing but ReLU stands between the two factors of a convolution."""
    return layer.conv_t(F.relu(layer.conv_s(x)))


def padded_by_half(unit: Unit3D, _: Callable, x: Tensor) -> Tensor:
    """The padding is half of the kernel on both sides, not TensorFlow's, whose odd pixel is behind."""
    conv = unit.conv3d
    x = F.conv3d(x, conv.weight, None, conv._stride, [side // 2 for side in conv.weight.shape[2:]])
    return F.relu(unit.bn(x))


def branches_exchanged(mixed: Mixed, _: Callable, x: Tensor) -> Tensor:
    """The pooled branch is put before the second one of 3x3x3."""
    pooled = F.max_pool3d(x, 3, stride=1, padding="SAME")
    return paddle.concat([mixed.b0(x), mixed.b1b(mixed.b1a(x)), mixed.b3b(pooled), mixed.b2b(mixed.b2a(x))], axis=1)


def averaged_without_pad(mixed: Mixed, _: Callable, x: Tensor) -> Tensor:
    """The pooled branch averages."""
    pooled = F.avg_pool3d(x, 3, stride=1, padding="SAME")
    return paddle.concat([mixed.b0(x), mixed.b1b(mixed.b1a(x)), mixed.b2b(mixed.b2a(x)), mixed.b3b(pooled)], axis=1)


def gated(name: str, description: str, gate: Callable[[nn.Layer, Tensor], Tensor]) -> Mutant:
    """A mutant of the middle of a block of X3D."""
    return Mutant(name, description, "x3d_tiny", ("layer2.0",), rewriting("backbone.layer2.0", x3d_block(gate)))


MUTANTS: tuple[Mutant, ...] = (
    rewritten("clips reshaped, not transposed", "i3d_tiny", Recognizer3D, reshaped_clips, "conv1"),
    rewritten("clip backwards", "i3d_tiny", Recognizer3D, backwards, "conv1"),
    Mutant("inflation not divided", "The kernel of an image stands in each frame as it is, and a still video is seen "
           "five times as bright.", "i3d_tiny", ("conv1.weight",), inflated(lambda weight: weight * weight.shape[2])),
    Mutant("inflation of the middle frame", str(centred.__doc__), "i3d_tiny", ("conv1.weight",), inflated(centred)),
    rewritten("kernel turned round in time", "i3d_tiny", "backbone.conv1", reversed_kernel),
    rewritten("frames padded in front", "i3d_tiny", "backbone.conv1", causal),
    staged("stride of time in the pool", "i3d_half", "stem", stride_of_time_in_the_pool, "conv1", "bn1"),
    staged("stem pooled over time", "i3d_tiny", "stem", pooled_over_time, "layer1", "backbone"),
    staged("frames averaged behind the first stage", "i3d_tiny", "stage", frames_averaged, "layer2", "backbone"),
    staged("no pooling behind the first stage", "i3d_tiny", "stage", without_second_pool, "layer2", "backbone"),
    rewritten("largest frame", "i3d_tiny", HEAD, largest_frame),
    rewritten("lateral before the pool", "slowfast_tiny", BACKBONE, lateral_before_the_pool, "lateral.0", "backbone"),
    rewritten("lateral channels in front", "slowfast_tiny", BACKBONE, joined_in_front, "slow_path.layer1", "backbone"),
    rewritten("lateral without ReLU", "slowfast_tiny", "backbone.lateral.1", lateral_without_relu),
    rewritten("lateral not centred", "slowfast_tiny", "backbone.lateral.2", lateral_from_the_first_frames),
    Mutant("slow frames at a stride", "The slow pathway sees each fourth frame from the first, where the reference "
           "spreads its frames to the last.", "slowfast_tiny", ("slow_frames",),
           setting(BACKBONE, slow_frames="stride")),
    rewritten("slow and fast columns exchanged", "slowfast_tiny", HEAD, columns_exchanged, "cls_head", "output"),
    gated("gate before the norm", "Squeeze and excitation stands before the norm.",
          lambda block, y: F.swish(block.bn2(squeezed(block, y)))),
    gated("gate behind the activation", "Squeeze and excitation stands behind swish.",
          lambda block, y: squeezed(block, F.swish(block.bn2(y)))),
    gated("ReLU for swish", "The inner activation of X3D is ReLU.",
          lambda block, y: F.relu(squeezed(block, block.bn2(y)))),
    gated("no gate", "Squeeze and excitation is left out.", lambda block, y: F.swish(block.bn2(y))),
    rewritten("gate of each frame", "x3d_tiny", "backbone.layer2.0.se", gate_of_each_frame),
    rewritten("gate without ReLU", "x3d_tiny", "backbone.layer2.0.se", gate_without_relu),
    rewritten("hard gate", "x3d_tiny", "backbone.layer2.0.se", hard_gate),
    rewritten("shortcut without norm", "x3d_tiny", "backbone.layer1.0", shortcut_without_norm),
    rewritten("ReLU in the stem of X3D", "x3d_tiny", BACKBONE, norm_in_the_stem, "conv1_t", "backbone"),
    rewritten("widened before the pool", "x3d_tiny", HEAD, widened_before_the_pool, "cls_head", "output"),
    rewritten("no norm between two factors", "r2plus1d", "backbone.layer2.0.conv1", without_middle_norm),
    Mutant("epsilon of the norm between two factors", "It is that of the other norms.", "r2plus1d", ("conv1.bn_s",),
           setting("backbone.layer1.0.conv1.bn_s", _epsilon=1e-3)),
    rewritten("padding of half the kernel", "i3d_inception", "backbone.Conv3d_1a_7x7", padded_by_half),
    rewritten("branches exchanged", "i3d_inception", "backbone.Mixed_3b", branches_exchanged),
    rewritten("pooled branch averages", "i3d_inception", "backbone.Mixed_3b", averaged_without_pad),
)  # fmt: skip
