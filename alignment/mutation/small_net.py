"""A small network of the layers that no recognizer has, in both frameworks, for mistakes that only they allow."""

from __future__ import annotations

import numpy as np
import paddle
import torch

from alignment.sides.pair import Pair, Sides

CHANNELS, WIDTH, CLASSES, SIZE = 8, 32, 8, 16


class TorchSmallNet(torch.nn.Module):
    """Images [N, 3, 16, 16] to logits [N, 8]."""

    def __init__(self) -> None:
        super().__init__()
        nn = torch.nn
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1, padding_mode="reflect")
        self.group_norm = nn.GroupNorm(2, CHANNELS)
        self.leaky = nn.LeakyReLU(0.25)
        self.avg_pool = nn.AvgPool2d(2, 2, padding=1)
        self.conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=2, dilation=2)
        self.prelu = nn.PReLU(CHANNELS)
        self.max_pool = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear")
        self.deconv = nn.ConvTranspose2d(CHANNELS, CHANNELS, 2, stride=2, padding=2)
        self.adaptive = nn.AdaptiveAvgPool2d(2)
        self.layer_norm = nn.LayerNorm(WIDTH)
        self.square = nn.Linear(WIDTH, WIDTH)
        self.gelu = nn.GELU()
        self.square_too = nn.Linear(WIDTH, WIDTH)
        self.softmax = nn.Softmax(dim=-1)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        x = self.avg_pool(self.leaky(self.group_norm(self.stem(x))))
        x = self.upsample(self.max_pool(self.prelu(self.conv(x))))
        x = self.layer_norm(self.adaptive(self.deconv(x)).flatten(1))
        x = self.gelu(self.square(x))
        return self.fc(self.dropout(x + x * self.softmax(self.square_too(x))))


class PaddleSmallNet(paddle.nn.Layer):
    """Images [N, 3, 16, 16] to logits [N, 8]."""

    def __init__(self) -> None:
        super().__init__()
        nn = paddle.nn
        self.stem = nn.Conv2D(3, CHANNELS, 3, padding=1, padding_mode="reflect")
        self.group_norm = nn.GroupNorm(2, CHANNELS)
        self.leaky = nn.LeakyReLU(0.25)
        self.avg_pool = nn.AvgPool2D(2, 2, padding=1, exclusive=False)
        self.conv = nn.Conv2D(CHANNELS, CHANNELS, 3, padding=2, dilation=2)
        self.prelu = nn.PReLU(CHANNELS)
        self.max_pool = nn.MaxPool2D(2, 2, ceil_mode=True)
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear")
        self.deconv = nn.Conv2DTranspose(CHANNELS, CHANNELS, 2, stride=2, padding=2)
        self.adaptive = nn.AdaptiveAvgPool2D(2)
        self.layer_norm = nn.LayerNorm(WIDTH)
        self.square = nn.Linear(WIDTH, WIDTH)
        self.gelu = nn.GELU()
        self.square_too = nn.Linear(WIDTH, WIDTH)
        self.softmax = nn.Softmax(axis=-1)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """See the class."""
        x = self.avg_pool(self.leaky(self.group_norm(self.stem(x))))
        x = self.upsample(self.max_pool(self.prelu(self.conv(x))))
        x = self.layer_norm(self.adaptive(self.deconv(x)).flatten(1))
        x = self.gelu(self.square(x))
        return self.fc(self.dropout(x + x * self.softmax(self.square_too(x))))


def small_net_pair(seed: int = 0) -> Pair:
    """The two networks with the same random weights, a batch of noise, cross entropy and plain momentum SGD."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    theirs, ours = TorchSmallNet(), PaddleSmallNet()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.from_numpy(0.25 * rng.normal(size=tuple(parameter.shape)).astype(np.float32)))
    return Pair(
        reference=theirs,
        candidate=ours,
        inputs=(rng.normal(size=(4, 3, SIZE, SIZE)).astype(np.float32),),
        labels=rng.integers(CLASSES, size=4),
        losses={"plain": Sides(torch.nn.functional.cross_entropy, paddle.nn.functional.cross_entropy)},
        optimizer=Sides(
            lambda model: torch.optim.SGD(model.parameters(), lr=2.0**-5, momentum=0.875, weight_decay=2.0**-11),
            lambda model: paddle.optimizer.Momentum(2.0**-5, 0.875, model.parameters(), weight_decay=2.0**-11),
        ),
        names=((r"^prelu\.weight$", "prelu._weight"),),
        title="small_net",
    )
