"""What the recognizers have in common, in PyTorch."""

from __future__ import annotations

from typing import Self

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class Recognizer(nn.Module):
    """A backbone and a head.

    Args:
        backbone: Of images or of clips.
        cls_head: Called with its features.
        partial_bn: Keep every BatchNorm but the first frozen while training.
    """

    def __init__(self, backbone: nn.Module, cls_head: nn.Module, partial_bn: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.cls_head = cls_head
        self.partial_bn = partial_bn
        if partial_bn:
            freeze_batch_norm(self)

    def train(self, mode: bool = True) -> Self:
        """Switches to training or evaluation; BatchNorms frozen by `partial_bn` stay frozen."""
        super().train(mode)
        if mode and self.partial_bn:
            freeze_batch_norm(self)
        return self


def freeze_batch_norm(model: nn.Module) -> None:
    """Makes every BatchNorm but the first use its running statistics and stop learning, until `model.train()`."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for norm in norms[1:]:
        norm.eval()
        norm.requires_grad_(False)
