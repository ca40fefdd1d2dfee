"""A small video transformer in both frameworks, for mistakes in attention, in its masks and in recurrent layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import paddle
import torch

from alignment.mutation.noise_pair import noise_pair
from alignment.sides.pair import Pair, Sides

FRAMES, SIZE, GRID, DIM, HEADS, CLASSES = 4, 16, 2, 16, 2, 4
PLACES = FRAMES * GRID * GRID


class WindowAttention:
    """What both sides have in common of an attention with relative positions over a window of frames, rows, columns."""

    index: Any  # a buffer

    def _build(self: Any, nn: Any, softmax: Any, index: Any, table: Any) -> None:
        """Makes the layers.

        Args:
            nn: torch.nn or paddle.nn.
            softmax: Over the last axis.
            index: Tensor int64 [places, places]: which bias of the table is for a pair of places.
            table: Parameter [offsets, heads].
        """
        self.query, self.key, self.value, self.proj = (nn.Linear(DIM, DIM) for _ in range(4))
        self.table = table
        self.register_buffer("index", index)
        self.softmax = softmax
        self.drop = nn.Dropout(0.25)
        self.scale = 1 / math.sqrt(DIM // HEADS)

    def forward(self: Any, x: Any) -> Any:
        """[N, places, C] to the same."""
        q, k, v = (
            layer(x).reshape([-1, PLACES, HEADS, DIM // HEADS]).moveaxis(1, 2)
            for layer in (self.query, self.key, self.value)
        )  # [N, heads, places, C / heads]
        bias = self.table[self.index.flatten()].reshape([PLACES, PLACES, HEADS]).moveaxis(-1, 0)
        weights = self.weigh((q * self.scale) @ k.moveaxis(-1, -2) + bias)
        return self.proj((weights @ v).moveaxis(1, 2).reshape([-1, PLACES, DIM]))

    def weigh(self, scores: Any) -> Any:
        """Scores to weights, some of which are dropped in training."""
        return self.drop(self.softmax(scores))


class TorchWindowAttention(WindowAttention, torch.nn.Module):
    """That attention in PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        index = offset_index()
        table = torch.nn.Parameter(torch.zeros(int(index.max()) + 1, HEADS))
        self._build(torch.nn, torch.nn.Softmax(dim=-1), torch.from_numpy(index), table)


class PaddleWindowAttention(WindowAttention, paddle.nn.Layer):
    """That attention in Paddle."""

    def __init__(self) -> None:
        super().__init__()
        index = offset_index()
        table = self.create_parameter([int(index.max()) + 1, HEADS])
        self._build(paddle.nn, paddle.nn.Softmax(axis=-1), paddle.to_tensor(index), table)


def offset_index() -> np.ndarray:
    """For each pair of places of a window, int64 [places, places], the number of their offset."""
    window = (FRAMES, GRID, GRID)
    places = np.stack(np.meshgrid(*map(np.arange, window), indexing="ij")).reshape(3, -1)
    offsets = places[:, :, None] - places[:, None] + np.reshape(window, (3, 1, 1)) - 1
    return np.ravel_multi_index(tuple(offsets), tuple(2 * size - 1 for size in window)).astype(np.int64)


class VideoTransformer:
    """What both sides have in common: clips [N, 4, 3, 16, 16] to logits [N, 4]."""

    def _build(self, nn: Any, stem: Any, window: Any, encoder: Any, temporal: Any, lstm: Any) -> None:
        """Makes the layers in order; of `nn` those that both frameworks build alike."""
        self.stem, self.norm1, self.window, self.encoder = stem, nn.LayerNorm(DIM), window, encoder
        self.temporal, self.norm2 = temporal, nn.LayerNorm(DIM)
        self.lstm, self.fc = lstm, nn.Linear(DIM, CLASSES)

    def forward(self: Any, x: Any) -> Any:
        """See the class."""
        x = self.stem(x.flatten(0, 1)).flatten(2).moveaxis(1, 2).reshape([-1, PLACES, DIM])
        x = self.encoder(x + self.window(self.norm1(x)))
        x = x.reshape([-1, FRAMES, GRID * GRID, DIM]).mean(2)
        x = self.norm2(x + self.attend(x, self.mask(x)))
        return self.fc(self.lstm(x)[0][:, -1])


class TorchVideoTransformer(VideoTransformer, torch.nn.Module):
    """The network in PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        nn, patch = torch.nn, SIZE // GRID
        encoder = nn.TransformerEncoderLayer(DIM, HEADS, 2 * DIM, 0.0, "gelu", batch_first=True, norm_first=True)
        temporal, lstm = nn.MultiheadAttention(DIM, HEADS, batch_first=True), nn.LSTM(DIM, DIM, batch_first=True)
        self._build(nn, nn.Conv2d(3, DIM, patch, patch), TorchWindowAttention(), encoder, temporal, lstm)

    def mask(self, x: Any) -> Any:
        """What is added to the scores so that no frame sees a later one."""
        return torch.full((FRAMES, FRAMES), -math.inf, dtype=x.dtype).triu(1)

    def attend(self, x: Any, mask: Any) -> Any:
        """Attention of frames to frames."""
        return self.temporal(x, x, x, attn_mask=mask)[0]


class PaddleVideoTransformer(VideoTransformer, paddle.nn.Layer):
    """The network in Paddle."""

    def __init__(self) -> None:
        super().__init__()
        nn, patch = paddle.nn, SIZE // GRID
        encoder = nn.TransformerEncoderLayer(DIM, HEADS, 2 * DIM, 0.0, "gelu", normalize_before=True)
        temporal, lstm = nn.MultiHeadAttention(DIM, HEADS), nn.LSTM(DIM, DIM)
        self._build(nn, nn.Conv2D(3, DIM, patch, patch), PaddleWindowAttention(), encoder, temporal, lstm)

    def mask(self, x: Any) -> Any:
        """What is added to the scores so that no frame sees a later one."""
        return paddle.full([FRAMES, FRAMES], -math.inf, x.dtype).triu(1)

    def attend(self, x: Any, mask: Any) -> Any:
        """Attention of frames to frames."""
        return self.temporal(x, x, x, mask)


def video_transformer_pair(seed: int = 0) -> Pair:
    """The two networks with the same random weights and a batch of noise, see `noise_pair`."""
    networks = Sides(TorchVideoTransformer, PaddleVideoTransformer)
    return noise_pair(networks, (4, FRAMES, 3, SIZE, SIZE), CLASSES, "video_transformer", seed)
