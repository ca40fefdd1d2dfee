"""Multi-View Fusion in PyTorch: three depthwise 3-D convolutions, as published.

Source: Wu et al., "MVFNet: Multi-View Fusion Network for Efficient Video Recognition", AAAI 2021, section 3 and
figure 2; the authors' repository whwu95/MVFNet (names of parameters, which blocks are wrapped).
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from alignment.reference.backbones import build_backbone
from alignment.reference.heads import FrameHead
from alignment.reference.recognizer2d import Recognizer2D, with_head
from alignment.reference.temporal_module import TemporalModule


class MultiViewFusion(TemporalModule):
    """`net` of the input whose first `alpha * C` channels have been fused over the views.

    Args:
        net: The wrapped 2-D convolution.
        num_frames: Frames T of a video.
        alpha: Fraction of the input channels that is fused.
        mode: The views that are summed: `THW`, `TH` or `T`.
        share: The kernel of time serves height and width too.
        use_hs: BatchNorm and hard-swish after the sum.
        norm_eps: Epsilon of the BatchNorm.
    """

    def __init__(
        self,
        net: nn.Conv2d,
        num_frames: int,
        alpha: float,
        mode: str,
        share: bool,
        use_hs: bool,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__(net, num_frames)
        if mode not in ("THW", "TH", "T"):
            raise ValueError(f"mvf_mode must be THW, TH or T, got {mode!r}")
        self.channels = int(net.in_channels * alpha)
        self.mode = mode
        self.shift_conv = self._view_conv(3, 1, 1)
        self.h_conv = self._view_conv(1, 3, 1) if "H" in mode and not share else None
        self.w_conv = self._view_conv(1, 1, 3) if "W" in mode and not share else None
        self.bn = nn.BatchNorm3d(self.channels, eps=norm_eps) if use_hs else None

    def _view_conv(self, *kernel: int) -> nn.Conv3d:
        c = self.channels
        conv = nn.Conv3d(c, c, kernel, padding=tuple(k // 2 for k in kernel), groups=c, bias=False)
        nn.init.normal_(conv.weight, 0.0, math.sqrt(2.0 / (3 * c)))
        return conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N*T, C, H, W] to `net` of it, with the first channels fused."""
        x = x.view(-1, self.num_frames, *x.shape[1:]).transpose(1, 2)  # [N, C, T, H, W]
        fused, rest = x[:, : self.channels], x[:, self.channels :]
        x = torch.cat([self.fuse(fused), rest], dim=1)
        return self.net(x.transpose(1, 2).flatten(0, 1))  # [N*T, C, H, W]

    def fuse(self, x: torch.Tensor) -> torch.Tensor:
        """Sums the views of [N, C', T, H, W]; same shape."""
        y = self.shift_conv(x)
        if "H" in self.mode:
            y = y + (self.h_conv(x) if self.h_conv else self._time_kernel_along(x, 3))
        if "W" in self.mode:
            y = y + (self.w_conv(x) if self.w_conv else self._time_kernel_along(x, 4))
        if self.bn is None:
            return y
        # PyTorch 2.13 computes a wrong gradient of BatchNorm3d on a CPU when maps have one pixel and the memory of the
        # input and of the output's gradient is laid out differently.
        y = self.bn(y.contiguous())
        if y.requires_grad:
            y.register_hook(torch.Tensor.contiguous)
        return y * F.relu6(y + 3) / 6

    def _time_kernel_along(self, x: torch.Tensor, axis: int) -> torch.Tensor:
        """Convolves an axis of [N, C', T, H, W] with the kernel of time, by exchanging the two."""
        return self.shift_conv(x.transpose(2, axis)).transpose(2, axis)


def build(
    variant: str,
    num_classes: int,
    num_frames: int,
    *,
    mvf_mode: str,
    mvf_alpha: float,
    mvf_share: bool,
    mvf_use_hs: bool,
    mvf_stages: tuple[int, ...],
    norm_eps: float,
    same_padding: bool,
    **options: Any,
) -> Recognizer2D:
    """An MVF: the logits of its frames are averaged. Further options: see `with_head`."""
    backbone = build_backbone(variant, norm_eps, same_padding)
    # The first convolution of every block of the stages marked 1 is wrapped, where alpha leaves it a channel to fuse.
    for chosen, paths in zip(mvf_stages, backbone.block_paths, strict=True):
        for path in paths if chosen else ():
            target = f"{path}.{backbone.get_submodule(path).first_conv}"
            net = backbone.get_submodule(target)
            if int(net.in_channels * mvf_alpha) > 0:
                fusion = MultiViewFusion(net, num_frames, mvf_alpha, mvf_mode, mvf_share, mvf_use_hs, norm_eps)
                backbone.set_submodule(target, fusion)
    return with_head(backbone, num_classes, head=FrameHead, init_std=0.01, **options)
