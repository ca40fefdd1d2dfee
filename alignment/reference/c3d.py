"""C3D, in PyTorch.

Source: Tran et al., ICCV 2015, section 3.3; mmaction2's `models/backbones/c3d.py`; Efficient-3DCNNs' `models/c3d.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from alignment.reference.recognizer3d import Classifier, Recognizer3D


class C3DBackbone(nn.Module):
    """Eight convolutions with biases, five poolings, two fully connected layers."""

    def __init__(self, norm: bool, dropout: float, norm_eps: float) -> None:
        super().__init__()
        channels = {"1a": (3, 64), "2a": (64, 128), "3a": (128, 256), "3b": (256, 256)}
        channels |= {"4a": (256, 512), "4b": (512, 512), "5a": (512, 512), "5b": (512, 512)}
        for name, (before, after) in channels.items():
            conv = nn.Conv3d(before, after, kernel_size=3, padding=1)
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias)
            self.add_module(f"conv{name}", conv)
            self.add_module(f"bn{name}", nn.BatchNorm3d(after, eps=norm_eps) if norm else nn.Identity())
        if norm:  # Efficient-3DCNNs
            self.pool1 = nn.MaxPool3d((2, 2, 2), stride=(1, 2, 2))
            self.pool5 = nn.MaxPool3d((1, 2, 2), stride=(2, 2, 2), padding=(0, 1, 1))
        else:  # mmaction2
            self.pool1 = nn.MaxPool3d((1, 2, 2), stride=(1, 2, 2))
            self.pool5 = nn.MaxPool3d((2, 2, 2), stride=(2, 2, 2), padding=(0, 1, 1))
        self.pool = nn.MaxPool3d(2)
        self.fc6 = nn.Linear(8192, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        for layer in (self.fc6, self.fc7):
            nn.init.normal_(layer.weight, std=0.005)
            nn.init.zeros_(layer.bias)
        self.dropout = nn.Dropout(dropout)

    def _unit(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.relu(getattr(self, f"bn{name}")(getattr(self, f"conv{name}")(x)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, 3, 16, 112, 112] to [N, 4096]."""
        x = self.pool1(self._unit("1a", x))
        x = self.pool(self._unit("2a", x))
        x = self.pool(self._unit("3b", self._unit("3a", x)))
        x = self.pool(self._unit("4b", self._unit("4a", x)))
        x = self.pool5(self._unit("5b", self._unit("5a", x)))
        x = self.dropout(F.relu(self.fc6(x.flatten(1))))
        return F.relu(self.fc7(x))


def build(
    variant: str,
    num_classes: int,
    num_frames: int,
    *,
    c3d_norm: bool,
    norm_eps: float,
    dropout: float,
    partial_bn: bool,
) -> Recognizer3D:
    """A C3D."""
    backbone = C3DBackbone(c3d_norm, dropout, norm_eps)
    return Recognizer3D(backbone, Classifier(4096, num_classes, dropout), partial_bn)
