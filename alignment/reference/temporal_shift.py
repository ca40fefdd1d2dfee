"""Temporal Shift Module in PyTorch.

Source: Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019, section 3 and figure 1;
the authors' repository mit-han-lab/temporal-shift-module (`ops/temporal_shift.py`; which blocks are wrapped).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from alignment.reference.backbones import build_backbone
from alignment.reference.heads import FrameHead
from alignment.reference.recognizer2d import Recognizer2D, with_head
from alignment.reference.temporal_module import TemporalModule


def shift(x: torch.Tensor, num_frames: int, shift_div: int, direction: str) -> torch.Tensor:
    """Moves the first channels of [N*T, C, H, W] by one frame; zeros come in, what goes out is lost.

    Args:
        x: [N*T, C, H, W].
        num_frames: T.
        shift_div: One part in `shift_div` of the channels, a fold, moves each way.
        direction: `mit`: the first fold takes the next frame and the second the previous one. `paddle`: the reverse,
            and both folds together end where a float32 product cut to a whole number ends, as in Paddle's operator.
            `online`: the first fold takes the previous frame, and no other channel moves.
    """
    channels = x.shape[1]
    fold = channels // shift_div
    x = x.view(-1, num_frames, *x.shape[1:])  # [N, T, C, H, W]
    out = torch.zeros_like(x)
    if direction == "mit":
        out[:, :-1, :fold] = x[:, 1:, :fold]
        out[:, 1:, fold : 2 * fold] = x[:, :-1, fold : 2 * fold]
        out[:, :, 2 * fold :] = x[:, :, 2 * fold :]
    elif direction == "paddle":
        ratio = torch.tensor(1 / shift_div, dtype=torch.float32)
        fold, end = int(channels * ratio), int(2 * channels * ratio)
        out[:, 1:, :fold] = x[:, :-1, :fold]
        out[:, :-1, fold:end] = x[:, 1:, fold:end]
        out[:, :, end:] = x[:, :, end:]
    elif direction == "online":
        out[:, 1:, :fold] = x[:, :-1, :fold]
        out[:, :, fold:] = x[:, :, fold:]
    else:
        raise ValueError(f"shift_direction must be mit, paddle or online, got {direction!r}")
    return out.flatten(0, 1)  # [N*T, C, H, W]


class TemporalShift(TemporalModule):
    """`net` of the shifted input."""

    def __init__(
        self, net: nn.Module, num_frames: int, shift_div: int, direction: str = "mit", frame_divisor: int = 1
    ) -> None:
        super().__init__(net, num_frames, frame_divisor)
        self.shift_div = shift_div
        self.direction = direction

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N*T, C, H, W] to what `net` makes of it, shifted."""
        return self.net(shift(x, self.num_frames, self.shift_div, self.direction))


class TemporalPool(TemporalModule):
    """Halves the frames by a maximum over three, before `net`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N*T, C, H, W] to `net` of [N*T/2, C, H, W]."""
        x = x.view(-1, self.num_frames, *x.shape[1:]).transpose(1, 2)  # [N, C, T, H, W]
        x = F.max_pool3d(x, kernel_size=(3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0))
        return self.net(x.transpose(1, 2).flatten(0, 1))  # [N*T/2, C, H, W]


def insert_temporal_shift(
    backbone: nn.Module,
    num_frames: int,
    shift_div: int = 8,
    place: str = "blockres",
    direction: str = "mit",
    temporal_pool: bool = False,
) -> None:
    """Wraps the blocks of a backbone in place.

    Args:
        backbone: ResNet or MobileNetV2; only blocks with a shortcut are wrapped.
        num_frames: Frames T of a video.
        shift_div: One part in `shift_div` of the channels moves each way.
        place: `blockres` wraps the first convolution of a block (of every second block where the third stage has 23
            or more), `block` the block itself.
        direction: See `shift`.
        temporal_pool: Halve the frames before the second stage.

    Raises:
        ValueError: The place is unknown.
    """
    if place not in ("blockres", "block"):
        raise ValueError(f"shift_place must be blockres or block, got {place!r}")
    for stage, paths in enumerate(backbone.block_paths):
        every = 2 if place == "blockres" and len(backbone.block_paths[2]) >= 23 else 1
        for path in paths[::every]:
            block = backbone.get_submodule(path)
            if not block.has_shortcut:
                continue
            target = f"{path}.{block.first_conv}" if place == "blockres" else path
            pooled = temporal_pool and stage > 0
            net = backbone.get_submodule(target)
            backbone.set_submodule(target, TemporalShift(net, num_frames, shift_div, direction, 2 if pooled else 1))
    if temporal_pool:
        backbone.layer2 = TemporalPool(backbone.layer2, num_frames)


def build(
    variant: str,
    num_classes: int,
    num_frames: int,
    *,
    shift_div: int,
    shift_place: str,
    shift_direction: str,
    temporal_pool: bool,
    norm_eps: float,
    same_padding: bool,
    **options: Any,
) -> Recognizer2D:
    """A TSM, see `insert_temporal_shift`; the logits of its frames are averaged. Further options: see `with_head`."""
    backbone = build_backbone(variant, norm_eps, same_padding)
    insert_temporal_shift(backbone, num_frames, shift_div, shift_place, shift_direction, temporal_pool)
    divisor = 2 if temporal_pool else 1
    return with_head(backbone, num_classes, head=FrameHead, init_std=0.001, frame_divisor=divisor, **options)
