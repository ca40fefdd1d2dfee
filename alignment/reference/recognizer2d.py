"""A video recognizer of an image backbone with temporal modules and a head, in PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from alignment.reference.backbones import build_backbone
from alignment.reference.heads import FrameHead, TSNHead
from alignment.reference.recognizer import Recognizer
from alignment.reference.temporal_module import TemporalModule


class Recognizer2D(Recognizer):
    """Classifies clips frame by frame.

    Args:
        backbone: Maps images [B, 3, H, W] to features [B, C, h, w].
        cls_head: Called with the features and the number of frames of each video.
        frame_divisor: 2 if the backbone halves the frames.
        partial_bn: See Recognizer.

    Attributes:
        residual_ends: Ends of the names of the norms that may close a residual branch.
    """

    residual_ends = ("bn3.weight", "bn2.weight", "conv.3.weight")

    def __init__(
        self, backbone: nn.Module, cls_head: nn.Module, frame_divisor: int = 1, partial_bn: bool = False
    ) -> None:
        super().__init__(backbone, cls_head, partial_bn)
        self.frame_divisor = frame_divisor

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Maps normalized clips float [N, T, 3, H, W] to logits [N, K]."""
        num_frames = clips.shape[1]
        for module in self.backbone.modules():
            if isinstance(module, TemporalModule):
                module.set_num_frames(num_frames)
        features = self.backbone(clips.flatten(0, 1))  # [N*T', C, h, w]
        return self.cls_head(features, num_frames // self.frame_divisor)


def with_head(
    backbone: nn.Module,
    num_classes: int,
    *,
    head: type[TSNHead],
    init_std: float,
    dropout: float,
    partial_bn: bool,
    consensus: str,
    frame_divisor: int = 1,
) -> Recognizer2D:
    """A recognizer of a backbone and a new head.

    Args:
        backbone: With its temporal modules in place.
        num_classes: Classes K.
        head: The head of the family.
        init_std: Std of the classifier's initial weights.
        dropout: Dropout before the classifier.
        partial_bn: Freeze every BatchNorm but the first.
        consensus: `features` averages frames before the classifier, `scores` behind it, `family` as published.
        frame_divisor: 2 if the backbone halves the frames.
    """
    heads: dict[str, type[TSNHead]] = {"features": TSNHead, "scores": FrameHead, "family": head}
    cls_head = heads[consensus](backbone.out_channels, num_classes, dropout, init_std)
    return Recognizer2D(backbone, cls_head, frame_divisor=frame_divisor, partial_bn=partial_bn)


def build(
    variant: str, num_classes: int, num_frames: int, *, norm_eps: float, same_padding: bool, **options: Any
) -> Recognizer2D:
    """A TSN: the features of the frames are averaged, then classified. Further options: see `with_head`."""
    backbone = build_backbone(variant, norm_eps, same_padding)
    return with_head(backbone, num_classes, head=TSNHead, init_std=0.01, **options)
