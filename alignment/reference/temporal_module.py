"""The number of frames, which a module inside an image backbone has to be told, in PyTorch."""

from __future__ import annotations

from torch import nn


class TemporalModule(nn.Module):
    """A module around `net` that sees [N*T, C, H, W] as N videos of T frames.

    Args:
        net: The wrapped module.
        num_frames: T at the input of the network.
        frame_divisor: 2 behind a temporal pooling.
    """

    def __init__(self, net: nn.Module, num_frames: int, frame_divisor: int = 1) -> None:
        super().__init__()
        self.net = net
        self.frame_divisor = frame_divisor
        self.set_num_frames(num_frames)

    def set_num_frames(self, num_frames: int) -> None:
        """Announces T at the input of the network."""
        self.num_frames = num_frames // self.frame_divisor
