"""Classifiers of a video in PyTorch.

Source: Wang et al., "Temporal Segment Networks", ECCV 2016, section 3.1; the repositories of TSM and MVFNet for what
their heads average.
"""

from __future__ import annotations

import torch
from torch import nn


class TSNHead(nn.Module):
    """Averages the features over space and time, then classifies once."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float, init_std: float = 0.01) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.new_fc = nn.Linear(in_channels, num_classes)
        nn.init.normal_(self.new_fc.weight, 0.0, init_std)
        nn.init.zeros_(self.new_fc.bias)

    def forward(self, features: torch.Tensor, num_frames: int) -> torch.Tensor:
        """Maps the features [N*T, C, h, w] of videos of T frames to logits [N, K]."""
        x = features.mean(dim=(2, 3)).unflatten(0, (-1, num_frames))  # [N, T, C]
        return self.new_fc(self.dropout(x.mean(dim=1)))


class FrameHead(TSNHead):
    """Classifies each frame, then averages the logits."""

    def forward(self, features: torch.Tensor, num_frames: int) -> torch.Tensor:
        """Maps the features [N*T, C, h, w] of videos of T frames to logits [N, K]."""
        x = self.new_fc(self.dropout(features.mean(dim=(2, 3))))
        return x.unflatten(0, (-1, num_frames)).mean(dim=1)  # [N, K]
