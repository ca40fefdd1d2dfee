"""ResNet and MobileNetV2 as functions of a state dict in the layout of whoever wrote it.

Written from the papers in PyTorch's functions; nothing of models/, weights/ or alignment/reference is used, so that
the conversion of weights has something independent to be compared with. The names of each layout are in tables.

Source of the names and of what is wrapped: torchvision, timm, mmaction2 1.2, mit-han-lab/temporal-shift-module
`ops/models.py`, whwu95/MVFNet `codes/models`, PaddlePaddle/PaddleVideo `paddlevideo/modeling/backbones`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Leaves:
    """How a framework calls the tensors of a layer, and which of its axes are PyTorch's."""

    kernel: str = "{0}.weight"
    depthwise: str = "{0}.weight"
    kernel_axes: tuple[int, ...] | None = None
    depthwise_axes: tuple[int, ...] | None = None
    norm: tuple[str, ...] = ("{0}.weight", "{0}.bias", "{0}.running_mean", "{0}.running_var")
    counter: str = "{0}.num_batches_tracked"
    matrix: str = "{0}.weight"
    matrix_axes: tuple[int, ...] | None = None
    bias: str = "{0}.bias"


TORCH = Leaves()
PADDLE = Leaves(norm=("{0}.weight", "{0}.bias", "{0}._mean", "{0}._variance"), counter="", matrix_axes=(1, 0))
KERAS = Leaves(
    kernel="{0}|{0}|kernel:0",
    depthwise="{0}|{0}|depthwise_kernel:0",
    kernel_axes=(3, 2, 0, 1),  # [h, w, in, out]
    depthwise_axes=(2, 3, 0, 1),  # [h, w, channels, 1]
    norm=tuple("{0}|{0}|" + leaf for leaf in ("gamma:0", "beta:0", "moving_mean:0", "moving_variance:0")),
    counter="",
    matrix="{0}|{0}|kernel:0",
    matrix_axes=(1, 0),
    bias="{0}|{0}|bias:0",
)


class Layers:
    """The layers of a state dict.

    Without one its tensors are drawn where they are first asked for, so the first run of a network writes a checkpoint;
    the statistics it writes are near those of the data that flows through, and so every layer works at scale 1.

    Args:
        arrays: The state dict, or None to draw one.
        leaves: How its framework names tensors.
        eps: Epsilon of the normalizations.
        same: Pad as TensorFlow's SAME.
        dtype: Of the computation; the arrays themselves are float32.
    """

    def __init__(self, arrays=None, leaves=TORCH, eps=1e-5, same=False, dtype=torch.float64, seed=0):
        self.drawn = arrays is None
        self.arrays: dict[str, np.ndarray] = {} if arrays is None else arrays
        self.leaves, self.eps, self.same, self.dtype = leaves, eps, same, dtype
        self.random = torch.Generator().manual_seed(seed)
        self.read: set[str] = set()

    def tensor(self, name: str, draw: Callable[[], torch.Tensor], axes: tuple[int, ...] | None = None) -> torch.Tensor:
        """A tensor in PyTorch's order of axes; `axes` says where each of them is in the file."""
        if self.drawn:
            value = draw()
            value = value.permute(*np.argsort(axes).tolist()) if axes else value
            assert name not in self.arrays, f"{name} is drawn twice"
            self.arrays[name] = value.to(torch.float32).contiguous().numpy()
        self.read.add(name)
        value = torch.from_numpy(self.arrays[name]).to(self.dtype)
        return value.permute(*axes) if axes else value

    def normal(self, *shape: int, std: float = 1.0) -> torch.Tensor:
        return torch.randn(shape, generator=self.random) * std

    def uniform(self, low: float, high: float, size: int) -> torch.Tensor:
        return torch.rand(size, generator=self.random) * (high - low) + low

    def kernel(self, name, shape, depthwise=False):
        """A kernel [out, in / groups, ...] that keeps the scale of what it convolves."""
        leaves = self.leaves
        leaf, axes = (leaves.depthwise, leaves.depthwise_axes) if depthwise else (leaves.kernel, leaves.kernel_axes)
        return self.tensor(leaf.format(name), lambda: self.normal(*shape, std=np.prod(shape[1:]) ** -0.5), axes)

    def conv(self, x, name, out, size, stride=1, groups=1):
        weight = self.kernel(name, (out, x.shape[1] // groups, size, size), depthwise=groups > 1)
        if not self.same:
            return F.conv2d(x, weight, stride=stride, padding=size // 2, groups=groups)
        pads = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in x.shape[-2:]]  # of height and width
        height, width = ((pad // 2, pad - pad // 2) for pad in pads)
        return F.conv2d(F.pad(x, (*width, *height)), weight, stride=stride, groups=groups)

    def norm(self, x, name):
        size = x.shape[1]
        axes = [axis for axis in range(x.ndim) if axis != 1]
        draws = (
            lambda: self.uniform(0.7, 1.3, size),
            lambda: self.normal(size, std=0.2),
            lambda: x.mean(axes) + self.normal(size, std=0.2),
            lambda: (x.var(axes, correction=0) + 0.1) * self.uniform(0.5, 2.0, size),
        )
        names = [leaf.format(name) for leaf in self.leaves.norm]
        weight, bias, mean, var = (self.tensor(*pair) for pair in zip(names, draws, strict=True))
        if self.drawn and self.leaves.counter:
            self.arrays[self.leaves.counter.format(name)] = np.array(7)
        return F.batch_norm(x, mean, var, weight, bias, eps=self.eps)

    def linear(self, x, name, classes):
        leaves, features = self.leaves, x.shape[1]
        draw = lambda: self.normal(classes, features, std=features**-0.5)  # noqa: E731
        weight = self.tensor(leaves.matrix.format(name), draw, leaves.matrix_axes)
        return F.linear(x, weight, self.tensor(leaves.bias.format(name), lambda: self.normal(classes)))


@dataclass(frozen=True)
class Temporal:
    """What lets the frames of a video see each other.

    Args:
        module: "" (nothing), "shift" or "fusion".
        place: `blockres`: the input of a block's first convolution; `block`: of the block, its shortcut included.
        direction, div: See `shift`.
        pool: Halve the frames before the second stage of a ResNet.
        stages: Those that are wrapped, from 1.
        views, share, alpha: See `fuse`.
    """

    module: str = ""
    place: str = "blockres"
    direction: str = "mit"
    div: int = 8
    pool: bool = False
    stages: tuple[int, ...] = (1, 2, 3, 4)
    views: str = "THW"
    share: bool = False
    alpha: float = 0.125


def shift(x, frames, direction, div):
    """TSM, figure 1: a fraction of the channels of [N*T, C, H, W] is taken from another frame, zero beyond the ends."""
    size = x.shape[1]
    fold = size // div
    ratio = np.float32(1 / div)  # Paddle's operator cuts at products in float32
    cuts = (int(size * ratio), int(2 * size * ratio)) if direction == "paddle" else (fold, 2 * fold)
    first, second = slice(0, cuts[0]), slice(*cuts)
    future, past = {"mit": (first, second), "paddle": (second, first), "online": (slice(0, 0), first)}[direction]
    videos = F.pad(x.unflatten(0, (-1, frames)), (0, 0, 0, 0, 0, 0, 1, 1))  # [N, 1 + T + 1, C, H, W]
    out = videos[:, 1:-1].clone()
    out[:, :, future] = videos[:, 2:, future]
    out[:, :, past] = videos[:, :-2, past]
    return out.flatten(0, 1)


def pool_frames(x, frames):
    """[N*T, C, H, W] to [N*T/2, C, H, W]: the maximum over each second frame and its neighbors."""
    videos = x.unflatten(0, (-1, frames)).transpose(1, 2)  # [N, C, T, H, W]
    videos = F.max_pool3d(videos, (3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0))
    return videos.transpose(1, 2).flatten(0, 1)


def fuse(layers, x, name, frames, temporal):
    """MVFNet, section 3: the first channels become a sum of convolutions along time, height and width."""
    size = int(x.shape[1] * temporal.alpha)
    part = x[:, :size].unflatten(0, (-1, frames)).transpose(1, 2)  # [N, C', T, H, W]
    time = layers.kernel(f"{name}.shift_conv", (size, 1, 3, 1, 1))
    total = 0
    for axis, view in enumerate(temporal.views):
        shape = [3 if other == axis else 1 for other in range(3)]
        own = axis > 0 and not temporal.share
        kernel = layers.kernel(f"{name}.{view.lower()}_conv", (size, 1, *shape)) if own else time
        padding = [length // 2 for length in shape]
        total = total + F.conv3d(part, kernel.reshape(size, 1, *shape), padding=padding, groups=size)
    fused = F.hardswish(layers.norm(total, f"{name}.bn")).transpose(1, 2).flatten(0, 1)
    return torch.cat([fused, x[:, size:]], dim=1)


def head(layers, x, name, frames, classes):
    """The mean of the scores of each video's frames."""
    return layers.linear(x.mean((2, 3)), name, classes).unflatten(0, (-1, frames)).mean(1)


@dataclass(frozen=True)
class ResNetNames:
    """Where a layout keeps the layers of a ResNet; a wrapped layer has `{net}` filled in.

    Args:
        stem: Convolution and norm.
        block: Prefix of a block; `stage` from 1, `i` from 0, `pool` filled in where the stage is wrapped.
        parts: Convolution and norm of a block, in order.
        short: Convolution and norm of the projection.
        fc: The classifier.
    """

    stem: tuple[str, str]
    block: str
    parts: tuple[tuple[str, str], ...]
    short: tuple[str, str]
    fc: str

    def path(self, stage: int, i: int, depth: int, **wraps: str) -> str:
        return self.block.format(stage=stage, i=i, **wraps)


@dataclass(frozen=True)
class PaddleVideoNames(ResNetNames):
    """Caffe's words: res2a, res2b, ..., and res4a, res4b1, res4b2, ... in a stage of more blocks than letters."""

    def path(self, stage: int, i: int, depth: int, **wraps: str) -> str:
        letter = chr(ord("a") + i) if depth < 23 else "a" if i == 0 else f"b{i}"
        return self.block.format(block=f"res{stage + 1}{letter}")


DEPTHS = {"r18": (2, 2, 2, 2), "r34": (3, 4, 6, 3), "r50": (3, 4, 6, 3), "r101": (3, 4, 23, 3), "tiny": (2, 2, 2, 2)}


def resnet(layers, clips, names, backbone, temporal=Temporal(), classes=5):
    """Logits [N, K] of clips [N, T, 3, H, W] by a ResNet (He et al., table 1; stride on the 3x3)."""
    frames, basic, width = clips.shape[1], backbone in ("r18", "r34", "tiny"), 16 if backbone == "tiny" else 64
    x = F.relu(layers.norm(layers.conv(clips.flatten(0, 1), names.stem[0], width, 7, stride=2), names.stem[1]))
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    depths = DEPTHS[backbone]
    for stage, depth in enumerate(depths, start=1):
        pooled = temporal.pool and stage == 2
        if pooled:
            x, frames = pool_frames(x, frames), frames // 2
        # TSM leaves out every second block of deep networks: mit-han-lab `ops/temporal_shift.py`, n_round
        step = 2 if temporal.module == "shift" and temporal.place == "blockres" and depths[2] >= 23 else 1
        for i in range(depth):
            wrapped = temporal if temporal.module and stage in temporal.stages and i % step == 0 else None
            around = ".net" if wrapped and temporal.place == "block" else ""
            path = names.path(stage, i, depth, pool=".net" if pooled else "", net=around)
            stride = 2 if i == 0 and stage > 1 else 1
            x = residual(layers, x, path, names, width << stage - 1, stride, basic, frames, wrapped)
    return head(layers, x, names.fc, frames, classes)


def residual(layers, x, path, names, width, stride, basic, frames, temporal):
    """One block; `temporal` where it is wrapped, else None."""
    shapes = [(width, 3, stride), (width, 3, 1)]
    if not basic:
        shapes = [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]
    inside = temporal and temporal.place == "blockres"
    if temporal and not inside:
        x = shift(x, frames, temporal.direction, temporal.div)
    y = x
    for k, ((out, size, step), (conv, norm)) in enumerate(zip(shapes, names.parts, strict=False)):
        wrapped = inside and k == 0
        if wrapped and temporal.module == "fusion":
            y = fuse(layers, y, path + conv.format(net=""), frames, temporal)
        elif wrapped:
            y = shift(y, frames, temporal.direction, temporal.div)
        conv = conv.format(net=".net" if wrapped else "")
        y = layers.norm(layers.conv(y, path + conv, out, size, step), path + norm)
        y = F.relu(y) if k < len(shapes) - 1 else y
    if x.shape != y.shape:
        conv, norm = names.short
        x = layers.norm(layers.conv(x, path + conv, y.shape[1], 1, stride), path + norm)
    return F.relu(x + y)


# Sandler et al., table 2: expansion, channels, blocks, stride of the first
GROUPS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


@dataclass(frozen=True)
class MobileNetNames:
    """Where a layout keeps the layers of MobileNetV2; a wrapped layer has `{net}` filled in.

    Args:
        stem, last: Convolution and norm before and after the blocks.
        block: Prefix of a block; `k` its number from 1, `group` its group from 1, `i` its number in the group from 0;
            `k0` and `group0` count from 0.
        parts: Convolution and norm of expansion, depthwise and projection.
        plain: Those of the block without expansion.
        fc: The classifier.
    """

    stem: tuple[str, str]
    last: tuple[str, str]
    block: str
    parts: tuple[tuple[str, str], ...]
    plain: tuple[tuple[str, str], ...]
    fc: str


def mobilenet_v2(layers, clips, names, temporal=Temporal(), classes=5):
    """Logits [N, K] of clips [N, T, 3, H, W] by MobileNetV2 1.0 (Sandler et al., table 2)."""
    frames, k = clips.shape[1], 0
    x = layers.norm(layers.conv(clips.flatten(0, 1), names.stem[0], 32, 3, stride=2), names.stem[1]).clamp(0, 6)
    for group, (expansion, out, depth, first_stride) in enumerate(GROUPS, start=1):
        for i in range(depth):
            k, stride = k + 1, first_stride if i == 0 else 1
            place = {"k": k, "k0": k - 1, "group": group, "group0": group - 1, "i": i}
            x = inverted(layers, x, names, place, expansion, out, stride, frames, temporal)
    x = layers.norm(layers.conv(x, names.last[0], 1280, 1), names.last[1]).clamp(0, 6)
    return head(layers, x, names.fc, frames, classes)


def inverted(layers, x, names, place, expansion, out, stride, frames, temporal):
    """One inverted residual, which is shifted if it has a shortcut and an expansion."""
    shortcut, y = stride == 1 and x.shape[1] == out, x
    wrapped = temporal.module and shortcut and expansion > 1
    if wrapped:
        y = shift(y, frames, temporal.direction, temporal.div)
    hidden = x.shape[1] * expansion
    shapes = [(hidden, 1, 1, 1), (hidden, 3, stride, hidden), (out, 1, 1, 1)]
    shapes, parts = (shapes, names.parts) if expansion > 1 else (shapes[1:], names.plain)
    for (size_out, size, step, groups), part in zip(shapes, parts, strict=True):
        conv, norm = ((names.block + name).format(**place, net=".net" if wrapped else "") for name in part)
        y = layers.norm(layers.conv(y, conv, size_out, size, step, groups), norm)
        y = y.clamp(0, 6) if part != parts[-1] else y
    return x + y if shortcut else y
