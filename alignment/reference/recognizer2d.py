"""A video recognizer of an image backbone with temporal modules and a head, in PyTorch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from alignment.reference.temporal_module import TemporalModule


class Recognizer2D(nn.Module):
    """Classifies clips frame by frame.

    Args:
        backbone: Maps images [B, 3, H, W] to features [B, C, h, w].
        cls_head: Called with the features and the number of frames of each video.
        frame_divisor: 2 if the backbone halves the frames.
        partial_bn: Keep every BatchNorm but the first frozen while training.
    """

    def __init__(
        self, backbone: nn.Module, cls_head: nn.Module, frame_divisor: int = 1, partial_bn: bool = False
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.cls_head = cls_head
        self.frame_divisor = frame_divisor
        self.partial_bn = partial_bn
        if partial_bn:
            freeze_batch_norm(self)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Maps normalized clips float [N, T, 3, H, W] to logits [N, K]."""
        num_frames = clips.shape[1]
        for module in self.backbone.modules():
            if isinstance(module, TemporalModule):
                module.set_num_frames(num_frames)
        features = self.backbone(clips.flatten(0, 1))  # [N*T', C, h, w]
        return self.cls_head(features, num_frames // self.frame_divisor)

    def train(self, mode: bool = True) -> Recognizer2D:
        """Switches to training or evaluation; BatchNorms frozen by `partial_bn` stay frozen."""
        super().train(mode)
        if mode and self.partial_bn:
            freeze_batch_norm(self)
        return self


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Every BatchNorm of a model, in its order."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def freeze_batch_norm(model: nn.Module) -> None:
    """Makes every BatchNorm but the first use its running statistics and stop learning, until `model.train()`."""
    for norm in batch_norms(model)[1:]:
        norm.eval()
        norm.requires_grad_(False)
