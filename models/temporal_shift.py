"""Temporal Shift Module: a part of the channels looks one frame ahead, a part one frame back, at no multiplication.

Source: Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019, section 3; the authors'
repository mit-han-lab/temporal-shift-module, `ops/temporal_shift.py` (names of parameters, which blocks are wrapped).
"""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.temporal_module import TemporalModule, find_layer, wrap_layer

PLACES = ("blockres", "block")
DIRECTIONS = ("mit", "paddle", "online")
DEEP_STAGE = 23  # blocks of the third stage from which on only every second block shifts


def shift(x: paddle.Tensor, fold: int, direction: str) -> paddle.Tensor:
    """Moves the first channels of each video along its frames; the ends are filled with zeros.

    Args:
        x: [N, T, C, H, W].
        fold: Channels that move each way.
        direction: `mit`: channels [0, fold) take the next frame, [fold, 2*fold) the previous one. `paddle`, as
            `paddle.nn.functional.temporal_shift`: the opposite. `online`: [0, fold) take the previous frame, and no
            channel looks ahead.

    Returns:
        The shifted channels only: [N, T, 2*fold, H, W], or [N, T, fold, H, W] for `online`.
    """
    zeros = paddle.zeros_like(x[:, :1, :fold])
    if direction == "online":
        return paddle.concat([zeros, x[:, :-1, :fold]], axis=1)
    first, second = (slice(0, fold), slice(fold, 2 * fold))
    ahead, back = (first, second) if direction == "mit" else (second, first)
    parts = {
        ahead.start: paddle.concat([x[:, 1:, ahead], zeros], axis=1),
        back.start: paddle.concat([zeros, x[:, :-1, back]], axis=1),
    }
    return paddle.concat([parts[0], parts[fold]], axis=2)


class TemporalShift(TemporalModule):
    """`net` of the shifted input.

    Args:
        net: A convolution (place `blockres`: the shortcut stays unshifted) or a whole block.
        num_frames: Frames T of a video.
        shift_div: One part in `shift_div` of the channels moves each way.
        direction: One of DIRECTIONS.
        frame_divisor: See TemporalModule.
    """

    def __init__(
        self, net: nn.Layer, num_frames: int, shift_div: int, direction: str = "mit", frame_divisor: int = 1
    ) -> None:
        super().__init__(net, num_frames, frame_divisor)
        self.shift_div = shift_div
        self.direction = direction

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N*T, C, H, W] to what `net` makes of it, shifted."""
        channels, height, width = x.shape[1:]
        fold = channels // self.shift_div
        if fold == 0:
            return self.net(x)
        x = x.reshape([-1, self.num_frames, channels, height, width])  # [N, T, C, H, W]
        moved = shift(x, fold, self.direction)
        x = paddle.concat([moved, x[:, :, moved.shape[2] :]], axis=2)
        return self.net(x.reshape([-1, channels, height, width]))  # [N*T, C, H, W]


class TemporalPool(TemporalModule):
    """Halves the frames by a maximum over three, before `net`."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N*T, C, H, W] to `net` of [N*T/2, C, H, W].

        Raises:
            ValueError: T is odd.
        """
        if self.num_frames % 2:
            raise ValueError(f"temporal_pool needs an even number of frames, got {self.num_frames}; add or drop one")
        channels, height, width = x.shape[1:]
        x = x.reshape([-1, self.num_frames, channels, height * width]).transpose([0, 2, 1, 3])  # [N, C, T, H*W]
        x = F.max_pool2d(x, kernel_size=(3, 1), stride=(2, 1), padding=(1, 0))
        x = x.transpose([0, 2, 1, 3])  # [N, T/2, C, H*W]
        return self.net(x.reshape([-1, channels, height, width]))  # [N*T/2, C, H, W]


def insert_temporal_shift(
    backbone: nn.Layer,
    num_frames: int,
    *,
    shift_div: int = 8,
    place: str = "blockres",
    direction: str = "mit",
    temporal_pool: bool = False,
) -> None:
    """Wraps the blocks of a backbone in place.

    A block without a shortcut is left alone: the shift belongs to the residual branch (section 3.3 of the paper).

    Args:
        backbone: ResNet or MobileNetV2.
        num_frames: Frames T of a video.
        shift_div: One part in `shift_div` of the channels moves each way; 2 at least.
        place: `blockres` wraps the first convolution of a block, `block` the block.
        direction: One of DIRECTIONS.
        temporal_pool: Halve the frames before the second stage.

    Raises:
        ValueError: An option is out of its range, or the backbone cannot have it.
    """
    if place not in PLACES:
        raise ValueError(f"shift_place must be one of {', '.join(PLACES)}, got {place!r}")
    if direction not in DIRECTIONS:
        raise ValueError(f"shift_direction must be one of {', '.join(DIRECTIONS)}, got {direction!r}")
    if shift_div < 2:
        raise ValueError(f"shift_div must be 2 or more, as two parts of the channels move, got {shift_div}")
    if temporal_pool and num_frames % 2:
        raise ValueError(f"temporal_pool needs an even number of frames, got {num_frames}; add or drop one")
    if temporal_pool and backbone.stage_paths is None:
        raise ValueError(f"temporal_pool must be off for {type(backbone).__name__}, whose stages are no layers")

    step = 2 if place == "blockres" and len(backbone.block_paths[2]) >= DEEP_STAGE else 1
    for stage, paths in enumerate(backbone.block_paths):
        divisor = 2 if temporal_pool and stage >= 1 else 1
        for path in paths[::step]:
            block = find_layer(backbone, path)
            if block.has_shortcut:
                target = path if place == "block" else f"{path}.{block.first_conv}"
                wrap_layer(backbone, target, lambda net: TemporalShift(net, num_frames, shift_div, direction, divisor))
    if temporal_pool:
        wrap_layer(backbone, backbone.stage_paths[1], lambda net: TemporalPool(net, num_frames))
