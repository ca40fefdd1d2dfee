"""Layers whose parameters the frameworks keep in different ways pair off, train alike, and are told apart by name."""

import functools

import numpy as np
import paddle
import pytest
import torch
from torch import nn as tn

from alignment import IncomparableError, Rule, align

pn = paddle.nn
CROSS_ENTROPY = (torch.nn.functional.cross_entropy, paddle.nn.functional.cross_entropy)
OPTIMIZERS = {
    "momentum": (
        lambda model: torch.optim.SGD(model.parameters(), lr=2**-5, momentum=0.875, weight_decay=2**-11),
        lambda model: paddle.optimizer.Momentum(2**-5, 0.875, model.parameters(), weight_decay=2**-11),
    ),
    "adamw": (
        lambda model: torch.optim.AdamW(model.parameters(), 2**-5, (0.875, 0.9375), 2**-17, weight_decay=2**-11),
        lambda model: paddle.optimizer.AdamW(
            2**-5, 0.875, 0.9375, 2**-17, parameters=model.parameters(), weight_decay=2**-11
        ),
    ),
}
RNG = np.random.default_rng(0)
SEQUENCES = RNG.normal(size=(4, 5, 8)).astype("float32")
IMAGES = RNG.normal(size=(4, 3, 6, 6)).astype("float32")


def model(base, forward, width=8, **layers):
    """A network of some layers and a classifier after them."""

    class Net(base):
        def __init__(self):
            super().__init__()
            for name, layer in layers.items():
                setattr(self, name, layer)
            self.fc = (tn if base is tn.Module else pn).Linear(width, 4)

        def forward(self, x):
            return self.fc(forward(self, x))

    return Net()


theirs, ours = functools.partial(model, tn.Module), functools.partial(model, pn.Layer)


def pair(reference, candidate, inputs=SEQUENCES, optimizer="momentum", **options):
    with torch.no_grad():
        for parameter in reference.parameters():  # biases of zeros and scales of ones would hide an exchange
            parameter.add_(0.25 * torch.from_numpy(RNG.normal(size=tuple(parameter.shape)).astype("float32")))
    return {
        "reference": reference, "candidate": candidate, "inputs": inputs, "labels": np.arange(4),
        "loss": CROSS_ENTROPY, "optimizer": OPTIMIZERS[optimizer], "train_steps": 2, **options,
    }  # fmt: skip


def first(self, x):
    return self.block(x)[0].mean(1)


def whole(self, x):
    return self.block(x).mean(1)


def twice(self, x):
    return self.block(x, 2 * x).mean(1)


CASES = {
    "attention": lambda: (
        theirs(lambda self, x: self.block(x, x, x)[0].mean(1), block=tn.MultiheadAttention(8, 2, batch_first=True)),
        ours(whole, block=pn.MultiHeadAttention(8, 2)),
    ),
    "attention of other widths": lambda: (
        theirs(
            lambda self, x: self.block(x, x[..., :6], x[..., :3], need_weights=False)[0].mean(1),
            block=tn.MultiheadAttention(8, 2, kdim=6, vdim=3, bias=False, batch_first=True),
        ),
        ours(
            lambda self, x: self.block(x, x[..., :6], x[..., :3]).mean(1),
            block=pn.MultiHeadAttention(8, 2, kdim=6, vdim=3, bias_attr=False),
        ),
    ),
    "encoder": lambda: (
        theirs(
            whole,
            block=tn.TransformerEncoder(
                tn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True, norm_first=True),
                2,
                tn.LayerNorm(8),
                enable_nested_tensor=False,
            ),
        ),
        ours(
            whole,
            block=pn.TransformerEncoder(
                pn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", normalize_before=True), 2, pn.LayerNorm(8)
            ),
        ),
    ),
    "decoder layer": lambda: (
        theirs(twice, block=tn.TransformerDecoderLayer(8, 2, 16, 0.0, batch_first=True)),
        ours(twice, block=pn.TransformerDecoderLayer(8, 2, 16, 0.0)),
    ),
    "lstm": lambda: (
        theirs(first, block=tn.LSTM(8, 4, 2, batch_first=True, bidirectional=True)),
        ours(first, block=pn.LSTM(8, 4, 2, "bidirect")),
    ),
    "lstm with projection": lambda: (
        theirs(first, width=4, block=tn.LSTM(8, 8, 2, batch_first=True, proj_size=4)),
        ours(first, width=4, block=pn.LSTM(8, 8, 2, proj_size=4)),
    ),
    "gru over time first": lambda: (
        theirs(lambda self, x: self.block(x.transpose(0, 1))[0].mean(0), block=tn.GRU(8, 8)),
        ours(lambda self, x: self.block(x.transpose([1, 0, 2]))[0].mean(0), block=pn.GRU(8, 8, time_major=True)),
    ),
    "rnn": lambda: (
        theirs(first, block=tn.RNN(8, 8, batch_first=True)),
        ours(first, block=pn.SimpleRNN(8, 8)),
    ),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("case", CASES)
def test_layers_that_keep_their_weights_otherwise_are_aligned(case, optimizer):
    torch.manual_seed(0)
    report = align(**pair(*CASES[case](), optimizer=optimizer))
    assert report.passed, report.text()
    assert {stage.name for stage in report.stages} >= {"config", "weights", "forward", "backward", "train", "guards"}
    compared = {record.name for record in report.stages[2].records}
    inner = {"encoder": {"block.layers.1.self_attn"}, "decoder layer": {"block.self_attn", "block.multihead_attn"}}
    assert inner.get(case, {"block"}) <= compared  # the output of the attention, of the cells


def test_the_parts_of_a_fused_weight_are_compared_by_name():
    torch.manual_seed(0)
    report = align(**pair(*CASES["attention"](), optimizer="adamw"))
    names = {(stage.name, record.name) for stage in report.stages for record in stage.records}
    for part in ("q_proj", "k_proj", "v_proj"):
        assert {
            ("config", f"block.{part}.weight.trainable"),
            ("config", f"block.{part}.bias.weight_decay"),
            ("weights", f"block.{part}.weight"),
            ("backward", f"block.{part}.bias"),
            ("train", f"block.{part}.weight moment2, step 2"),
        } <= names


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_scales_and_slopes_of_other_names(optimizer):
    def forward(self, x):
        return self.act(self.norm(self.conv(x))).mean((2, 3))

    torch.manual_seed(0)
    nets = (
        theirs(forward, 6, conv=tn.Conv2d(3, 6, 3), norm=tn.InstanceNorm2d(6, affine=True), act=tn.PReLU(6)),
        ours(forward, 6, conv=pn.Conv2D(3, 6, 3), norm=pn.InstanceNorm2D(6), act=pn.PReLU(6)),
    )
    report = align(**pair(*nets, IMAGES, optimizer))
    assert report.passed, report.text()
    nets[1].norm.scale.set_value(nets[1].norm.scale * 1.5)
    divergence = align(**pair(*nets, IMAGES, copy=False)).first_divergence
    assert divergence.stage == "weights"


class Fused(tn.Module):
    """timm's attention with its three projections in one Linear."""

    def __init__(self):
        super().__init__()
        self.qkv = tn.Linear(8, 24)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        return torch.softmax(q @ k.transpose(1, 2) / 8**0.5, -1) @ v


class Apart(pn.Layer):
    """The same with three."""

    def __init__(self):
        super().__init__()
        self.to_q, self.to_k, self.to_v = pn.Linear(8, 8), pn.Linear(8, 8), pn.Linear(8, 8)

    def forward(self, x):
        q, k, v = self.to_q(x), self.to_k(x), self.to_v(x)
        return paddle.nn.functional.softmax(q @ k.transpose([0, 2, 1]) / 8**0.5, axis=-1) @ v


class ApartInTorch(tn.Module):
    def __init__(self):
        super().__init__()
        self.to_q, self.to_k, self.to_v = tn.Linear(8, 8), tn.Linear(8, 8), tn.Linear(8, 8)

    def forward(self, x):
        q, k, v = self.to_q(x), self.to_k(x), self.to_v(x)
        return torch.softmax(q @ k.transpose(1, 2) / 8**0.5, -1) @ v


class FusedInPaddle(pn.Layer):
    def __init__(self):
        super().__init__()
        self.qkv = pn.Linear(8, 24)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, axis=-1)
        return paddle.nn.functional.softmax(q @ k.transpose([0, 2, 1]) / 8**0.5, axis=-1) @ v


SPLIT = {r"qkv\.(weight|bias)": Rule((r"to_q.\1", r"to_k.\1", r"to_v.\1"))}


@pytest.mark.parametrize(
    ("reference", "candidate", "fused"), [(Fused, Apart, Fused), (ApartInTorch, FusedInPaddle, FusedInPaddle)]
)
def test_a_caller_says_how_a_fused_layer_is_made_of_three(reference, candidate, fused):
    torch.manual_seed(0)
    nets = theirs(whole, block=reference()), ours(whole, block=candidate())
    with pytest.raises(IncomparableError, match=r"block\.qkv\.bias has no"):
        align(**pair(*nets))
    report = align(**pair(*nets, layers={fused: SPLIT}))
    assert report.passed, report.text()
    exchanged = {r"qkv\.(weight|bias)": Rule((r"to_k.\1", r"to_q.\1", r"to_v.\1"))}
    assert not align(**pair(*nets, layers={fused: exchanged})).passed


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Fused], "layers must be a dict of classes of layers, got "),
        ({"Fused": SPLIT}, "layers must be classes, each with a dict of patterns and Rules, got 'Fused'"),
        ({Fused: {"qkv": ("q", "k", "v")}}, "layers must be classes"),
        ({Fused: {r"qkv\.(weight|bias)": Rule(tuple(rf"{i}.\1" for i in range(5)))}}, "layers does not fit .*of Net"),
        ({Fused: {"qkv(": Rule()}}, "layers does not fit the parameters of Net"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused_in_one_line(layers, message):
    with pytest.raises(IncomparableError, match=message) as caught:
        align(**pair(theirs(whole, block=Fused()), ours(whole, block=Apart()), layers=layers))
    assert "\n" not in str(caught.value)


def test_one_wrong_projection_is_named():
    torch.manual_seed(0)
    both = pair(*CASES["attention"]())
    assert align(**both).passed
    block = both["candidate"].block
    block.k_proj.weight.set_value(block.q_proj.weight)
    divergence = align(**both, copy=False, steps=("weights",)).first_divergence
    assert divergence.place == "block.k_proj.weight"
    block.v_proj.bias.stop_gradient = True
    assert align(**both, steps=("config",)).first_divergence.place == "block.v_proj.bias.trainable"
    assert align(**both, steps=("backward",)).first_divergence.place == "block.v_proj.bias"
