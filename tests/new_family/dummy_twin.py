"""The PyTorch twin of `models/dummy.py`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Trunk(nn.Module):
    """A strided convolution over `kernel` frames, with its norm."""

    def __init__(self, kernel: int, norm_eps: float) -> None:
        super().__init__()
        size, padding = (kernel, 5, 5), (kernel // 2, 2, 2)
        self.conv = nn.Conv3d(3, 8, size, stride=(1, 4, 4), padding=padding, bias=False)
        # Paddle's own initial weights of a convolution
        nn.init.normal_(self.conv.weight, 0.0, (2 / (3 * kernel * 25)) ** 0.5)
        self.norm = nn.BatchNorm3d(8, eps=norm_eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, 3, T, H, W] to [N, 8, T, H/4, W/4]."""
        return F.relu(self.norm(self.conv(x)))


class Head(nn.Module):
    """Averages over space and time, then classifies."""

    def __init__(self, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(8, num_classes)
        nn.init.normal_(self.fc.weight, 0.0, 0.01)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, 8, T, h, w] to logits [N, K]."""
        return self.fc(self.dropout(x.mean(dim=(2, 3, 4))))


class DummyNetwork(nn.Module):
    """Classifies clips [N, T, 3, H, W]: logits [N, K]."""

    def __init__(self, kernel: int, num_classes: int, dropout: float, norm_eps: float) -> None:
        super().__init__()
        self.trunk = Trunk(kernel, norm_eps)
        self.cls_head = Head(num_classes, dropout)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Maps clips [N, T, 3, H, W] to logits [N, K]."""
        return self.cls_head(self.trunk(clips.transpose(1, 2)))


def build(
    variant: str,
    num_classes: int,
    num_frames: int,
    *,
    dummy_kernel: int,
    dropout: float,
    norm_eps: float,
    partial_bn: bool,
) -> DummyNetwork:
    """The network of the options; it has no norm behind the first that partial_bn could freeze."""
    return DummyNetwork(dummy_kernel, num_classes, dropout, norm_eps)
