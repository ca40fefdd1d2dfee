"""A small network of the layers that no recognizer has, in both frameworks, for mistakes that only they allow."""

from __future__ import annotations

from typing import Any

import paddle
import torch

from alignment.mutation.noise_pair import noise_pair
from alignment.sides.pair import Pair, Sides

CHANNELS, WIDTH, CLASSES, SIZE = 8, 32, 8, 16


class SmallNet:
    """What both sides have in common: images [N, 3, 16, 16] to logits [N, 8]."""

    def _build(self, nn: Any, axes: str, deconv: Any, avg_pool: Any, softmax: Any) -> None:
        """Makes the layers in order.

        Args:
            nn: torch.nn or paddle.nn.
            axes: How it ends the names of layers of two axes.
            deconv, avg_pool, softmax: Those layers of it whose names or arguments differ.
        """
        conv = getattr(nn, f"Conv{axes}")
        self.stem = conv(3, CHANNELS, 3, padding=1, padding_mode="reflect")
        self.group_norm = nn.GroupNorm(2, CHANNELS)
        self.leaky = nn.LeakyReLU(0.25)
        self.avg_pool = avg_pool
        self.conv = conv(CHANNELS, CHANNELS, 3, padding=2, dilation=2)
        self.prelu = nn.PReLU(CHANNELS)
        self.max_pool = getattr(nn, f"MaxPool{axes}")(2, 2, ceil_mode=True)
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear")
        self.deconv = deconv(CHANNELS, CHANNELS, 2, stride=2, padding=2)
        self.adaptive = getattr(nn, f"AdaptiveAvgPool{axes}")(2)
        self.layer_norm = nn.LayerNorm(WIDTH)
        self.square = nn.Linear(WIDTH, WIDTH)
        self.gelu = nn.GELU()
        self.square_too = nn.Linear(WIDTH, WIDTH)
        self.softmax = softmax
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Any) -> Any:
        """See the class."""
        x = self.avg_pool(self.leaky(self.group_norm(self.stem(x))))
        x = self.upsample(self.max_pool(self.prelu(self.conv(x))))
        x = self.layer_norm(self.adaptive(self.deconv(x)).flatten(1))
        x = self.gelu(self.square(x))
        return self.fc(self.dropout(x + x * self.softmax(self.square_too(x))))


class TorchSmallNet(SmallNet, torch.nn.Module):
    """The network in PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        nn = torch.nn
        self._build(nn, "2d", nn.ConvTranspose2d, nn.AvgPool2d(2, 2, padding=1), nn.Softmax(dim=-1))


class PaddleSmallNet(SmallNet, paddle.nn.Layer):
    """The network in Paddle."""

    def __init__(self) -> None:
        super().__init__()
        nn = paddle.nn
        self._build(nn, "2D", nn.Conv2DTranspose, nn.AvgPool2D(2, 2, padding=1, exclusive=False), nn.Softmax(axis=-1))


def small_net_pair(seed: int = 0) -> Pair:
    """The two networks with the same random weights and a batch of noise, see `noise_pair`."""
    return noise_pair(Sides(TorchSmallNet, PaddleSmallNet), (4, 3, SIZE, SIZE), CLASSES, "small_net", seed)
