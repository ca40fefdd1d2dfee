"""Temporal Shift Module: a fraction of the channels moves one frame back, another one frame on, without multiplying.

Source: Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019, section 3; the authors'
repository mit-han-lab/temporal-shift-module, `ops/temporal_shift.py` (names of parameters, which blocks are wrapped);
Paddle, `phi/kernels/cpu/temporal_shift_kernel.cc` (where the direction `paddle` cuts the channels).
"""

from __future__ import annotations

import functools
import math
import re

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from configs.networks import TSM
from models.backbones import backbone_of, build_backbone, shows_shift
from models.implementation import Arrays, Implementation, Recognition
from models.recognizer2d import Recognizer2D, with_head
from models.temporal_module import Caches, TemporalModule, find_layer, gather_rows, replace_layer
from runtime.errors import UserError

# direction -> for each group of channels, which frame it takes: the next (1) or the previous (-1)
DIRECTIONS = {"mit": (1, -1), "paddle": (-1, 1), "online": (-1,)}
DEEP_STAGE = 23  # blocks of the third stage from which on only every second block shifts

Bounds = tuple[int, ...]


def channel_bounds(channels: int, shift_div: int, direction: str) -> Bounds:
    """Where each group of channels that moves one way begins, and where the last one ends: (0, ..., end).

    Every group holds C // shift_div channels. Paddle's operator multiplies C and 2 * C by the ratio 1 / shift_div in
    single precision and cuts off the fractions, so that the second group can be a channel larger: of 128 channels
    with a shift_div of 10 it moves 12 and 13.
    """
    groups = range(len(DIRECTIONS[direction]) + 1)
    if direction == "paddle":
        return tuple(int(np.float32(i * channels) * np.float32(1 / shift_div)) for i in groups)
    return tuple(i * (channels // shift_div) for i in groups)


def shift_by_slices(x: paddle.Tensor, num_frames: int, bounds: Bounds, direction: str) -> paddle.Tensor:
    """`shift` for static graphs: in operations that every engine has, for a batch whose size is not known yet."""
    channels, height, width = x.shape[1:]
    x = x.reshape([-1, num_frames, channels, height, width])  # [N, T, C, H, W]
    pieces = []
    for i, step in enumerate(DIRECTIONS[direction]):
        if bounds[i] < bounds[i + 1]:
            piece = x[:, :, bounds[i] : bounds[i + 1]]
            zeros = paddle.zeros_like(piece[:, :1])
            pieces.append(paddle.concat([piece[:, 1:], zeros] if step == 1 else [zeros, piece[:, :-1]], axis=1))
    if channels > bounds[-1]:
        pieces.append(x[:, :, bounds[-1] :])
    x = paddle.concat(pieces, axis=2)
    return x.reshape([-1, channels, height, width])  # [N*T, C, H, W]


@functools.lru_cache(maxsize=256)
def shift_index(
    num_videos: int, num_frames: int, num_runs: int, bounds: Bounds, direction: str
) -> tuple[np.ndarray, int]:
    """Where each run of channels of each frame comes from.

    Args:
        num_videos, num_frames: N and T.
        num_runs: Runs R that the channels are cut into.
        bounds: As of `channel_bounds`, counted in runs.
        direction: A key of DIRECTIONS.

    Returns:
        int64 [N*T*R], the source of each run among all runs, and the number that stands for zeros in it: a run that
        has moved out of the clip and therefore is nobody's source.
    """
    runs = np.arange(num_videos * num_frames * num_runs).reshape(num_videos, num_frames, num_runs)
    index = runs.copy()
    for i, step in enumerate(DIRECTIONS[direction]):
        part = slice(bounds[i], bounds[i + 1])
        index[:, :, part] = -1
        if step == 1:
            index[:, :-1, part] = runs[:, 1:, part]
        else:
            index[:, 1:, part] = runs[:, :-1, part]
    unused = int(np.setdiff1d(runs, index)[0])
    return np.where(index < 0, unused, index).reshape(-1), unused


def shift_by_rows(x: paddle.Tensor, num_frames: int, bounds: Bounds, direction: str) -> paddle.Tensor:
    """`shift` for dygraph: one copy of memory, in runs of as many channels as the bounds allow."""
    images, channels, height, width = x.shape
    run = math.gcd(channels, *bounds)
    in_runs = tuple(bound // run for bound in bounds)
    index, zero = shift_index(images // num_frames, num_frames, channels // run, in_runs, direction)
    rows = x.reshape([-1, run * height * width])  # [N*T*R, L]
    return gather_rows(rows, index, zero).reshape(x.shape)  # [N*T, C, H, W]


def shift(x: paddle.Tensor, num_frames: int, bounds: Bounds, direction: str) -> paddle.Tensor:
    """Moves the first channels of each video along its frames; the ends are filled with zeros.

    Args:
        x: [N*T, C, H, W].
        num_frames: T.
        bounds: Of the groups of channels that move, as of `channel_bounds`; one at least must move.
        direction: `mit`: the first group takes the next frame, the second the previous one. `paddle`, as
            `paddle.nn.functional.temporal_shift`: the opposite. `online`: the only group takes the previous frame,
            and no channel looks ahead.

    Returns:
        The shifted tensor, [N*T, C, H, W].
    """
    move = shift_by_rows if paddle.in_dynamic_mode() else shift_by_slices
    return move(x, num_frames, bounds, direction)


class TemporalShift(TemporalModule):
    """`net` of the shifted input.

    Args:
        net: A convolution (place `blockres`: the shortcut stays unshifted) or a whole block.
        num_frames: Frames T of a video.
        shift_div: One part in `shift_div` of the channels moves each way, see `channel_bounds`.
        direction: One of DIRECTIONS.
        frame_divisor: See TemporalModule.
    """

    def __init__(
        self, net: nn.Layer, num_frames: int, shift_div: int, direction: str = "mit", frame_divisor: int = 1
    ) -> None:
        super().__init__(net, num_frames, frame_divisor)
        self.shift_div = shift_div
        self.direction = direction

    def bounds(self, channels: int) -> Bounds:
        """Where each group of so many channels that moves one way begins, see `channel_bounds`."""
        return channel_bounds(channels, self.shift_div, self.direction)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N*T, C, H, W] to what `net` makes of it, shifted."""
        bounds = self.bounds(x.shape[1])
        return self.net(shift(x, self.num_frames, bounds, self.direction) if bounds[-1] else x)

    def streamed(self, number: int, caches: Caches) -> nn.Layer:
        """See TemporalModule."""
        if self.direction != "online":
            raise UserError(
                f"the shift of this network ({self.direction}) takes channels of the next frame, too, which a stream "
                "does not have yet: train it with --shift_direction online"
            )
        return CachedShift(self, number, caches)


class CachedShift(nn.Layer):
    """`net` of an input whose first channels are those of the frame before; see `models.streaming`.

    Args:
        shift: The shift of a clip whose place it takes.
        number, caches: See `TemporalModule.streamed`.
    """

    def __init__(self, shift: TemporalShift, number: int, caches: Caches) -> None:
        super().__init__()
        self.net = shift.net
        self.number = number
        self.caches = caches
        self.shift_div, self.direction = shift.shift_div, shift.direction

    def kept(self, channels: int) -> int:
        """How many of so many channels are those of the frame before.

        Raises:
            UserError: None is.
        """
        kept = channel_bounds(channels, self.shift_div, self.direction)[-1]
        if kept == 0:
            raise UserError(f"shift_div is above the {channels} channels of a layer, of which none moves")
        return kept

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps one frame of each video, [N, C, H, W], to what `net` makes of it, shifted."""
        end = self.kept(x.shape[1])
        self.caches.made[self.number] = x[:, :end]
        return self.net(paddle.concat([self.caches.given[self.number], x[:, end:]], axis=1))


class TemporalPool(TemporalModule):
    """Halves the frames by a maximum over three, before `net`."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N*T, C, H, W] to `net` of [N*T/2, C, H, W].

        Raises:
            UserError: T is odd.
        """
        if self.num_frames % 2:
            raise UserError(f"temporal_pool needs an even number of frames, got {self.num_frames}; add or drop one")
        channels, height, width = x.shape[1:]
        x = x.reshape([-1, self.num_frames, channels, height * width]).transpose([0, 2, 1, 3])  # [N, C, T, H*W]
        x = F.max_pool2d(x, kernel_size=(3, 1), stride=(2, 1), padding=(1, 0))
        x = x.transpose([0, 2, 1, 3])  # [N, T/2, C, H*W]
        return self.net(x.reshape([-1, channels, height, width]))  # [N*T/2, C, H, W]


def insert_temporal_shift(backbone: nn.Layer, num_frames: int, network: TSM) -> None:
    """Wraps the blocks of a backbone in place: the first convolution of each (`blockres`), or the `block`.

    A block without a shortcut is left alone: the shift belongs to the residual branch (section 3.3 of the paper).

    Args:
        backbone: ResNet or MobileNetV2.
        num_frames: Frames T of a video.
        network: Options of the shift.
    """
    step = 2 if network.shift_place == "blockres" and len(backbone.block_paths[2]) >= DEEP_STAGE else 1
    for stage, paths in enumerate(backbone.block_paths):
        divisor = 2 if network.temporal_pool and stage >= 1 else 1
        for path in paths[::step]:
            block = find_layer(backbone, path)
            if block.has_shortcut:
                target = {"block": path, "blockres": f"{path}.{block.first_conv}"}[network.shift_place]
                net = find_layer(backbone, target)
                module = TemporalShift(net, num_frames, network.shift_div, network.shift_direction, divisor)
                replace_layer(backbone, target, module)
    if network.temporal_pool:
        second = backbone.stage_paths[1]
        replace_layer(backbone, second, TemporalPool(find_layer(backbone, second), num_frames))


def build(network: TSM, num_classes: int, num_frames: int) -> Recognizer2D:
    """A recognizer with temporal shift, see `insert_temporal_shift`; the logits of its frames are averaged."""
    backbone = build_backbone(network)
    insert_temporal_shift(backbone, num_frames, network)
    divisor = 2 if network.temporal_pool else 1
    return with_head(backbone, network, num_classes, consensus="scores", init_std=0.001, frame_divisor=divisor)


def recognize(arrays: Arrays, modules_hidden: bool) -> Recognition | None:
    """The TSM whose tensors these are; its shift shows in the names of wrapped layers, where the file writes them."""
    variant = backbone_of(arrays)
    if not variant or not (modules_hidden or shows_shift(arrays)):
        return None
    whole_blocks = any(re.search(r"(layer\d(\.net)?|features)\.\d+\.net\.", name) for name in arrays)
    return Recognition(
        variant,
        {
            "shift_place": "block" if whole_blocks else "blockres",
            "temporal_pool": any(name.startswith("backbone.layer2.net.") for name in arrays),
        },
    )


IMPLEMENTATION = Implementation(build, recognize)
