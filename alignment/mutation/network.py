"""Mistakes in the code of a network, which no list of its constants shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from alignment.mutation.mutant import Mutant, Rewrite, Target, changing, override, rewrite, rewriting
from alignment.sides.pair import Pair
from models import temporal_shift
from models.heads import TSNHead
from models.multi_view_fusion import MultiViewFusion
from models.temporal_module import find_layer
from models.temporal_shift import TemporalPool, TemporalShift

Tensor = Any

# ---------------------------------------------------------------------------------------------------------------------
# Residual blocks


def branch(block: nn.Layer, x: Tensor) -> Tensor:
    """What a BasicBlock adds to its shortcut."""
    return block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))


def shortcut(block: nn.Layer, x: Tensor) -> Tensor:
    """The other term."""
    return x if block.downsample is None else block.downsample(x)


def without_first_relu(block: nn.Layer, _: Callable, x: Tensor) -> Tensor:
    """The first activation of a block is forgotten."""
    return F.relu(block.bn2(block.conv2(block.bn1(block.conv1(x)))) + shortcut(block, x))


def joined(by: Callable[[Tensor, Tensor], Tensor]) -> Rewrite:
    """A BasicBlock whose branch and shortcut, the two arguments, are joined in another way."""
    return lambda block, _, x: by(branch(block, x), shortcut(block, x))


def bounded_activation(pair: Pair) -> None:
    """Bounds the activation of a block whose last norm is scaled up, on both sides, so that values exceed 6."""
    block = "backbone.layer4.1"
    pair.reference.get_submodule(f"{block}.bn2").weight.data.mul_(64)
    norm = find_layer(pair.candidate, f"{block}.bn2")
    norm.weight.set_value(norm.weight * 64)
    rewrite(find_layer(pair.candidate, block), joined(lambda added, kept: F.relu6(added + kept)))


def norm_exchanged(block: nn.Layer, _: Callable, x: Tensor) -> Tensor:
    """The two norms of a block, of equal shapes, are called in each other's place."""
    y = F.relu(block.bn2(block.conv1(x)))
    return F.relu(block.bn1(block.conv2(y)) + shortcut(block, x))


def without_inverted_shortcut(block: nn.Layer, _: Callable, x: Tensor) -> Tensor:
    """A block of MobileNetV2 is taken for one without a shortcut."""
    return block.conv(x)


# ---------------------------------------------------------------------------------------------------------------------
# Stems


def with_pool(pool: Callable[[Tensor], Tensor]) -> Callable[[Pair], None]:
    """A mutation of the pooling behind the stem of a ResNet."""

    def forward(net: nn.Layer, _: Callable, x: Tensor) -> Tensor:
        x = pool(F.relu(net.bn1(net.conv1(x))))
        for path in net.stage_paths:
            x = getattr(net, path)(x)
        return x

    return rewriting("backbone", forward)


# ---------------------------------------------------------------------------------------------------------------------
# Temporal modules


def with_shift(move: Callable[[TemporalShift, Tensor, int], Tensor]) -> Callable[[Pair], None]:
    """A mutation of what every TemporalShift does to [N*T, C, H, W] before its net, given the fold."""

    def forward(layer: TemporalShift, _: Callable, x: Tensor) -> Tensor:
        return layer.net(move(layer, x, x.shape[1] // layer.shift_div))

    return rewriting(TemporalShift, forward)


def shift(x: Tensor, num_frames: int, fold: int, direction: str) -> Tensor:
    """The shift as it should be, of two folds of one size."""
    return temporal_shift.shift(x, num_frames, (0, fold, 2 * fold), direction)


def rolled(layer: TemporalShift, x: Tensor, fold: int) -> Tensor:
    """What leaves a clip at one end comes in at the other."""
    x = x.reshape([-1, layer.num_frames, *x.shape[1:]])  # [N, T, C, H, W]
    moved = [x[:, :, :fold].roll(-1, axis=1), x[:, :, fold : 2 * fold].roll(1, axis=1), x[:, :, 2 * fold :]]
    return paddle.concat(moved, axis=2).flatten(0, 1)


def across_clips(layer: TemporalShift, x: Tensor, fold: int) -> Tensor:
    """The batch is shifted as one long clip."""
    return shift(x, x.shape[0], fold, layer.direction)


def half_clips(layer: TemporalShift, x: Tensor, fold: int) -> Tensor:
    """Half the true number of frames, as from a default that fits the batch by chance."""
    return shift(x, layer.num_frames // 2, fold, layer.direction)


def one_way(layer: TemporalShift, x: Tensor, fold: int) -> Tensor:
    """Both folds look ahead."""
    first = shift(x, layer.num_frames, fold, "mit")[:, :fold]
    second = shift(x[:, fold:], layer.num_frames, fold, "mit")[:, :fold]
    return paddle.concat([first, second, x[:, 2 * fold :]], axis=1)


def fold_of_the_outputs(layer: TemporalShift, x: Tensor, _: int) -> Tensor:
    """The fold is counted in output channels, which are more where a stage begins."""
    return shift(x, layer.num_frames, layer.net.weight.shape[0] // layer.shift_div, layer.direction)


def edges_repeated(layer: TemporalShift, x: Tensor, fold: int) -> Tensor:
    """The first and the last frame keep their own values where zeros should come in."""
    moved = shift(x, layer.num_frames, fold, "mit").reshape([-1, layer.num_frames, *x.shape[1:]])
    x = x.reshape(moved.shape)  # [N, T, C, H, W]
    ahead = paddle.concat([moved[:, :-1, :fold], x[:, -1:, :fold]], axis=1)
    behind = paddle.concat([x[:, :1, fold : 2 * fold], moved[:, 1:, fold : 2 * fold]], axis=1)
    return paddle.concat([ahead, behind, x[:, :, 2 * fold :]], axis=2).flatten(0, 1)


def shift_behind_the_net(layer: TemporalShift, _: Callable, x: Tensor) -> Tensor:
    """The output of the convolution is shifted, not its input."""
    y = layer.net(x)
    return shift(y, layer.num_frames, y.shape[1] // layer.shift_div, layer.direction)


def shift_of_the_whole_block(block: nn.Layer, _: Callable, x: Tensor) -> Tensor:
    """The shortcut sees the shifted input too: TSM's in-place variant."""
    module = block.conv1
    x = shift(x, module.num_frames, x.shape[1] // module.shift_div, module.direction)
    y = F.relu(block.bn1(module.net(x)))
    return F.relu(block.bn2(block.conv2(y)) + shortcut(block, x))


def pool_behind_the_net(layer: TemporalPool, _: Callable, x: Tensor) -> Tensor:
    """The frames are halved behind the stage instead of before it."""
    return _halved(layer.net(x), layer.num_frames, F.max_pool2d)


def average_of_frames(layer: TemporalPool, _: Callable, x: Tensor) -> Tensor:
    """The mean over three frames instead of the maximum."""
    return layer.net(_halved(x, layer.num_frames, F.avg_pool2d))


def _halved(x: Tensor, num_frames: int, pool: Callable) -> Tensor:
    channels, height, width = x.shape[1:]
    x = x.reshape([-1, num_frames, channels, height * width]).transpose([0, 2, 1, 3])  # [N, C, T, H*W]
    x = pool(x, kernel_size=(3, 1), stride=(2, 1), padding=(1, 0)).transpose([0, 2, 1, 3])
    return x.reshape([-1, channels, height, width])  # [N*T/2, C, H, W]


def every_second_frame(layer: TemporalPool, _: Callable, x: Tensor) -> Tensor:
    """Every second frame is taken as it is."""
    x = x.reshape([-1, layer.num_frames, *x.shape[1:]])[:, ::2]  # [N, T/2, C, H, W]
    return layer.net(x.flatten(0, 1))


def with_fusion(**methods: Callable) -> Callable[[Pair], None]:
    """A mutation of methods of every MultiViewFusion."""
    return changing(MultiViewFusion, lambda layer: override(layer, **methods))


def video_by_reshape(self: MultiViewFusion, x: Tensor) -> Tensor:
    """Frames read as channels: [N*T, C', H, W] reshaped to [N, C', T, H, W] where a transposition belongs."""
    return x[:, : self.channels].reshape([-1, self.channels, self.num_frames, *x.shape[2:]])


def frames_by_reshape(self: MultiViewFusion, y: Tensor) -> Tensor:
    """The way back from it."""
    return y.reshape([-1, self.channels, *y.shape[3:]])


def last_channels(self: MultiViewFusion, _: Callable, x: Tensor) -> Tensor:
    """The last channels are fused instead of the first."""
    rest, part = x[:, : -self.channels], x[:, -self.channels :]
    fused = self._frames_by_slices(self.fuse(self._video_by_slices(part)))
    return self.net(paddle.concat([rest, fused], axis=1))


def exchanged_convolutions(self: Any, a: Tensor) -> Tensor:
    """The layer of time is called twice, that of width never."""
    swap = [0, 1, 4, 3, 2]
    return self.shift_conv(a) + self.h_conv(a) + self.shift_conv(a.transpose(swap)).transpose(swap)


# ---------------------------------------------------------------------------------------------------------------------
# Heads


def over_frames(consensus: Callable[[Tensor], Tensor]) -> Rewrite:
    """A head that drops out and classifies each frame, with another way from logits [N, T, K] to scores [N, K]."""

    def forward(head: TSNHead, _: Callable, features: Tensor, num_frames: int) -> Tensor:
        scores = head.new_fc(head.dropout(features.mean(axis=[2, 3])))
        return consensus(scores.reshape([-1, num_frames, scores.shape[1]]))

    return forward


def dropout_of_the_mean(head: TSNHead, _: Callable, features: Tensor, num_frames: int) -> Tensor:
    """TSN's order in TSM: one mask for all frames. In evaluation both are the same."""
    x = features.mean(axis=[2, 3]).reshape([-1, num_frames, features.shape[1]])
    return head.new_fc(head.dropout(x.mean(axis=1)))


def maximum_over_space(head: TSNHead, original: Callable, features: Tensor, num_frames: int) -> Tensor:
    """The maximum of the features over the picture instead of their mean."""
    return original(features.max(axis=[2, 3], keepdim=True), num_frames)


def without_bias(layer: nn.Linear, _: Callable, x: Tensor) -> Tensor:
    """The bias is there but not used."""
    return F.linear(x, layer.weight)


# ---------------------------------------------------------------------------------------------------------------------
# Layers


def _per_channel(vector: Tensor, x: Tensor) -> Tensor:
    return vector.reshape([1, -1, *[1] * (x.ndim - 2)])


def _variance(x: Tensor, axes: list[int]) -> Tensor:
    """Of the values along axes, by n; they stay with length 1."""
    return (x - x.mean(axis=axes, keepdim=True)).square().mean(axis=axes, keepdim=True)


def _batch_variance(x: Tensor) -> Tensor:
    return _variance(x, [0, *range(2, x.ndim)]).flatten()  # [C]


def unbiased_variance(norm: nn.Layer, original: Callable, x: Tensor) -> Tensor:
    """The running variance takes the batch's variance by n - 1."""
    before = norm._variance.clone()
    y = original(x)
    if norm.training:
        n = x.size / x.shape[1]
        kept = norm._momentum * before
        norm._variance.set_value(kept + (norm._variance - kept) * (n / (n - 1)))
    return y


def statistics_not_updated(norm: nn.Layer, original: Callable, x: Tensor) -> Tensor:
    """Batch statistics are used, but the running ones stay as they are."""
    before = norm._mean.clone(), norm._variance.clone()
    y = original(x)
    norm._mean.set_value(before[0])
    norm._variance.set_value(before[1])
    return y


def epsilon_outside(norm: nn.Layer, original: Callable, x: Tensor) -> Tensor:
    """sqrt(v) + eps in place of sqrt(v + eps)."""
    variance = _batch_variance(x) if norm.training else norm._variance.clone()
    y, bias = original(x), _per_channel(norm.bias, x)
    factor = (variance + norm._epsilon).sqrt() / (variance.sqrt() + norm._epsilon)
    return (y - bias) * _per_channel(factor, x) + bias


def epsilon_outside_of_rows(norm: nn.LayerNorm, original: Callable, x: Tensor) -> Tensor:
    """sqrt(v) + eps in place of sqrt(v + eps)."""
    variance = _variance(x, [-1])
    factor = (variance + norm._epsilon).sqrt() / (variance.sqrt() + norm._epsilon)
    return (original(x) - norm.bias) * factor + norm.bias


def rows_by_n_minus_1(norm: nn.LayerNorm, original: Callable, x: Tensor) -> Tensor:
    """`Tensor.var` is unbiased by default, in both frameworks; a LayerNorm's is not."""
    return (original(x) - norm.bias) * math.sqrt(1 - 1 / x.shape[-1]) + norm.bias


def constant_statistics(norm: nn.Layer, original: Callable, x: Tensor) -> Tensor:
    """The same numbers, but the gradient takes the statistics of the batch for constants."""
    y = original(x)
    if not norm.training:
        return y
    mean, variance = x.mean(axis=[0, *range(2, x.ndim)]).detach(), _batch_variance(x).detach()
    scale = norm.weight / (variance + norm._epsilon).sqrt()
    return (x - _per_channel(mean, x)) * _per_channel(scale, x) + _per_channel(norm.bias, x)


def half_precision(_: nn.Layer, original: Callable, x: Tensor) -> Tensor:
    """The layer's result passes through float16."""
    return original(x).astype("float16").astype(x.dtype)


def bfloat_input(_: nn.Layer, original: Callable, x: Tensor) -> Tensor:
    """The layer's input passes through bfloat16, as automatic mixed precision does."""
    return original(x.astype("bfloat16").astype(x.dtype))


def detached_weight(conv: nn.Conv2D, _: Callable, x: Tensor) -> Tensor:
    """A convolution by its weight's values: it trains no more, although nothing is frozen."""
    return F.conv2d(x, conv.weight.detach(), stride=conv._stride, padding=conv._updated_padding)


def clamped_gradient(_: nn.Layer, original: Callable, x: Tensor) -> Tensor:
    """The same numbers, half the gradient."""
    y = original(x)
    return y / 2 + (y / 2).detach()


def used_twice(pair: Pair) -> None:
    """The second block of a stage calls the convolution of the first, as if both were one layer."""
    stage = find_layer(pair.candidate, "backbone.layer1")

    def forward(stage: nn.Layer, _: Callable, x: Tensor) -> Tensor:
        x = stage[0](x)
        y = F.relu(stage[1].bn1(stage[0].conv1(x)))
        return F.relu(stage[1].bn2(stage[1].conv2(y)) + x)

    rewrite(stage, forward)


def rewritten(name: str, pair: str, target: Target, forward: Rewrite, *expect: str) -> Mutant:
    """A mutant by a forward whose docstring describes it, expected where it is unless something else is said."""
    expect = expect or (str(target).removeprefix("backbone."),)
    return Mutant(name, str(forward.__doc__), pair, expect, rewriting(target, forward))


BLOCK = "backbone.layer1.0"
FIRST_FUSION = ("layer3.0.conv1",)
HEAD = ("cls_head", "output")
SWAP = [0, 1, 2, 4, 3]  # height and width
MUTANTS: tuple[Mutant, ...] = (
    rewritten("no first ReLU in a block", "tsn_tiny", "backbone.layer1.0", without_first_relu),
    *(
        Mutant(name, description, "tsn_tiny", places, rewriting(f"backbone.{places[0]}", joined(by)))
        for name, places, description, by in (
            ("no last ReLU in a block", ("layer2.1", "layer3.0"), "The activation behind the sum is forgotten.",
             lambda added, kept: added + kept),
            ("ReLU before the sum", ("layer1.0",), "The activation stands before the sum instead of behind it.",
             lambda added, kept: F.relu(added) + kept),
            ("scaled residual branch", ("layer3.1",), "The branch is scaled, as Inception-ResNet does.",
             lambda added, kept: F.relu(0.3 * added + kept)),
            ("no shortcut", ("layer2.1",), "The shortcut is forgotten.", lambda added, kept: F.relu(added)),
            ("detached shortcut", ("layer2.1",), "The same numbers, but no gradient passes through the shortcut.",
             lambda added, kept: F.relu(added + kept.detach())),
            ("detached branch", ("layer2.1",), "The same numbers, but the branch does not learn.",
             lambda added, kept: F.relu(added.detach() + kept)),
        )
    ),
    rewritten("two norms exchanged", "tsn_tiny", "backbone.layer1.1", norm_exchanged),
    Mutant(
        "ReLU6 for ReLU", "MobileNetV2's activation in a ResNet; seen where values exceed 6.",
        "tsn_tiny", ("layer4.1",), bounded_activation,
    ),
    rewritten(
        "no shortcut in an inverted residual", "tsm_mobilenet_v2", "backbone.features.5", without_inverted_shortcut
    ),
    Mutant(
        "a layer used twice", str(used_twice.__doc__), "tsn_tiny", ("layer1.0.conv1", "layer1.1"), used_twice,
    ),
    *(
        Mutant(name, description, "tsn_tiny", (BLOCK,), with_pool(pool))
        for name, description, pool in (
            ("padding of the first pooling", "All of it at the right and bottom edge, as TensorFlow's SAME.",
             lambda x: F.max_pool2d(F.pad(x, [0, 1, 0, 1]), 3, 2)),
            ("ceil mode of the first pooling", "One row and one column more.",
             lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True)),
            ("average for maximum in the first pooling", "The pooling of ResNet-D's shortcut in the stem.",
             lambda x: F.avg_pool2d(x, 3, 2, 1)),
        )
    ),
    *(
        Mutant(name, str(move.__doc__), "tsm_tiny", (place,), with_shift(move))
        for name, place, move in (
            ("shift around the ends of a clip", "layer1.0.conv1", rolled),
            ("shift across the borders of clips", "layer1.0.conv1", across_clips),
            ("shift with a wrong number of frames", "layer1.0.conv1", half_clips),
            ("both folds shifted one way", "layer1.0.conv1", one_way),
            ("fold of the output channels", "layer2.0.conv1", fold_of_the_outputs),
            ("frames repeated at the ends", "layer1.0.conv1", edges_repeated),
        )
    ),
    rewritten("shift behind the convolution", "tsm_tiny", TemporalShift, shift_behind_the_net, "layer1.0.conv1"),
    rewritten("shift outside of the residual branch", "tsm_tiny", "backbone.layer1.1", shift_of_the_whole_block),
    rewritten("temporal pooling behind the stage", "tsm_pool", TemporalPool, pool_behind_the_net, "layer2"),
    rewritten("temporal pooling by the mean", "tsm_pool", TemporalPool, average_of_frames, "layer2"),
    rewritten("temporal pooling by leaving out", "tsm_pool", TemporalPool, every_second_frame, "layer2"),
    *(
        Mutant(name, description, "mvf_tiny", FIRST_FUSION, with_fusion(fuse=fuse))
        for name, description, fuse in (
            ("swish for hard-swish", "The smooth function in the fusion.",
             lambda self, part: F.swish(self.bn(self._banded_sum(part)))),
            ("hard-sigmoid for hard-swish", "The gate without what it gates.",
             lambda self, part: F.hardsigmoid(self.bn(self._banded_sum(part)))),
            ("no BatchNorm in the fusion", "The sum of views goes into the activation as it is.",
             lambda self, part: F.hardswish(self._banded_sum(part))),
            ("no activation in the fusion", "BatchNorm only.",
             lambda self, part: self.bn(self._banded_sum(part))),
            ("axes of height and width exchanged",
             "The kernels of height and width are each applied along the other axis.",
             lambda self, part: MultiViewFusion.fuse(self, part.transpose(SWAP)).transpose(SWAP)),
            ("time from back to front", "The kernel of time is applied from the last frame to the first.",
             lambda self, part: MultiViewFusion.fuse(self, part.flip(2)).flip(2)),
            ("views averaged",
             "The mean of the views instead of their sum: in training BatchNorm hides it up to epsilon.",
             lambda self, part: F.hardswish(self.bn(self._banded_sum(part) / 3))),
        )
    ),
    Mutant(
        "detached fusion", "The same numbers, but no gradient passes from the views to their input.",
        "mvf_tiny", ("layer4.1.conv1",),  # the last in the network is the first on the way back
        with_fusion(fuse=lambda self, part: MultiViewFusion.fuse(self, part.detach())),
    ),
    Mutant(
        "frames read as channels", str(video_by_reshape.__doc__),
        "mvf_tiny", FIRST_FUSION, with_fusion(_video_by_rows=video_by_reshape, _frames_by_rows=frames_by_reshape),
    ),
    rewritten("the last channels fused", "mvf_tiny", MultiViewFusion, last_channels, *FIRST_FUSION),
    Mutant(
        "one view's kernel used for another", str(exchanged_convolutions.__doc__),
        "mvf_conv3d", FIRST_FUSION, with_fusion(_conv3d_sum=exchanged_convolutions),
    ),
    *(
        Mutant(name, description, pair, HEAD, rewriting("cls_head", over_frames(consensus)))
        for name, pair, description, consensus in (
            ("softmax before the consensus", "tsm_tiny", "Probabilities are averaged instead of logits.",
             lambda logits: F.softmax(logits, axis=2).mean(axis=1)),
            ("maximum for the consensus", "tsm_tiny", "The largest logit over the frames instead of the mean.",
             lambda logits: logits.max(axis=1)),
            ("consensus over the batch", "mvf_tiny", "Frames of different clips are averaged: [N*T] read as [T, N].",
             lambda logits: logits.reshape([*logits.shape[1::-1], -1]).mean(axis=0)),
            ("dropout of each frame in TSN", "tsn_tiny",
             "TSM's order in TSN: a mask for each frame. In evaluation both are the same.",
             lambda logits: logits.mean(axis=1)),
        )
    ),
    rewritten("dropout of the mean in TSM", "tsm_tiny", "cls_head", dropout_of_the_mean, *HEAD),
    rewritten("maximum over space", "tsn_tiny", "cls_head", maximum_over_space, *HEAD),
    rewritten("no bias in the classifier", "tsn_tiny", "cls_head.new_fc", without_bias, "new_fc"),
    rewritten("running variance by n - 1", "tsn_tiny", "backbone.layer4.0.bn2", unbiased_variance),
    rewritten("running statistics not updated", "tsn_tiny", "backbone.layer3.1.bn1", statistics_not_updated),
    rewritten("epsilon outside of the root", "tsn_tiny", "backbone.layer2.0.bn2", epsilon_outside),
    rewritten("statistics as constants in the gradient", "tsn_tiny", "backbone.layer3.0.bn2", constant_statistics),
    rewritten("float16 in one layer", "tsn_tiny", "backbone.layer2.0.conv2", half_precision),
    rewritten("bfloat16 in one layer", "tsn_tiny", "backbone.layer3.1.conv1", bfloat_input),
    rewritten("a weight cut off from the gradient", "tsn_tiny", "backbone.layer1.1.conv2", detached_weight),
    rewritten("half of a gradient", "tsn_tiny", "backbone.layer3.1", clamped_gradient),
    rewritten("epsilon outside of the root of a LayerNorm", "small_net", "layer_norm", epsilon_outside_of_rows),
    rewritten("variance of a LayerNorm by n - 1", "small_net", "layer_norm", rows_by_n_minus_1),
)  # fmt: skip
