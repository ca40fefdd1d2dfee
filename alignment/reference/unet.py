"""UNet over images, in PyTorch.

Source: Ronneberger et al., MICCAI 2015, figure 1; the symbol of xuduo35/unet_mxnet2ncnn; the Keras original that it
follows, for upsampling.
"""

from __future__ import annotations

import torch
from torch import nn

from alignment.reference.mobilenet_v2 import MobileNetV2
from alignment.reference.recognizer import Recognizer

NARROWER = {"x1_0": 1.0, "x0_5": 0.5, "x0_25": 0.25, "tiny": 0.125}


class DoubleConv(nn.Module):
    """Convolution, BatchNorm and ReLU, twice."""

    def __init__(self, in_channels: int, out_channels: int, norm_eps: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
        self.bn1 = nn.BatchNorm2d(out_channels, eps=norm_eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1)
        self.bn2 = nn.BatchNorm2d(out_channels, eps=norm_eps)
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, H, W] to [N, out_channels, H, W]."""
        for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2)):
            x = torch.relu(norm(conv(x)))
        return x


class Up(nn.Module):
    """To twice the height and width."""

    def __init__(self, in_channels: int, out_channels: int, how: str) -> None:
        super().__init__()
        if how == "transposed":
            self.conv = nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2, bias=False)
            nn.init.normal_(self.conv.weight, std=1 / in_channels**0.5)
            self.upsample = None
        else:
            self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
            nn.init.normal_(self.conv.weight, std=1 / (9 * in_channels) ** 0.5)
            self.upsample = nn.Upsample(scale_factor=2, mode=how)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, H, W] to [N, out_channels, 2H, 2W]."""
        return self.conv(x if self.upsample is None else self.upsample(x))


class Decoder(nn.Module):
    """From the lowest level to the highest.

    Args:
        in_channels: Below the lowest.
        channels: Of the levels, the lowest first.
        skips: Of the encoder's at these levels.
        how: Upsampling.
        norm_eps: Epsilon.
    """

    def __init__(self, in_channels: int, channels: list[int], skips: list[int], how: str, norm_eps: float) -> None:
        super().__init__()
        befores = [in_channels, *channels[:-1]]
        for i, (before, width, skip) in enumerate(zip(befores, channels, skips, strict=True)):
            self.add_module(f"up{5 - i}", Up(before, width, how))
            self.add_module(f"dec{5 - i}", DoubleConv(width + skip, width, norm_eps))

    def forward(self, x: torch.Tensor, skips: list[torch.Tensor | None]) -> torch.Tensor:
        """Maps [N, C, h, w] and the encoder's outputs, the lowest first, to [N, C', 32h, 32w]."""
        for i, skip in enumerate(skips):
            x = self.get_submodule(f"up{5 - i}")(x)
            joined = x if skip is None else torch.cat((x, skip), dim=1)
            x = self.get_submodule(f"dec{5 - i}")(joined)
        return x


class UNetBackbone(nn.Module):
    """The original, `width` times as wide."""

    def __init__(self, width: float, how: str, norm_eps: float) -> None:
        super().__init__()
        c1, c2, c3 = (round(width * channels) for channels in (64, 128, 256))
        self.enc1 = DoubleConv(3, c1, norm_eps)
        self.enc2 = DoubleConv(c1, c2, norm_eps)
        self.enc3 = DoubleConv(c2, c3, norm_eps)
        self.enc4 = DoubleConv(c3, c3, norm_eps)
        self.enc5 = DoubleConv(c3, c3, norm_eps)
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.decoder = Decoder(c3, [c3, c3, c3, c2, c1], [c3, c3, c3, c2, c1], how, norm_eps)
        self.out_channels = c1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps images float [N, 3, H, W] to features [N, C, H, W]."""
        first = self.enc1(x)
        second = self.enc2(self.pool(first))
        third = self.enc3(self.pool(second))
        fourth = self.enc4(self.pool(third))
        fifth = self.enc5(self.pool(fourth))
        return self.decoder(self.pool(fifth), [fifth, fourth, third, second, first])


class MobileUNetBackbone(MobileNetV2):
    """MobileNetV2 as the encoder; its first level is at half the size of the image."""

    def __init__(self, how: str, norm_eps: float) -> None:
        super().__init__(norm_eps=norm_eps)
        self.decoder = Decoder(1280, [96, 64, 32, 24, 16], [96, 32, 24, 16, 0], how, norm_eps)
        self.out_channels = 16

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps images float [N, 3, H, W] to features [N, 16, H, W]."""
        half = self.features[:2](x)
        quarter = self.features[2:4](half)
        eighth = self.features[4:7](quarter)
        sixteenth = self.features[7:14](eighth)
        return self.decoder(self.features[14:](sixteenth), [sixteenth, eighth, quarter, half, None])


class MapHead(nn.Module):
    """A map for each class."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.new_fc = nn.Conv2d(in_channels, num_classes, kernel_size=1)
        nn.init.normal_(self.new_fc.weight, std=1 / in_channels**0.5)
        nn.init.zeros_(self.new_fc.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, H, W] to logits [N, K, H, W]."""
        return self.new_fc(self.dropout(features))


class Segmenter(Recognizer):
    """Images [N, 3, H, W] in, logits [N, K, H, W] out."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The logits."""
        return self.cls_head(self.backbone(images))


def build(
    variant: str, num_classes: int, num_frames: int, *, unet_up: str, norm_eps: float, dropout: float, partial_bn: bool
) -> Segmenter:
    """A UNet."""
    backbone: UNetBackbone | MobileUNetBackbone
    if variant == "mobilenet_v2":
        backbone = MobileUNetBackbone(unet_up, norm_eps)
    else:
        backbone = UNetBackbone(NARROWER[variant], unet_up, norm_eps)
    return Segmenter(backbone, MapHead(backbone.out_channels, num_classes, dropout), partial_bn)
