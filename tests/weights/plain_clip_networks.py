"""Networks over clips as functions of a state dict in the layout of whoever wrote it, see `plain_networks`.

Source of the arithmetic: the papers that the files in `models/` name. Of the names and of what differs from source to
source: mmaction2 1.2 (`models/backbones`, `models/heads`), PySlowFast (`models/video_model_builder.py`,
`resnet_helper.py`, `head_helper.py`), PyTorchVideo (`models/resnet.py`, `slowfast.py`, `x3d.py`), torchvision
(`models/video/resnet.py`), DeepMind's kinetics-i3d (`i3d.py`), piergiaj's pytorch-i3d,
Efficient-3DCNNs (`models/c3d.py`, `shufflenetv2.py`, `mobilenetv2.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Names:
    """Names of the layers of a ResNet over clips, or of one of its pathways.

    Args:
        stem: Convolution and norm.
        block: Template with `stage`, from 1, and `i`.
        parts: Convolution and norm of each of the layers inside.
        shortcut: The same.
    """

    stem: tuple[str, str]
    block: str
    parts: tuple[tuple[str, str], ...]
    shortcut: tuple[str, str]

    def of_block(self, stage, i):
        start = self.block.format(stage=stage, next=stage + 1, skip=stage + (stage > 1), i=i)
        return [tuple(start + name for name in pair) for pair in (*self.parts, self.shortcut)]


def conv(layers, x, name, out, kernel, stride=(1, 1, 1), groups=1, bias=False):
    """Padded by half of the kernel, or as TensorFlow pads."""
    weight = layers.kernel(name, (out, x.shape[1] // groups, *kernel))
    offset = layers.tensor(layers.leaves.bias.format(name), lambda: layers.normal(out, std=0.2)) if bias else None
    if not layers.same:
        return F.conv3d(x, weight, offset, stride, [side // 2 for side in kernel], groups=groups)
    return F.conv3d(same(x, kernel, stride), weight, offset, stride, groups=groups)


def same(x, kernel, stride, value=0.0):
    """Room for as many outputs as the length has strides, the odd pixel behind."""
    totals = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(x.shape[2:], kernel, stride, strict=True)]
    return F.pad(x, [side for total in reversed(totals) for side in (total // 2, total - total // 2)], value=value)


def unit(layers, x, names, out, kernel, stride=(1, 1, 1), groups=1):
    return layers.norm(conv(layers, x, names[0], out, kernel, stride, groups), names[1])


def stem(layers, x, names, width, frames, stride):
    x = unit(layers, x, names.stem, width, (frames, 7, 7), (stride, 2, 2)).relu()
    return F.max_pool3d(x, (1, 3, 3), (stride, 2, 2), (0, 1, 1))


def bottlenecks(layers, x, names, stage, depth, width, reach):
    """A stage; `reach` has the frames of each block's first kernel."""
    for i in range(depth):
        first, second, third, shortcut = names.of_block(stage, i)
        stride = (1, 2, 2) if stage > 1 and i == 0 else (1, 1, 1)
        y = unit(layers, x, first, width, (reach[i], 1, 1)).relu()
        y = unit(layers, y, second, width, (1, 3, 3), stride).relu()
        y = unit(layers, y, third, 4 * width, (1, 1, 1))
        x = (y + (unit(layers, x, shortcut, 4 * width, (1, 1, 1), stride) if i == 0 else x)).relu()
    return x


DEPTHS = {"r50": (3, 4, 6, 3), "r101": (3, 4, 23, 3)}
I3D = {
    "r50": ((3, 3, 3), (3, 1, 3, 1), (3, 1, 3, 1, 3, 1), (1, 3, 1)),
    "heavy": ((3,) * 3, (3,) * 4, (3,) * 6, (3,) * 3),
}


def i3d(layers, clips, names, fc, classes, variant, stem_stride):
    x = stem(layers, clips.transpose(1, 2), names, 64, 5, stem_stride)
    for stage, (depth, reach) in enumerate(zip(DEPTHS["r50"], I3D[variant], strict=True), 1):
        x = bottlenecks(layers, x, names, stage, depth, 32 << stage, reach)
        x = F.max_pool3d(x, (2, 1, 1)) if stage == 1 else x
    return layers.linear(x.mean((2, 3, 4)), fc, classes)


def slowonly(layers, clips, names, fc, classes, variant):
    x = stem(layers, clips.transpose(1, 2), names, 64, 1, 1)
    for stage, depth in enumerate(DEPTHS[variant], 1):
        x = bottlenecks(layers, x, names, stage, depth, 32 << stage, [1 if stage < 3 else 3] * depth)
    return layers.linear(x.mean((2, 3, 4)), fc, classes)


def slowfast(layers, clips, names, fc, classes, *, alpha, kernel, lateral, lateral_norm, stride, fast_first):
    """`names` of the slow and of the fast pathway, `lateral` of the connections' convolutions and norms."""
    fast = clips.transpose(1, 2)
    frames = fast.shape[2]
    places = range(0, frames, alpha) if stride else torch.linspace(0, frames - 1, frames // alpha).long().tolist()
    slow = stem(layers, fast[:, :, list(places)], names[0], 64, 1, 1)
    fast = stem(layers, fast, names[1], 8, 5, 1)
    for stage, depth in enumerate(DEPTHS["r50"], 1):
        joined = conv(layers, fast, lateral[stage - 1][0], 2 * fast.shape[1], (kernel, 1, 1), (alpha, 1, 1))
        joined = layers.norm(joined, lateral[stage - 1][1]).relu() if lateral_norm else joined
        slow = torch.cat([slow, joined], 1)
        slow = bottlenecks(layers, slow, names[0], stage, depth, 32 << stage, [1 if stage < 3 else 3] * depth)
        fast = bottlenecks(layers, fast, names[1], stage, depth, 4 << stage, [3] * depth)
    pooled = [x.mean((2, 3, 4)) for x in (slow, fast)]
    return layers.linear(torch.cat(pooled[::-1] if fast_first else pooled, 1), fc, classes)


def basic_blocks(layers, x, names, depths, convolve, strides):
    """`convolve(x, name, width, kind, stride, in_channels of the block)`; kinds: conv1, conv2, shortcut."""
    for stage, depth in enumerate(depths, 1):
        width = 32 << stage
        for i in range(depth):
            first, second, shortcut = names.of_block(stage, i)
            stride, channels = strides[stage - 1] if i == 0 else (1, 1, 1), x.shape[1]
            y = layers.norm(convolve(x, first[0], width, "conv1", stride, channels), first[1]).relu()
            y = layers.norm(convolve(y, second[0], width, "conv2", (1, 1, 1), channels), second[1])
            if i == 0 and stage > 1:
                x = layers.norm(convolve(x, shortcut[0], width, "shortcut", stride, channels), shortcut[1])
            x = (y + x).relu()
    return x


def video_resnet(layers, clips, names, fc, classes, reach, pooled=False):
    """torchvision's R3D and MC3; `reach` has the frames that the kernels of each stage reach over.

    With `pooled`, that of 3D-ResNets-PyTorch.
    """
    x = unit(layers, clips.transpose(1, 2), names.stem, 64, (7 if pooled else 3, 7, 7), (1, 2, 2)).relu()
    x = F.max_pool3d(x, 3, 2, 1) if pooled else x
    frames = iter([kernel for kernel, depth in zip(reach, (2, 2, 2, 2), strict=True) for _ in range(2 * depth)])

    def convolve(x, name, width, kind, stride, channels):
        return conv(layers, x, name, width, (1, 1, 1) if kind == "shortcut" else (next(frames), 3, 3), stride)

    strides = [(1, 1, 1), *((2 if kernel == 3 else 1, 2, 2) for kernel in reach[1:])]
    x = basic_blocks(layers, x, names, (2, 2, 2, 2), convolve, strides)
    return layers.linear(x.mean((2, 3, 4)), fc, classes)


def r2plus1d(layers, clips, names, fc, classes, *, torchvision, factors):
    """`factors` are the names of the two convolutions and of the norm between them, behind a convolution's name."""
    eps = layers.eps

    def factored(x, name, middle, out, kernel, stride):
        first, between, second = (name + factor for factor in factors)
        x = conv(layers, x, first, middle, (1, *kernel[1:]), (1, *stride[1:]))
        layers.eps = 1e-5 if not torchvision else eps
        x = layers.norm(x, between).relu()
        layers.eps = eps
        return conv(layers, x, second, out, (kernel[0], 1, 1), (stride[0], 1, 1))

    def middle(channels, width, pixels):
        return int(3 * channels * width * pixels / (channels * pixels + 3 * width))

    def convolve(x, name, width, kind, stride, channels):
        if kind == "shortcut":
            if torchvision:
                return conv(layers, x, name, width, (1, 1, 1), stride)
            return factored(x, name, middle(channels, width, 1), width, (1, 1, 1), stride)
        channels = width if kind == "conv2" and not torchvision else channels
        return factored(x, name, middle(channels, width, 9), width, (3, 3, 3), stride)

    x = clips.transpose(1, 2)
    if torchvision:  # its stem is a flat Sequential
        x = unit(layers, x, ("stem.0", "stem.1"), 45, (1, 7, 7), (1, 2, 2)).relu()
        x = unit(layers, x, ("stem.3", "stem.4"), 64, (3, 1, 1)).relu()
    else:
        x = layers.norm(factored(x, names.stem[0], 83, 64, (3, 7, 7), (1, 2, 2)), names.stem[1]).relu()
        x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    depths = (2, 2, 2, 2) if torchvision else (3, 4, 6, 3)
    x = basic_blocks(layers, x, names, depths, convolve, [(1, 1, 1), *[(2, 2, 2)] * 3])
    return layers.linear(x.mean((2, 3, 4)), fc, classes)


@dataclass(frozen=True)
class X3DNames:
    """Names of an X3D.

    Args:
        stem: Spatial convolution, temporal one, norm.
        block: As of `Names`.
        parts: Convolutions and norms of a block.
        shortcut: The same.
        squeeze: The two convolutions.
        last: Convolution and norm behind the stages.
        widened, fc: The two layers of the head.
    """

    stem: tuple[str, str, str]
    block: str
    parts: tuple[tuple[str, str], ...]
    shortcut: tuple[str, str]
    squeeze: tuple[str, str]
    last: tuple[str, str]
    widened: str
    fc: str

    def of_block(self, stage, i):
        start = self.block.format(stage=stage, next=stage + 1, i=i)
        return [tuple(start + name for name in pair) for pair in (*self.parts, self.shortcut, self.squeeze)]


def x3d(layers, clips, names, classes, shortcut_norm, pointwise):
    """`pointwise`: the widening layer is a convolution of 1x1x1 and not a matrix."""
    x = conv(layers, clips.transpose(1, 2), names.stem[0], 24, (1, 3, 3), (1, 2, 2))
    x = layers.norm(conv(layers, x, names.stem[1], 24, (5, 1, 1), groups=24), names.stem[2]).relu()
    for stage, depth in enumerate((3, 5, 11, 7), 1):
        out, inner, squeezed = 12 << stage, int((12 << stage) * 2.25), {1: 8, 2: 8, 3: 16, 4: 32}[stage]
        for i in range(depth):
            first, second, third, shortcut, squeeze = names.of_block(stage, i)
            stride = (1, 2, 2) if i == 0 else (1, 1, 1)
            y = unit(layers, x, first, inner, (1, 1, 1)).relu()
            y = unit(layers, y, second, inner, (3, 3, 3), stride, groups=inner)
            if i % 2 == 0:
                gate = conv(layers, y.mean((2, 3, 4), keepdim=True), squeeze[0], squeezed, (1, 1, 1), bias=True).relu()
                y = y * conv(layers, gate, squeeze[1], inner, (1, 1, 1), bias=True).sigmoid()
            y = unit(layers, F.silu(y), third, out, (1, 1, 1))
            if i == 0:
                x = conv(layers, x, shortcut[0], out, (1, 1, 1), stride)
                x = layers.norm(x, shortcut[1]) if shortcut_norm or stage > 1 else x
            x = (x + y).relu()
    x = unit(layers, x, names.last, 432, (1, 1, 1)).relu().mean((2, 3, 4))
    shape = (2048, 432, 1, 1, 1) if pointwise else (2048, 432)
    weight = layers.tensor(f"{names.widened}.weight", lambda: layers.normal(*shape, std=432**-0.5))
    return layers.linear(F.linear(x, weight.reshape(2048, 432)).relu(), names.fc, classes)


def c3d(layers, clips, convs, norms, fcs, classes):
    """Names of the eight convolutions, of their norms or (), of the three fully connected layers."""
    x = clips.transpose(1, 2)
    for index, width in enumerate((64, 128, 256, 256, 512, 512, 512, 512)):
        x = conv(layers, x, convs[index], width, (3, 3, 3), bias=True)
        x = (layers.norm(x, norms[index]) if norms else x).relu()
        if index == 0:
            x = F.max_pool3d(x, (2, 2, 2) if norms else (1, 2, 2), (1, 2, 2))
        elif index == 7:
            x = F.max_pool3d(x, (1, 2, 2) if norms else 2, 2, (0, 1, 1))
        elif index in (1, 3, 5):
            x = F.max_pool3d(x, 2)
    x = layers.linear(x.flatten(1), fcs[0], 4096).relu()
    return layers.linear(layers.linear(x, fcs[1], 4096).relu(), fcs[2], classes)


def shufflenet(layers, clips, widths, last, classes):
    """Efficient-3DCNNs' ShuffleNetV2."""

    def branch(x, name, width, stride, places):
        for place, depthwise in places:
            kernel, step, groups = ((3, 3, 3), (stride,) * 3, x.shape[1]) if depthwise else ((1, 1, 1), (1, 1, 1), 1)
            out = x.shape[1] if depthwise else width
            x = unit(layers, x, (f"{name}.{place}", f"{name}.{place + 1}"), out, kernel, step, groups)
            x = x if depthwise else x.relu()
        return x

    x = unit(layers, clips.transpose(1, 2), ("conv1.0", "conv1.1"), 24, (3, 3, 3), (1, 2, 2)).relu()
    x, number = F.max_pool3d(x, 3, 2, 1), 0
    for width, depth in zip(widths, (4, 8, 4), strict=True):
        for i in range(depth):
            name, stride = f"features.{number}", 2 if i == 0 else 1
            kept, seen = (x, x) if i == 0 else (x[:, : width // 2], x[:, width // 2 :])
            if i == 0:
                kept = branch(kept, f"{name}.banch1", width // 2, stride, ((0, True), (2, False)))
            seen = branch(seen, f"{name}.banch2", width // 2, stride, ((0, False), (3, True), (5, False)))
            joined = torch.cat([kept, seen], 1)
            x = joined[:, [half * (width // 2) + k for k in range(width // 2) for half in (0, 1)]]
            number += 1
    x = unit(layers, x, ("conv_last.0", "conv_last.1"), last, (1, 1, 1)).relu()
    return layers.linear(x.mean((2, 3, 4)), "classifier.1", classes)


def mobilenet3d(layers, clips, width, classes):
    """Efficient-3DCNNs' MobileNetV2."""
    stem = int(32 * width)
    x = unit(layers, clips.transpose(1, 2), ("features.0.0", "features.0.1"), stem, (3, 3, 3), (1, 2, 2)).clamp(0, 6)
    number = 0
    for expansion, full, depth, first in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
                                          (6, 160, 3, 2), (6, 320, 1, 1)):  # fmt: skip
        for i in range(depth):
            number += 1
            stride, out, hidden = first if i == 0 else 1, int(full * width), x.shape[1] * expansion
            shapes = [(hidden, 1, 1, 1), (hidden, 3, stride, hidden), (out, 1, 1, 1)][expansion == 1 :]
            y = x
            for k, (size, kernel, step, groups) in enumerate(shapes):
                pair = (f"features.{number}.conv.{3 * k}", f"features.{number}.conv.{3 * k + 1}")
                y = unit(layers, y, pair, size, (kernel,) * 3, (step,) * 3, groups)
                y = y.clamp(0, 6) if k < len(shapes) - 1 else y
            x = x + y if stride == 1 and x.shape[1] == out else y
    x = unit(layers, x, ("features.18.0", "features.18.1"), 1280, (1, 1, 1)).clamp(0, 6)
    return layers.linear(x.mean((2, 3, 4)), "classifier.1", classes)


INCEPTION = {
    "3b": (64, 96, 128, 16, 32, 32), "3c": (128, 128, 192, 32, 96, 64), "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64), "4d": (128, 128, 256, 24, 64, 64), "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128), "5b": (256, 160, 320, 32, 128, 128), "5c": (384, 192, 384, 48, 128, 128),
}  # fmt: skip


def inception(layers, clips, unit_of, classifier, classes):
    """`unit_of(x, name, out, kernel, stride)` of the names of DeepMind's code; `classifier(features [N, P, C])`."""

    def pool(x, kernel, stride):
        return F.max_pool3d(same(x, kernel, stride, -torch.inf), kernel, stride)

    x = unit_of(clips.transpose(1, 2), "Conv3d_1a_7x7", 64, 7, 2)
    x = unit_of(pool(x, (1, 3, 3), (1, 2, 2)), "Conv3d_2b_1x1", 64, 1, 1)
    x = unit_of(x, "Conv3d_2c_3x3", 192, 3, 1)
    x = pool(x, (1, 3, 3), (1, 2, 2))
    for name, (b0, b1a, b1b, b2a, b2b, b3b) in INCEPTION.items():
        x = pool(x, (3, 3, 3), (2, 2, 2)) if name == "4b" else pool(x, (2, 2, 2), (2, 2, 2)) if name == "5b" else x
        mixed = f"Mixed_{name}."
        x = torch.cat(
            [
                unit_of(x, f"{mixed}b0", b0, 1, 1),
                unit_of(unit_of(x, f"{mixed}b1a", b1a, 1, 1), f"{mixed}b1b", b1b, 3, 1),
                unit_of(unit_of(x, f"{mixed}b2a", b2a, 1, 1), f"{mixed}b2b", b2b, 3, 1),
                unit_of(pool(x, (3, 3, 3), (1, 1, 1)), f"{mixed}b3b", b3b, 1, 1),
            ],
            1,
        )
    window = [min(2, x.shape[2]), min(7, x.shape[3]), min(7, x.shape[4])]
    pooled = F.avg_pool3d(x, window, 1).flatten(2).transpose(1, 2)  # [N, P, C]
    return classifier(pooled).mean(1)
