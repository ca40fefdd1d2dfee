"""Ports of transformers, written here, against those of timm and torchvision; an LSTM over the features of TSN."""

import importlib.util
import itertools

import numpy as np
import paddle
import pytest
import torch
from paddle.nn import functional

from alignment import Rule, align
from alignment.certification.twins import create_twin
from alignment.sides.pair import Sides
from alignment.upstream.torchvision import torchvision
from models import create_model

pn = paddle.nn
DIM, HEADS, CLASSES = 16, 2, 4
CROSS_ENTROPY = Sides(torch.nn.functional.cross_entropy, functional.cross_entropy)
ADAMW = Sides(
    lambda model: torch.optim.AdamW(model.parameters(), 2**-7, (0.875, 0.9375), 2**-10, weight_decay=2**-6),
    lambda model: paddle.optimizer.AdamW(2**-7, 0.875, 0.9375, 2**-10, model.parameters(), weight_decay=2**-6),
)
MOMENTUM = Sides(
    lambda model: torch.optim.SGD(model.parameters(), lr=2**-5, momentum=0.875, weight_decay=2**-11),
    lambda model: paddle.optimizer.Momentum(2**-5, 0.875, model.parameters(), weight_decay=2**-11),
)
QKV = {r"qkv\.(weight|bias)": Rule((r"q.\1", r"k.\1", r"v.\1"))}
STAGES = ["config", "weights", "forward", "loss", "backward", "train", "guards"]


def needs(package):
    absent = importlib.util.find_spec(package) is None or importlib.util.find_spec("torchvision") is None
    return pytest.mark.skipif(absent, reason=f"{package} is not installed: requirements-third-party.txt")


def shaken(reference):
    """Biases of zeros and scales of ones would hide what exchanges them."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return reference


def clips(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def proved(reference, candidate, inputs, optimizer, **options):
    """Aligns in float64 and demands 1e-12 of all that is compared, in all stages."""
    report = align(
        reference=reference, candidate=candidate, inputs=inputs, labels=np.arange(len(inputs)) % CLASSES,
        loss=CROSS_ENTROPY, optimizer=optimizer, **options,
    )  # fmt: skip
    assert report.passed, report.text()
    assert [stage.name for stage in report.stages] == STAGES
    records = [record for stage in report.stages for record in stage.records]
    assert max(record.required for record in records if record.required == record.required) < 1e-12
    return {record.name for record in records}


class Attention(pn.Layer):
    """Queries, keys and values from three Linears; what is added to the scores is an argument."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.proj = (pn.Linear(dim, dim) for _ in range(4))

    def forward(self, x, bias=None):
        n, length, dim = x.shape
        q, k, v = (
            layer(x).reshape([n, length, self.heads, -1]).transpose([0, 2, 1, 3]) for layer in (self.q, self.k, self.v)
        )  # [N, heads, L, dim / heads]
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose([0, 1, 3, 2])
        if bias is not None:
            scores = scores + bias
        out = functional.softmax(scores, axis=-1) @ v
        return self.proj(out.transpose([0, 2, 1, 3]).reshape([n, length, dim]))


class Mlp(pn.Layer):
    def __init__(self, dim):
        super().__init__()
        self.fc1, self.act, self.fc2 = pn.Linear(dim, 4 * dim), pn.GELU(), pn.Linear(4 * dim, dim)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class Block(pn.Layer):
    def __init__(self, attn, epsilon):
        super().__init__()
        self.norm1, self.attn = pn.LayerNorm(DIM, epsilon), attn
        self.norm2, self.mlp = pn.LayerNorm(DIM, epsilon), Mlp(DIM)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(pn.Layer):
    """timm's ViT, ported."""

    def __init__(self, size, patch, depth):
        super().__init__()
        self.patches = pn.Conv2D(3, DIM, patch, patch)
        self.cls_token = self.create_parameter([1, 1, DIM])
        self.pos_embed = self.create_parameter([1, 1 + (size // patch) ** 2, DIM])
        self.blocks = pn.LayerList([Block(Attention(DIM, HEADS), 1e-6) for _ in range(depth)])
        self.norm, self.head = pn.LayerNorm(DIM, 1e-6), pn.Linear(DIM, CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose([0, 2, 1])  # [N, patches, C]
        x = paddle.concat([self.cls_token.expand([len(x), 1, DIM]), x], axis=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


@needs("timm")
@pytest.mark.parametrize("optimizer", [ADAMW, MOMENTUM])
def test_timms_vision_transformer(optimizer):
    torchvision()  # which timm imports
    from timm.layers import Attention as Fused
    from timm.models import VisionTransformer as Reference

    torch.manual_seed(0)
    reference = Reference(
        img_size=16, patch_size=8, embed_dim=DIM, depth=2, num_heads=HEADS, num_classes=CLASSES, qkv_bias=True
    )
    names = proved(
        shaken(reference), VisionTransformer(16, 8, 2), clips(3, 3, 16, 16), optimizer,
        names=((r"^patch_embed\.proj\b", "patches"),), layers={Fused: QKV},
    )  # fmt: skip
    assert {"blocks.1.attn.proj", "blocks.1.attn.k.weight", "cls_token", "pos_embed"} <= names


WINDOW = (2, 2, 2)  # frames, rows, columns


def offsets(window):
    """Of each pair of places in a window the index of their offset in the table."""
    places = np.stack(np.meshgrid(*map(np.arange, window), indexing="ij")).reshape(3, -1)
    steps = places[:, :, None] - places[:, None] + np.reshape(window, (3, 1, 1)) - 1
    return np.ravel_multi_index(tuple(steps), tuple(2 * size - 1 for size in window))


class WindowAttention(Attention):
    """torchvision's ShiftedWindowAttention3d, for sizes that are whole numbers of windows."""

    def __init__(self, shifted):
        super().__init__(DIM, HEADS)
        self.shift = [size // 2 for size in WINDOW] if shifted else [0, 0, 0]
        table = int(np.prod([2 * size - 1 for size in WINDOW]))
        self.relative_position_bias_table = self.create_parameter([table, HEADS])
        self.register_buffer("relative_position_index", paddle.to_tensor(offsets(WINDOW)))

    def forward(self, x):
        size = x.shape[1:4]
        index = self.relative_position_index
        bias = self.relative_position_bias_table[index.flatten()].reshape([*index.shape, HEADS]).transpose([2, 0, 1])
        if any(self.shift):
            x = paddle.roll(x, [-step for step in self.shift], axis=[1, 2, 3])
            bias = bias + self.strangers(size, len(x)).astype(bias.dtype)
        x = joined(super().forward(windows(x), bias), size)
        return paddle.roll(x, self.shift, axis=[1, 2, 3]) if any(self.shift) else x

    def strangers(self, size, n):
        """-100 for pairs that were no neighbors before the shift, [N x windows, 1, places, places]."""
        region = np.zeros(size)
        cuts = [(0, -size, -step, None) for size, step in zip(WINDOW, self.shift, strict=True)]
        for i, place in enumerate(itertools.product(range(3), repeat=3)):
            region[tuple(slice(cut[j], cut[j + 1]) for cut, j in zip(cuts, place, strict=True))] = i
        groups = windows(paddle.to_tensor(region[None, ..., None]))[..., 0].numpy()
        return paddle.to_tensor(
            np.tile(np.where(groups[:, None] != groups[..., None], -100.0, 0.0)[:, None], (n, 1, 1, 1))
        )


def windows(x):
    """[N, T, H, W, C] -> [N x windows, places, C]."""
    n, *size, channels = x.shape
    split = [part for length, width in zip(size, WINDOW, strict=True) for part in (length // width, width)]
    x = x.reshape([n, *split, channels]).transpose([0, 1, 3, 5, 2, 4, 6, 7])
    return x.reshape([-1, int(np.prod(WINDOW)), channels])


def joined(x, size):
    """The way back."""
    counts = [length // width for length, width in zip(size, WINDOW, strict=True)]
    x = x.reshape([-1, *counts, *WINDOW, x.shape[-1]]).transpose([0, 1, 4, 2, 5, 3, 6, 7])
    return x.reshape([-1, *size, x.shape[-1]])


class SwinTransformer3d(pn.Layer):
    def __init__(self):
        super().__init__()
        self.embed, self.embed_norm = pn.Conv3D(3, DIM, (2, 4, 4), (2, 4, 4)), pn.LayerNorm(DIM)
        self.blocks = pn.LayerList([Block(WindowAttention(shifted), 1e-5) for shifted in (False, True)])
        self.norm, self.head = pn.LayerNorm(DIM), pn.Linear(DIM, CLASSES)

    def forward(self, x):
        x = self.embed_norm(self.embed(x).transpose([0, 2, 3, 4, 1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean([1, 2, 3]))


SWIN_NAMES = (
    (r"^patch_embed\.proj\b", "embed"),
    (r"^patch_embed\.norm\b", "embed_norm"),
    (r"^features\.0\.", "blocks."),
    (r"\.mlp\.0\b", ".mlp.fc1"),
    (r"\.mlp\.1\b", ".mlp.act"),
    (r"\.mlp\.3\b", ".mlp.fc2"),
)


@needs("torchvision")
def test_torchvisions_video_swin_transformer():
    torchvision()
    from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d
    from torchvision.models.video.swin_transformer import SwinTransformer3d as Reference

    torch.manual_seed(0)
    reference = Reference(
        [2, 4, 4], DIM, depths=[2], num_heads=[HEADS], window_size=list(WINDOW), stochastic_depth_prob=0.0,
        num_classes=CLASSES,
    )  # fmt: skip
    given = {"names": SWIN_NAMES, "layers": {ShiftedWindowAttention3d: QKV}}
    x = clips(2, 3, 8, 16, 16)
    candidate = SwinTransformer3d()
    names = proved(shaken(reference), candidate, x, MOMENTUM, **given)
    table = "features.0.1.attn.relative_position_bias_table"
    assert {"features.0.1.attn", "features.0.1.attn.k.bias", table, f"{table} velocity, step 3"} <= names
    index = candidate.blocks[1].attn.relative_position_index
    index.set_value(index.numpy().T.copy())
    divergence = align(reference=reference, candidate=candidate, inputs=x, copy=False, **given).first_divergence
    assert divergence.place == "blocks.1.attn.relative_position_index"


class TorchLstm(torch.nn.Module):
    """TSN's features of each frame, an LSTM over them, the mean of its states classified."""

    def __init__(self, backbone, features):
        super().__init__()
        self.backbone, self.lstm = backbone, torch.nn.LSTM(features, 8, 2, batch_first=True, bidirectional=True)
        self.fc = torch.nn.Linear(16, CLASSES)

    def forward(self, x):
        features = self.backbone(x.flatten(0, 1)).mean((2, 3))
        return self.fc(self.lstm(features.view(*x.shape[:2], -1))[0].mean(1))


class PaddleLstm(pn.Layer):
    def __init__(self, backbone, features):
        super().__init__()
        self.backbone, self.lstm = backbone, pn.LSTM(features, 8, 2, "bidirect")
        self.fc = pn.Linear(16, CLASSES)

    def forward(self, x):
        features = self.backbone(x.flatten(0, 1)).mean(axis=[2, 3])
        return self.fc(self.lstm(features.reshape([*x.shape[:2], -1]))[0].mean(1))


def test_an_lstm_over_the_features_of_tsn():
    settings = {"num_classes": CLASSES, "num_frames": 4}
    torch.manual_seed(0)
    theirs, ours = create_twin("tsn_tiny", **settings).backbone, create_model("tsn_tiny", **settings).backbone
    x = clips(2, 4, 3, 64, 64)
    names = proved(TorchLstm(theirs, 128), PaddleLstm(ours, 128), x, MOMENTUM, train_steps=2)
    assert {"lstm", "lstm [1][1]", "lstm.weight_hh_l1_reverse", "lstm.bias_ih_l0 velocity, step 2"} <= names
