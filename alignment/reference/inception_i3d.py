"""I3D of Inception-v1, in PyTorch.

Source: Carreira and Zisserman, CVPR 2017, figure 3; DeepMind's kinetics-i3d `i3d.py` for the numbers of channels;
TensorFlow's `tf.nn` for the padding SAME.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from alignment.reference.recognizer3d import Classifier, Recognizer3D


def pad_same(x: torch.Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], value: float = 0.0) -> torch.Tensor:
    """Pads [N, C, T, H, W] so that each axis comes out as its length / stride, rounded up; the odd one goes behind."""
    pads: list[int] = []
    for length, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max((-(-length // s) - 1) * s + k - length, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


class SamePool(nn.Module):
    """A maximum over windows; what is outside never wins."""

    def __init__(self, kernel: tuple[int, ...], stride: tuple[int, ...]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, T, H, W] to the windows' maxima."""
        return F.max_pool3d(pad_same(x, self.kernel, self.stride, -torch.inf), self.kernel, self.stride)


class SameConv3d(nn.Conv3d):
    """A convolution padded SAME, which PyTorch has for a stride of 1 alone."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, bias=False)
        self.padding = "same"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, T, H, W] to [N, out_channels, T / stride, H / stride, W / stride]."""
        x = pad_same(x, self.kernel_size, self.stride)
        return F.conv3d(x, self.weight, None, self.stride)


class Unit3D(nn.Module):
    """relu(BN(conv3d(x)))."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, norm_eps: float, learn_weight: bool
    ) -> None:
        super().__init__()
        self.conv3d = SameConv3d(in_channels, out_channels, kernel, stride)
        nn.init.kaiming_normal_(self.conv3d.weight)
        self.bn = nn.BatchNorm3d(out_channels, eps=norm_eps)
        self.bn.weight.requires_grad_(learn_weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, T, H, W] to [N, out_channels, T / stride, H / stride, W / stride]."""
        return F.relu(self.bn(self.conv3d(x)))


class Mixed(nn.Module):
    """Four branches, joined."""

    def __init__(
        self, in_channels: int, b0: int, b1: tuple[int, int], b2: tuple[int, int], b3: int, norm_eps: float,
        learn_weight: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        rest = (1, norm_eps, learn_weight)
        self.b0 = Unit3D(in_channels, b0, 1, *rest)
        self.b1a = Unit3D(in_channels, b1[0], 1, *rest)
        self.b1b = Unit3D(b1[0], b1[1], 3, *rest)
        self.b2a = Unit3D(in_channels, b2[0], 1, *rest)
        self.b2b = Unit3D(b2[0], b2[1], 3, *rest)
        self.b3a = SamePool((3, 3, 3), (1, 1, 1))
        self.b3b = Unit3D(in_channels, b3, 1, *rest)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, T, H, W] to [N, b0 + b1 + b2 + b3, T, H, W]."""
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], dim=1)


class InceptionI3DBackbone(nn.Module):
    """All before the last pooling."""

    def __init__(self, norm_eps: float, learn_weight: bool) -> None:
        super().__init__()
        rest = (norm_eps, learn_weight)
        self.Conv3d_1a_7x7 = Unit3D(3, 64, 7, 2, *rest)
        self.MaxPool3d_2a_3x3 = SamePool((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = Unit3D(64, 64, 1, 1, *rest)
        self.Conv3d_2c_3x3 = Unit3D(64, 192, 3, 1, *rest)
        self.MaxPool3d_3a_3x3 = SamePool((1, 3, 3), (1, 2, 2))
        self.Mixed_3b = Mixed(192, 64, (96, 128), (16, 32), 32, *rest)
        self.Mixed_3c = Mixed(256, 128, (128, 192), (32, 96), 64, *rest)
        self.MaxPool3d_4a_3x3 = SamePool((3, 3, 3), (2, 2, 2))
        self.Mixed_4b = Mixed(480, 192, (96, 208), (16, 48), 64, *rest)
        self.Mixed_4c = Mixed(512, 160, (112, 224), (24, 64), 64, *rest)
        self.Mixed_4d = Mixed(512, 128, (128, 256), (24, 64), 64, *rest)
        self.Mixed_4e = Mixed(512, 112, (144, 288), (32, 64), 64, *rest)
        self.Mixed_4f = Mixed(528, 256, (160, 320), (32, 128), 128, *rest)
        self.MaxPool3d_5a_2x2 = SamePool((2, 2, 2), (2, 2, 2))
        self.Mixed_5b = Mixed(832, 256, (160, 320), (32, 128), 128, *rest)
        self.Mixed_5c = Mixed(832, 384, (192, 384), (48, 128), 128, *rest)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, 3, T, H, W] to [N, 1024, T / 8, H / 32, W / 32]."""
        for layer in self.children():
            x = layer(x)
        return x


class PlaceHead(Classifier):
    """Windows of 2 x 7 x 7, or what is there of them; the mean of their logits."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, t, h, w] to logits [N, K]."""
        window = tuple(min(pair) for pair in zip((2, 7, 7), features.shape[2:], strict=True))
        x = F.avg_pool3d(features, window, stride=1)
        return super().forward(x.flatten(2).transpose(1, 2)).mean(dim=1)


def build(
    variant: str,
    num_classes: int,
    num_frames: int,
    *,
    i3d_norm_weight: bool,
    norm_eps: float,
    dropout: float,
    partial_bn: bool,
) -> Recognizer3D:
    """An Inception I3D."""
    backbone = InceptionI3DBackbone(norm_eps, i3d_norm_weight)
    return Recognizer3D(backbone, PlaceHead(1024, num_classes, dropout), partial_bn)
