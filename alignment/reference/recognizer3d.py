"""A video recognizer of a backbone over clips and a head, in PyTorch.

Source: PySlowFast's `models/head_helper.py` and PyTorchVideo's `models/head.py` for windows of larger frames.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from alignment.reference.recognizer import Recognizer


class Recognizer3D(Recognizer):
    """Classifies clips by features of space and time.

    Args:
        backbone: Maps [N, 3, T, H, W] to features [N, C, t, h, w], or to several of these.
        cls_head: Called with what the backbone returns.
        partial_bn: See Recognizer.

    Attributes:
        residual_ends: Ends of the names of the norms that may close a residual branch.
    """

    residual_ends: tuple[str, ...] = ("bn3.weight",)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Maps normalized clips float [N, T, 3, H, W] to logits [N, K]."""
        return self.cls_head(self.backbone(clips.transpose(1, 2)))


class Classifier(nn.Module):
    """Dropout, and a linear layer."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.new_fc = nn.Linear(in_channels, num_classes)
        nn.init.normal_(self.new_fc.weight, std=0.01)
        nn.init.zeros_(self.new_fc.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps features [..., C] to logits [..., K]."""
        return self.new_fc(self.dropout(x))


class ClipHead(Classifier):
    """Pool and classifier.

    Args:
        in_channels: Channels of all pathways.
        num_classes: Classes K.
        dropout: Dropout before the classifier.
        places: `all`: one global average; `logits` or `probabilities`: of each window, whose results are averaged.
        window: Side of a window.
    """

    def __init__(self, in_channels: int, num_classes: int, dropout: float, places: str, window: int) -> None:
        super().__init__(in_channels, num_classes, dropout)
        self.places = places
        self.window = window

    def forward(self, features: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Maps features [N, C, t, h, w] of one pathway or several to logits [N, K]."""
        pathways = (features,) if isinstance(features, torch.Tensor) else features
        if self.places == "all":
            return self.classify(torch.cat([pathway.mean(dim=(2, 3, 4)) for pathway in pathways], dim=1))
        window = (self.window, self.window)
        x = torch.cat([F.avg_pool3d(p, (p.shape[2], *window), stride=1) for p in pathways], dim=1)
        x = self.classify(x.flatten(2).transpose(1, 2))  # [N, places, K]
        return x.softmax(dim=-1).mean(dim=1).log() if self.places == "probabilities" else x.mean(dim=1)

    def classify(self, x: torch.Tensor) -> torch.Tensor:
        """Maps pooled features [..., C] to logits [..., K]."""
        return super().forward(x)


def with_clip_head(
    backbone: nn.Module,
    channels: int,
    num_classes: int,
    kind: type[ClipHead] = ClipHead,
    recognizer: type[Recognizer3D] = Recognizer3D,
    *,
    dropout: float,
    partial_bn: bool,
    places: str,
    place_window: int,
) -> Recognizer3D:
    """A recognizer of a backbone and a new head.

    Args:
        backbone: As of Recognizer3D.
        channels: Of its features, all pathways together.
        num_classes: Classes K.
        kind: Of the head.
        recognizer: Which one.
        dropout, places, place_window: See ClipHead.
        partial_bn: See Recognizer.
    """
    return recognizer(backbone, kind(channels, num_classes, dropout, places, place_window), partial_bn)
