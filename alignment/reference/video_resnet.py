"""ResNets of one kind of block over clips, in PyTorch.

Source: Tran et al., "A Closer Look at Spatiotemporal Convolutions", CVPR 2018; torchvision's `models/video/resnet.py`,
mmaction2's `models/backbones/resnet2plus1d.py`; 3D-ResNets-PyTorch's `models/resnet.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from alignment.reference.resnet3d import conv3d

DEPTHS = {"r18": (2, 2, 2, 2), "r34": (3, 4, 6, 3), "r50": (3, 4, 6, 3)}
# (input channels of the block, width, stride of frames, stride of rows and columns) -> conv1, conv2, shortcut
Make = Callable[[int, int, int, int], tuple[nn.Module, nn.Module, nn.Module]]


def simple(frames: int) -> Make:
    """Kernels over so many frames and 3 x 3 pixels."""

    def make(before: int, width: int, stride_t: int, stride_s: int) -> tuple[nn.Module, nn.Module, nn.Module]:
        stride = (stride_t, stride_s, stride_s)
        kernel = (frames, 3, 3)
        return (
            conv3d(before, width, kernel, stride),
            conv3d(width, width, kernel),
            conv3d(before, width, (1, 1, 1), stride),
        )

    return make


class BasicBlock3D(nn.Module):
    """relu(x + BN(conv(relu(BN(conv(x))))))."""

    def __init__(self, before: int, width: int, stride_t: int, stride_s: int, make: Make, norm_eps: float) -> None:
        super().__init__()
        self.conv1, self.conv2, shortcut = make(before, width, stride_t, stride_s)
        self.bn1 = nn.BatchNorm3d(width, eps=norm_eps)
        self.bn2 = nn.BatchNorm3d(width, eps=norm_eps)
        self.downsample = None
        if before != width or stride_s != 1:
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm3d(width, eps=norm_eps))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, T, H, W] to [N, width, T', H', W']."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (self.downsample(x) if self.downsample else x))


class Bottleneck3D(nn.Module):
    """relu(x + BN(conv1x1x1(relu(BN(conv3x3x3(relu(BN(conv1x1x1(x)))))))), four times as wide at its end."""

    def __init__(self, before: int, width: int, stride_t: int, stride_s: int, make: Make, norm_eps: float) -> None:
        super().__init__()
        stride, after = (stride_t, stride_s, stride_s), 4 * width
        self.conv1 = conv3d(before, width, (1, 1, 1))
        self.bn1 = nn.BatchNorm3d(width, eps=norm_eps)
        self.conv2 = conv3d(width, width, (3, 3, 3), stride)
        self.bn2 = nn.BatchNorm3d(width, eps=norm_eps)
        self.conv3 = conv3d(width, after, (1, 1, 1))
        self.bn3 = nn.BatchNorm3d(after, eps=norm_eps)
        self.downsample = None
        if before != after or stride_s != 1:
            shortcut = conv3d(before, after, (1, 1, 1), stride)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm3d(after, eps=norm_eps))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, T, H, W] to [N, 4 * width, T', H', W']."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + (self.downsample(x) if self.downsample else x))


class VideoResNet(nn.Module):
    """Stem and four stages.

    Args:
        stem: First convolution.
        depths: Blocks of each stage.
        makes: How each stage convolves.
        strides: Of frames, and of rows and columns, of each stage.
        pool: The pooling behind the stem, if there is one.
        norm_eps: Epsilon of the norms.
        bottlenecks: Whether the blocks are bottlenecks, whatever `makes` says.
    """

    def __init__(
        self,
        stem: nn.Module,
        depths: tuple[int, ...],
        makes: Sequence[Make],
        strides: list[tuple[int, int]],
        *,
        pool: nn.Module | None,
        norm_eps: float,
        bottlenecks: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = stem
        self.bn1 = nn.BatchNorm3d(64, eps=norm_eps)
        self.maxpool = pool or nn.Identity()
        block, expansion = (Bottleneck3D, 4) if bottlenecks else (BasicBlock3D, 1)
        channels = 64
        for i in range(4):
            width, blocks = 64 * 2**i, []
            for j in range(depths[i]):
                stride = strides[i] if j == 0 else (1, 1)
                blocks.append(block(channels, width, *stride, makes[i], norm_eps))
                channels = expansion * width
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self.out_channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, 3, T, H, W] to [N, 512 or four times that, t, h, w]."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))
