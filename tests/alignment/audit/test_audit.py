"""The audit finds each constant that differs, names it, and finds nothing where nothing differs."""

from dataclasses import dataclass

import numpy as np
import paddle
import pytest
import torch
from torch import nn as tn

import models
from alignment.audit.layers import compare_models, layer_constants
from alignment.audit.optimizers import compare_optimizers, optimizer_constants
from alignment.audit.vocabulary import KINDS
from alignment.certification.twins import create_twin
from alignment.sides.pair import Optimization
from alignment.verdicts.record import Record
from configs import Recipe
from engine.optim import build_optimizer, learning_rate

pn = paddle.nn


@dataclass(frozen=True)
class Twins:
    """A layer in both frameworks, and slips: constants that differ -> arguments that change them in either."""

    torch: type
    paddle: type
    base: dict
    slips: dict
    paddle_base: dict | None = None

    def build(self, torch_changes, paddle_changes):
        paddle_base = self.base if self.paddle_base is None else self.paddle_base
        return self.torch(**{**self.base, **torch_changes}), self.paddle(**{**paddle_base, **paddle_changes})


def same(**changes):
    """Arguments that both frameworks call the same."""
    return changes, changes


CONV = {"in_channels": 4, "out_channels": 8, "kernel_size": 3}
CONV_SLIPS = {
    "in_channels": same(in_channels=2),
    "out_channels": same(out_channels=6),
    "kernel_size": same(kernel_size=5),
    "stride": same(stride=2),
    "padding": same(padding=1),
    "dilation": same(dilation=2),
    "groups": same(groups=2),
    "bias": ({"bias": False}, {"bias_attr": False}),
}
PLAIN_CONV_SLIPS = {**CONV_SLIPS, "padding padding_mode": same(padding=1, padding_mode="reflect")}
POOL_SLIPS = {
    "kernel_size": same(kernel_size=4),
    "stride": same(stride=1),
    "padding": same(padding=1),
    "ceil_mode": same(ceil_mode=True),
}
AVG_POOL = {"kernel_size": 3, "stride": 2, "padding": 1}
AVG_POOL_SLIPS = {
    **POOL_SLIPS,
    "padding": same(padding=0),
    "count_include_pad": ({"count_include_pad": False}, {"exclusive": True}),
}
AVG_SLIPS = {**AVG_POOL_SLIPS, "divisor_override": ({"divisor_override": 5}, {"divisor_override": 5})}
AVG_PADDLE = {**AVG_POOL, "exclusive": False}
NORM_SLIPS = {
    "affine bias": ({"affine": False}, {"weight_attr": False, "bias_attr": False}),
    "eps": ({"eps": 1e-3}, {"epsilon": 1e-3}),
}
BATCH_NORM_SLIPS = {
    **NORM_SLIPS,
    "num_features": same(num_features=5),
    "momentum": ({"momentum": 0.01}, {"momentum": 0.99}),
    "track_running_stats": ({"track_running_stats": False}, {"use_global_stats": False}),
}
LAYER_NORM_SLIPS = {
    "affine bias": ({"elementwise_affine": False}, {"weight_attr": False, "bias_attr": False}),
    "bias": ({"bias": False}, {"bias_attr": False}),
    "eps": ({"eps": 1e-6}, {"epsilon": 1e-6}),
    "normalized_shape": same(normalized_shape=[3, 4]),
}
GROUP_NORM_SLIPS = {
    **NORM_SLIPS,
    "num_groups": same(num_groups=4),
    "num_channels": same(num_channels=6),
}
EMBEDDING_SLIPS = {
    "num_embeddings": same(num_embeddings=9),
    "embedding_dim": same(embedding_dim=3),
    "padding_idx": same(padding_idx=1),
    "max_norm": same(max_norm=1.0),
    "norm_type": same(norm_type=1.0),
    "scale_grad_by_freq": same(scale_grad_by_freq=True),
}
UPSAMPLE_SLIPS = {
    "size scale_factor": same(size=[4, 4], scale_factor=None),
    "scale_factor": same(scale_factor=3),
    "mode": same(mode="bicubic"),
    "align_corners": same(align_corners=True),
}
RECURRENT = {"input_size": 4, "hidden_size": 6, "num_layers": 2, "batch_first": True}
RECURRENT_PADDLE = {"input_size": 4, "hidden_size": 6, "num_layers": 2}
RECURRENT_SLIPS = {
    "input_size": same(input_size=3),
    "hidden_size": same(hidden_size=5),
    "dropout": same(dropout=0.25),
    "batch_first": ({"batch_first": False}, {"time_major": True}),
}
P_SLIP = {"p": same(p=0.25)}
PLAIN_ACTIVATIONS = (
    "Identity", "ReLU", "ReLU6", "SELU", "Mish", "Hardswish", "Hardsigmoid", "Sigmoid", "LogSigmoid", "Tanh",
    "Tanhshrink", "Softsign",
)  # fmt: skip
PAD_SLIPS = {"padding": same(padding=2)}
TWINS = [
    *(Twins(getattr(tn, f"Conv{n}d"), getattr(pn, f"Conv{n}D"), CONV, PLAIN_CONV_SLIPS) for n in (1, 2, 3)),
    *(
        Twins(
            getattr(tn, f"ConvTranspose{n}d"),
            getattr(pn, f"Conv{n}DTranspose"),
            {**CONV, "stride": 3},
            {**CONV_SLIPS, "output_padding": same(output_padding=1)},
        )
        for n in (1, 2, 3)
    ),
    *(
        Twins(getattr(tn, f"MaxPool{n}d"), getattr(pn, f"MaxPool{n}D"), {"kernel_size": 3, "stride": 2}, POOL_SLIPS)
        for n in (1, 2, 3)
    ),
    Twins(tn.AvgPool1d, pn.AvgPool1D, AVG_POOL, AVG_POOL_SLIPS, AVG_PADDLE),
    *(Twins(getattr(tn, f"AvgPool{n}d"), getattr(pn, f"AvgPool{n}D"), AVG_POOL, AVG_SLIPS, AVG_PADDLE) for n in (2, 3)),
    *(
        Twins(
            getattr(tn, f"Adaptive{k}Pool{n}d"),
            getattr(pn, f"Adaptive{k}Pool{n}D"),
            {"output_size": 1},
            {"output_size": same(output_size=2)},
        )
        for k in ("Avg", "Max")
        for n in (1, 2, 3)
    ),
    *(
        Twins(
            getattr(tn, f"ConstantPad{n}d"),
            getattr(pn, f"Pad{n}D"),
            {"padding": 1, "value": 0.5},
            {**PAD_SLIPS, "value": same(value=1.0)},
        )
        for n in (1, 2, 3)
    ),
    Twins(tn.ZeroPad2d, pn.ZeroPad2D, {"padding": [1, 2, 3, 4]}, {"padding": same(padding=[1, 2, 4, 3])}),
    Twins(tn.ReflectionPad2d, pn.Pad2D, {"padding": 1}, PAD_SLIPS, {"padding": 1, "mode": "reflect"}),
    *(
        Twins(getattr(tn, f"BatchNorm{n}d"), getattr(pn, f"BatchNorm{n}D"), {"num_features": 4}, BATCH_NORM_SLIPS)
        for n in (1, 2, 3)
    ),
    Twins(tn.SyncBatchNorm, pn.SyncBatchNorm, {"num_features": 4}, {"eps": NORM_SLIPS["eps"]}),
    Twins(
        tn.BatchNorm2d,
        pn.BatchNorm,
        {"num_features": 4},
        {"eps": ({"eps": 1e-3}, {"epsilon": 1e-3})},
        {"num_channels": 4},
    ),
    Twins(tn.LayerNorm, pn.LayerNorm, {"normalized_shape": 4}, LAYER_NORM_SLIPS),
    Twins(
        tn.GroupNorm,
        pn.GroupNorm,
        {"num_groups": 2, "num_channels": 4},
        {**GROUP_NORM_SLIPS, "num_channels": same(num_channels=8)},
    ),
    *(
        Twins(
            getattr(tn, f"InstanceNorm{n}d"),
            getattr(pn, f"InstanceNorm{n}D"),
            {"num_features": 4, "affine": True},
            {"affine": NORM_SLIPS["affine bias"], "eps": NORM_SLIPS["eps"]},
            {"num_features": 4},
        )
        for n in (1, 2, 3)
    ),
    Twins(
        tn.LocalResponseNorm,
        pn.LocalResponseNorm,
        {"size": 5},
        {"size": same(size=3), "alpha": same(alpha=1e-3), "beta": same(beta=0.5), "k": same(k=2.0)},
    ),
    Twins(tn.Dropout, pn.Dropout, {"p": 0.5}, P_SLIP),
    Twins(tn.Dropout2d, pn.Dropout2D, {"p": 0.5}, P_SLIP),
    Twins(tn.Dropout3d, pn.Dropout3D, {"p": 0.5}, P_SLIP),
    Twins(tn.AlphaDropout, pn.AlphaDropout, {"p": 0.5}, P_SLIP),
    Twins(tn.FeatureAlphaDropout, pn.FeatureAlphaDropout, {"p": 0.5}, P_SLIP),
    *(Twins(getattr(tn, name), getattr(pn, name), {}, {}) for name in PLAIN_ACTIVATIONS),
    Twins(tn.SiLU, pn.Silu, {}, {}),
    Twins(tn.SiLU, pn.Swish, {}, {}),
    Twins(tn.LeakyReLU, pn.LeakyReLU, {}, {"negative_slope": same(negative_slope=0.2)}),
    Twins(tn.PReLU, pn.PReLU, {}, {"num_parameters": same(num_parameters=3)}),
    Twins(tn.ELU, pn.ELU, {}, {"alpha": same(alpha=0.5)}),
    Twins(tn.CELU, pn.CELU, {}, {"alpha": same(alpha=0.5)}),
    Twins(tn.GELU, pn.GELU, {}, {"approximate": ({"approximate": "tanh"}, {"approximate": True})}),
    Twins(tn.GLU, pn.GLU, {}, {"dim": ({"dim": 1}, {"axis": 1})}),
    Twins(tn.Softmax, pn.Softmax, {"dim": -1}, {"dim": ({"dim": 1}, {"axis": 1})}, {}),
    Twins(tn.LogSoftmax, pn.LogSoftmax, {"dim": -1}, {"dim": ({"dim": 1}, {"axis": 1})}, {}),
    Twins(tn.Softplus, pn.Softplus, {}, {"beta": same(beta=2), "threshold": same(threshold=10)}),
    Twins(tn.Hardshrink, pn.Hardshrink, {}, {"lambd": ({"lambd": 0.3}, {"threshold": 0.3})}),
    Twins(tn.Softshrink, pn.Softshrink, {}, {"lambd": ({"lambd": 0.3}, {"threshold": 0.3})}),
    Twins(
        tn.Hardtanh,
        pn.Hardtanh,
        {},
        {"min_val": ({"min_val": -2.0}, {"min": -2.0}), "max_val": ({"max_val": 2.0}, {"max": 2.0})},
    ),
    Twins(
        tn.Flatten,
        pn.Flatten,
        {},
        {"start_dim": ({"start_dim": 2}, {"start_axis": 2}), "end_dim": ({"end_dim": 2}, {"stop_axis": 2})},
    ),
    Twins(tn.PixelShuffle, pn.PixelShuffle, {"upscale_factor": 2}, {"upscale_factor": same(upscale_factor=3)}),
    Twins(
        tn.PixelUnshuffle, pn.PixelUnshuffle, {"downscale_factor": 2}, {"downscale_factor": same(downscale_factor=3)}
    ),
    Twins(tn.ChannelShuffle, pn.ChannelShuffle, {"groups": 2}, {"groups": same(groups=4)}),
    Twins(
        tn.Linear,
        pn.Linear,
        {"in_features": 4, "out_features": 5},
        {"in_features": same(in_features=3), "out_features": same(out_features=6), "bias": CONV_SLIPS["bias"]},
    ),
    Twins(tn.Embedding, pn.Embedding, {"num_embeddings": 6, "embedding_dim": 2}, EMBEDDING_SLIPS),
    Twins(
        tn.MultiheadAttention,
        pn.MultiHeadAttention,
        {"embed_dim": 8, "num_heads": 2, "kdim": 6, "vdim": 6},
        {
            "num_heads": same(num_heads=4),
            "kdim": same(kdim=5),
            "vdim": same(vdim=5),
            "dropout": same(dropout=0.25),
        },
    ),
    Twins(tn.GRU, pn.GRU, RECURRENT, RECURRENT_SLIPS, RECURRENT_PADDLE),
    Twins(tn.LSTM, pn.LSTM, RECURRENT, RECURRENT_SLIPS, RECURRENT_PADDLE),
    Twins(
        tn.RNN,
        pn.SimpleRNN,
        RECURRENT,
        {**RECURRENT_SLIPS, "nonlinearity": ({"nonlinearity": "relu"}, {"activation": "relu"})},
        RECURRENT_PADDLE,
    ),
    *(
        Twins(
            getattr(tn, f"Transformer{part}Layer"),
            getattr(pn, f"Transformer{part}Layer"),
            {"d_model": 8, "nhead": 2, "dim_feedforward": 16},
            {
                "norm_first": ({"norm_first": True}, {"normalize_before": True}),
                "activation": same(activation="gelu"),
            },
        )
        for part in ("Encoder", "Decoder")
    ),
    Twins(tn.Upsample, pn.Upsample, {"scale_factor": 2, "mode": "bilinear"}, UPSAMPLE_SLIPS),
    Twins(
        tn.UpsamplingNearest2d,
        pn.UpsamplingNearest2D,
        {"scale_factor": 2},
        {"scale_factor": same(scale_factor=3), "size scale_factor": same(size=[2, 2], scale_factor=None)},
    ),
    Twins(
        tn.UpsamplingBilinear2d,
        pn.UpsamplingBilinear2D,
        {"scale_factor": 2},
        {"scale_factor": same(scale_factor=3), "size scale_factor": same(size=[2, 2], scale_factor=None)},
    ),
]
CASES = [
    pytest.param(twins, set(names.split()), *changes, id=f"{twins.paddle.__name__}-{names}")
    for twins in TWINS
    for names, changes in twins.slips.items()
]
# Constants that only one framework has and that the tests below change by hand.
ONE_SIDED = {
    *((f"MaxPool{n}d", "dilation") for n in (1, 2, 3)),
    *((f"ConvTranspose{n}d", "padding_mode") for n in (1, 2, 3)),
    ("AvgPool1d", "divisor_override"),
    *((f"Pad{n}d", "mode") for n in (1, 2, 3)),
    ("BatchNorm", "use_global_stats"),
    ("BatchNorm", "act"),
    ("GroupNorm", "bias"),
    ("InstanceNorm", "track_running_stats"),
    ("Dropout", "mode"),
    ("Dropout", "axis"),
    ("Upsample", "align_mode"),
    ("MultiheadAttention", "add_zero_attn"),
    ("MultiheadAttention", "embed_dim"),
    ("LSTM", "proj_size"),
    *((kind, constant) for kind in ("GRU", "LSTM", "RNN") for constant in ("num_layers", "bidirectional")),
    ("Container", "length"),
    *((kind, "training") for kind in ("Dropout", "ChannelDropout", "AlphaDropout", "FeatureAlphaDropout")),
}


def failures(records: list[Record]) -> set[str]:
    return {record.name for record in records if not record.passed}


def frozen(layer: pn.Layer) -> set[str]:
    """What is told of weights that are not trained: up to Paddle 3.2 a GroupNorm keeps those that it is not to have."""
    if not isinstance(layer, pn.GroupNorm):
        return set()
    return {f"{name}.trainable" for name, value in layer._parameters.items() if not getattr(value, "trainable", True)}


@pytest.mark.parametrize("twins", TWINS, ids=lambda twins: twins.paddle.__name__)
def test_the_same_arguments_are_the_same_constants(twins):
    records = compare_models(*twins.build({}, {}))
    assert records
    assert not failures(records)


@pytest.mark.parametrize(("twins", "names", "torch_changes", "paddle_changes"), CASES)
def test_one_changed_constant_is_named(twins, names, torch_changes, paddle_changes):
    assert not failures(compare_models(*twins.build(torch_changes, paddle_changes)))
    assert failures(compare_models(*twins.build(torch_changes, {}))) == names
    theirs, ours = twins.build({}, paddle_changes)
    assert failures(compare_models(theirs, ours)) == names | frozen(ours)


def test_every_constant_of_the_vocabulary_is_changed_by_some_test():
    by_class = {name: kind.name for kind in KINDS for name in kind.torch}
    changed = {
        (by_class[twins.torch.__name__], name) for twins in TWINS for names in twins.slips for name in names.split()
    }
    everything = {(kind.name, constant) for kind in KINDS for constant in kind.constants}
    assert everything == changed | ONE_SIDED
    assert {kind.name for kind in KINDS} == {by_class[twins.torch.__name__] for twins in TWINS} | {"Container"}


@pytest.mark.parametrize(("theirs", "ours"), [(tn.GRU, pn.GRU), (tn.LSTM, pn.LSTM), (tn.RNN, pn.SimpleRNN)])
def test_cells_that_the_other_side_lacks_are_told_by_their_number(theirs, ours):
    plain, deep, both_ways = ({}, {"num_layers": 2}, {"bidirectional": True})
    left = {name: theirs(4, 6, batch_first=True, **options) for name, options in (("2", deep), ("both", both_ways))}
    assert failures(compare_models(left["2"], ours(4, 6, **plain))) == {"num_layers"}
    assert failures(compare_models(left["both"], ours(4, 6, **plain))) == {"bidirectional"}
    assert not failures(compare_models(left["both"], ours(4, 6, direction="bidirect")))
    assert failures(compare_models(left["2"], ours(4, 6, num_layers=3))) == {"num_layers", "2.cell"}


def test_constants_of_attention_and_of_projected_cells():
    ours = pn.MultiHeadAttention(8, 2)
    assert failures(compare_models(tn.MultiheadAttention(8, 2, add_zero_attn=True), ours)) == {"add_zero_attn"}
    assert {"embed_dim", "out_proj.in_features"} < failures(compare_models(tn.MultiheadAttention(6, 2), ours))
    theirs = tn.LSTM(4, 6, batch_first=True, proj_size=3)
    assert failures(compare_models(theirs, pn.LSTM(4, 6))) == {"proj_size"}
    assert not failures(compare_models(theirs, pn.LSTM(4, 6, proj_size=3)))


class Frozen(pn.BatchNorm2D):
    def train(self):
        self.training = False


class FrozenInTorch(tn.BatchNorm2d):
    def train(self, mode=True):
        return super().train(False)


class NeverDropping(pn.Dropout):
    def train(self):
        self.training = False


@pytest.mark.parametrize(
    ("left", "right", "names"),
    [
        (tn.MaxPool2d(3, dilation=2), pn.MaxPool2D(3), {"dilation"}),
        (tn.ReflectionPad2d(1), pn.Pad2D(1, mode="replicate"), {"mode"}),
        (tn.ReplicationPad2d(1), pn.Pad2D(1, mode="replicate"), set()),
        (tn.CircularPad2d(1), pn.Pad2D(1, mode="circular"), set()),
        (tn.BatchNorm2d(4), pn.BatchNorm2D(4, use_global_stats=True), {"use_global_stats"}),
        (tn.BatchNorm2d(4), Frozen(4), {"use_global_stats"}),
        (FrozenInTorch(4), pn.BatchNorm2D(4), {"use_global_stats"}),
        (FrozenInTorch(4), Frozen(4), set()),
        (FrozenInTorch(4), pn.BatchNorm2D(4, use_global_stats=True), set()),
        (tn.BatchNorm2d(4, momentum=None), pn.BatchNorm2D(4), {"momentum"}),
        (tn.BatchNorm2d(4), pn.BatchNorm(4, act="relu"), {"act"}),
        (tn.BatchNorm2d(4), pn.BatchNorm(4, use_global_stats=True), {"use_global_stats"}),
        (tn.BatchNorm2d(4), pn.BatchNorm(4, trainable_statistics=True), {"track_running_stats"}),
        (tn.SyncBatchNorm(4, affine=False), pn.SyncBatchNorm(4, weight_attr=False, bias_attr=False), set()),
        (tn.SyncBatchNorm(4, affine=False), pn.BatchNorm2D(4), {"affine", "bias"}),
        (tn.InstanceNorm2d(4, track_running_stats=True, affine=True), pn.InstanceNorm2D(4), {"track_running_stats"}),
        (tn.GroupNorm(2, 4), pn.GroupNorm(2, 4, bias_attr=False), {"bias"}),
        (tn.Dropout(0.5), pn.Dropout(0.5, mode="downscale_in_infer"), {"mode"}),
        (tn.Dropout(0.5), pn.Dropout(0.5, axis=0), {"axis"}),
        (tn.Dropout(0.5), NeverDropping(0.5), {"training"}),
        (tn.Upsample(None, 2, "bilinear"), pn.Upsample(None, 2, "bilinear", align_mode=1), {"align_mode"}),
        (tn.Sequential(tn.ReLU(), tn.ReLU()), pn.Sequential(pn.ReLU()), {"length"}),
        (tn.ModuleList([tn.ReLU()]), pn.LayerList([pn.ReLU(), pn.ReLU()]), {"length"}),
        (tn.ConvTranspose2d(4, 4, 3), pn.Conv2DTranspose(4, 4, 3), set()),
    ],
)  # fmt: skip
def test_constants_of_one_framework(left, right, names):
    assert failures(compare_models(left, right)) == names | frozen(right)


@pytest.mark.parametrize(
    ("torch_options", "paddle_options", "equal"),
    [
        ({"padding": "same"}, {"padding": "SAME"}, True),
        ({"padding": 1}, {"padding": "SAME"}, True),
        ({"padding": "valid"}, {"padding": "VALID"}, True),
        ({"padding": 0}, {"padding": "VALID"}, True),
        ({"padding": (1, 2)}, {"padding": [1, 2]}, True),
        ({"padding": (1, 2)}, {"padding": [1, 1, 2, 2]}, True),
        ({"padding": (1, 2)}, {"padding": [[0, 0], [0, 0], [1, 1], [2, 2]]}, True),
        ({"padding": (1, 2)}, {"padding": [[0, 0], [1, 1], [2, 2], [0, 0]], "data_format": "NHWC"}, True),
        ({"padding": (1, 2)}, {"padding": [2, 1]}, False),
        ({"padding": 1}, {"padding": [0, 1, 0, 1]}, False),
        ({"padding": 1, "stride": 2}, {"padding": "SAME", "stride": 2}, False),
        ({"padding": 1, "padding_mode": "circular"}, {"padding": 1, "padding_mode": "circular"}, True),
        ({"padding": 1, "padding_mode": "circular"}, {"padding": 2, "padding_mode": "circular"}, False),
    ],
)
def test_notations_of_padding(torch_options, paddle_options, equal):
    records = compare_models(tn.Conv2d(4, 4, 3, **torch_options), pn.Conv2D(4, 4, 3, **paddle_options))
    assert failures(records) == (set() if equal else {"padding"})


def test_padding_same_ignores_the_dilation_in_paddle_and_the_audit_knows():
    theirs, ours = tn.Conv2d(4, 4, 3, padding="same", dilation=2), pn.Conv2D(4, 4, 3, padding="SAME", dilation=2)
    assert failures(compare_models(theirs, ours)) == {"dilation", "padding"}
    plain = pn.Conv2D(4, 4, 3, padding=1)
    plain.set_state_dict(ours.state_dict())
    x = paddle.to_tensor(np.random.default_rng(0).normal(size=(1, 4, 6, 6)).astype("float32"))
    assert np.allclose(ours(x).numpy(), plain(x).numpy(), atol=1e-6)


def test_what_forward_uses_is_what_is_read():
    """Paddle's Conv2D keeps its padding twice; only `_updated_padding` has an effect."""
    layer = pn.Conv2D(4, 4, 3, padding=1)
    layer._padding = 7
    assert layer_constants(layer)[""].values["padding"] == (1, 1)
    layer._updated_padding = [2, 2]
    assert layer_constants(layer)[""].values["padding"] == (2, 2)


def test_counting_of_padding_is_no_difference_without_padding():
    assert not failures(compare_models(tn.AvgPool2d(2), pn.AvgPool2D(2)))
    assert failures(compare_models(tn.AvgPool2d(2, padding=1), pn.AvgPool2D(2, padding=1))) == {"count_include_pad"}


# Whole models

SETTINGS = {"num_classes": 5, "num_frames": 4}
MODELS = [
    ("tsn_tiny", {}),
    ("tsn_tiny", {"partial_bn": True}),
    ("tsm_tiny", {}),
    ("tsm_tiny", {"temporal_pool": True, "shift_place": "block", "shift_direction": "online"}),
    ("tsm_tiny", {"partial_bn": True}),
    ("mvf_tiny", {}),
    ("mvf_tiny", {"mvf_share": True, "mvf_use_hs": False, "mvf_mode": "TH"}),
    ("tsm_mobilenet_v2", {}),
]


def pair(name="mvf_tiny", **options):
    theirs = create_twin(name, **SETTINGS, **options)
    return theirs, models.create_model(name, **SETTINGS, **options)


@pytest.mark.parametrize(("name", "options"), MODELS)
def test_equal_models_have_no_differences(name, options):
    records = compare_models(*pair(name, **options))
    assert not failures(records)
    count = len({record.name for record in records})
    assert count == len(records) > 300
    assert all(record.kind == "constant" and record.values is not None for record in records)


def test_the_modes_of_the_layers_are_left_as_they_were():
    theirs, ours = pair()
    theirs.eval(), ours.eval()
    ours.cls_head.dropout.training = True
    compare_models(theirs, ours)
    assert not any(module.training for module in theirs.modules())
    assert [path for path, layer in ours.named_sublayers() if layer.training] == ["cls_head.dropout"]


def change(path, **attributes):
    """A function that sets attributes of the layer or parameter at a path."""

    def apply(model):
        target = model
        for part in path.split(".") if path else ():
            target = getattr(target, part)
        for name, value in attributes.items():
            setattr(target, name, value)

    return apply


def share_weight(model):
    model.backbone.layer1[0].conv2.weight = model.backbone.layer1[0].conv1.weight


def alike(path, **attribute):
    """A slip in an attribute that both frameworks' layers have."""
    (name,) = attribute
    return [(f"{path}.{name}".lstrip("."), change(path, **attribute), change(path, **attribute))]


# What happens to both models, one at a time, and the record that names it.
MODEL_SLIPS = [
    ("backbone.bn1.eps", change("backbone.bn1", eps=1e-3), change("backbone.bn1", _epsilon=1e-3)),
    ("backbone.bn1.momentum", change("backbone.bn1", momentum=0.9), change("backbone.bn1", _momentum=0.1)),
    ("backbone.conv1.stride", change("backbone.conv1", stride=(1, 1)), change("backbone.conv1", _stride=[1, 1])),
    *alike("backbone.layer3.0.conv1", num_frames=3),
    *alike("backbone.layer3.0.conv1", mode="TH"),
    *alike("backbone.layer3.0.conv1", channels=2),
    *alike("cls_head.dropout", p=0.4),
    *alike("", frame_divisor=2),
    ("backbone.bn1.weight.trainable", change("backbone.bn1.weight", requires_grad=False), change(
        "backbone.bn1.weight", stop_gradient=True)),
    ("backbone.layer1.0.conv1.weight.shared_with", share_weight, share_weight),
]  # fmt: skip


@pytest.mark.parametrize(("name", "in_torch", "in_paddle"), MODEL_SLIPS, ids=[slip[0] for slip in MODEL_SLIPS])
def test_one_change_of_a_model_is_named(name, in_torch, in_paddle):
    theirs, ours = pair()
    in_torch(theirs)
    assert name in failures(compare_models(theirs, ours))
    in_paddle(ours)
    assert not failures(compare_models(theirs, ours))
    theirs, ours = pair()
    in_paddle(ours)
    assert name in failures(compare_models(theirs, ours))


def test_both_values_are_in_the_record():
    theirs, ours = pair()
    ours.backbone.bn1._epsilon = 1e-3
    (record,) = [record for record in compare_models(theirs, ours) if not record.passed]
    assert record.values == (1e-5, 1e-3)
    assert record.reason == "0.001, the reference has 1e-05"


def test_a_parameter_of_another_type_is_named():
    theirs, ours = tn.Linear(2, 2).double(), pn.Linear(2, 2)
    assert failures(compare_models(theirs, ours)) == {"weight.dtype", "bias.dtype"}


def test_a_layer_that_one_side_lacks():
    theirs, ours = pair("mvf_tiny")
    plain = models.create_model("tsn_tiny", **SETTINGS)
    found = {record.name: record.reason for record in compare_models(theirs, plain) if not record.passed}
    assert found["backbone.layer3.0.conv1.shift_conv"] == "the candidate has none"
    assert found["backbone.layer3.0.conv1.bn"] == "the candidate has none"
    theirs = create_twin("tsn_tiny", **SETTINGS)
    found = {record.name: record.reason for record in compare_models(theirs, ours) if not record.passed}
    assert found["backbone.layer3.0.conv1.shift_conv"] == "the reference has none"


def test_functions_in_place_of_layers_are_no_differences():
    class Block(tn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.act = tn.Linear(2, 2), tn.ReLU()

    class FunctionalBlock(pn.Layer):
        def __init__(self):
            super().__init__()
            self.fc, self.drop = pn.Linear(2, 2), pn.Dropout(0.0)

    assert not failures(compare_models(Block(), FunctionalBlock()))


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (tn.Hardswish(), pn.Swish(), False),
        (tn.ReLU6(), pn.ReLU(), False),
        (tn.BatchNorm2d(4), pn.InstanceNorm2D(4), False),
        (tn.Conv2d(4, 4, 1), pn.Linear(4, 4), False),
        (tn.Identity(), pn.Dropout(0.0), True),
        (tn.Identity(), pn.Dropout(0.5), False),
        (tn.Sequential(), pn.Identity(), True),
        (tn.BatchNorm3d(4), pn.BatchNorm2D(4), True),  # the same but for the check of the input's rank
    ],
)
def test_kinds(left, right, equal):
    assert failures(compare_models(tn.Sequential(left), pn.Sequential(right))) == (set() if equal else {"0.class"})


def test_a_subclass_is_what_it_derives_from():
    class Normalized(tn.BatchNorm2d):
        pass

    assert layer_constants(Normalized(4))[""].kind == "BatchNorm"
    assert failures(compare_models(Normalized(4), pn.BatchNorm2D(4, epsilon=1e-3))) == {"eps"}


def test_other_names_on_the_other_side():
    class Theirs(tn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.norm, self.act = tn.Conv2d(3, 4, 3), tn.InstanceNorm2d(4, affine=True), tn.PReLU()

    class Ours(pn.Layer):
        def __init__(self):
            super().__init__()
            self.entry, self.norm, self.act = pn.Conv2D(3, 4, 3, stride=2), pn.InstanceNorm2D(4), pn.PReLU()

    rules = [lambda path: path.replace("stem.", "entry."), lambda path: path.replace("stem", "entry")]
    for rename in rules:  # written for tensors, and for layers
        assert failures(compare_models(Theirs(), Ours(), rename)) == {"stem.stride"}
        names = {record.name for record in compare_models(Theirs(), Ours(), rename)}
        assert {"stem.weight.trainable", "norm.weight.trainable", "act.weight.trainable"} <= names
    assert failures(compare_models(Theirs(), Ours())) == {"stem", "entry"}


# Optimizers

RECIPE = Recipe.of(model="tsm_tiny", num_classes=5, num_segments=4, lr=0.01, clip_norm=20.0, warmup_epochs=0.0)


def torch_sgd(model, recipe=RECIPE):
    """What engine.optim.build_optimizer builds, in PyTorch."""
    norms = {id(p) for m in model.modules() if isinstance(m, tn.BatchNorm2d | tn.BatchNorm3d) for p in m.parameters()}
    groups = []
    for name, parameter in model.named_parameters():
        is_norm, is_bias, is_last = id(parameter) in norms, name.endswith("bias"), "new_fc" in name
        factor = 1.0
        if recipe.training.lr_groups == "tsm" and not is_norm:
            factor = (5.0 if is_last else 1.0) * (2.0 if is_bias else 1.0)
        spared = (is_norm or is_bias) and (recipe.training.lr_groups == "tsm" or not recipe.training.decay_norm_bias)
        decay = 0.0 if spared else recipe.training.weight_decay
        rate = learning_rate(recipe, 0.0) * factor
        groups.append({"params": [parameter], "lr": rate, "factor": factor, "weight_decay": decay})
    momentum = {"momentum": recipe.training.momentum, "nesterov": recipe.training.nesterov}
    return Optimization(torch.optim.SGD(groups, lr=recipe.training.lr, **momentum), clip_norm=recipe.training.clip_norm)


def optimizers(recipe=RECIPE, paddle_recipe=None):
    theirs, ours = pair(recipe.network.model)
    return torch_sgd(theirs, recipe), Optimization(build_optimizer(ours, paddle_recipe or recipe)), theirs, ours


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lr_groups": "tsm"},
        {"lr_groups": "uniform"},
        {"decay_norm_bias": False},
        {"clip_norm": 0.0},
        {"nesterov": False, "momentum": 0.5},
        {"model": "mvf_tiny"},
    ],
)
def test_equal_optimizers_have_no_differences(changes):
    records = compare_optimizers(*optimizers(RECIPE.with_(**changes)))
    assert not failures(records)
    assert len(records) > 190


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"momentum": 0.8}, "optimizer.momentum"),
        ({"nesterov": False}, "optimizer.nesterov"),
        ({"lr": 0.02}, "optimizer.lr"),
        ({"lr_groups": "uniform"}, "cls_head.new_fc.bias.lr"),
        ({"weight_decay": 1e-3}, "backbone.conv1.weight.weight_decay"),
        ({"clip_norm": 0.0}, "optimizer.clip"),
        ({"clip_norm": 40.0}, "optimizer.clip_norm"),
    ],
)
def test_one_slip_of_a_recipe_is_named(changes, name):
    base = RECIPE.with_(lr_groups="tsm")
    changed = base.with_(**changes)
    assert name in failures(compare_optimizers(*optimizers(base, changed)))
    assert name in failures(compare_optimizers(*optimizers(changed, base)))


def test_decay_of_norms_is_named_by_parameter():
    spared, all_decay = RECIPE.with_(decay_norm_bias=False), RECIPE.with_(decay_norm_bias=True)
    for recipes in ((spared, all_decay), (all_decay, spared)):
        found = failures(compare_optimizers(*optimizers(*recipes)))
        assert "backbone.bn1.weight.weight_decay" in found
        assert "backbone.conv1.weight.weight_decay" not in found


def linear():
    return tn.Linear(3, 2), pn.Linear(3, 2)


SGD = {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.125}
PADDLE_SGD = {"learning_rate": 0.5, "momentum": 0.9, "weight_decay": 0.125}


def sgd_pair(torch_changes, paddle_changes):
    theirs, ours = linear()
    left = torch.optim.SGD(theirs.parameters(), **{**SGD, **torch_changes})
    right = paddle.optimizer.Momentum(parameters=ours.parameters(), **{**PADDLE_SGD, **paddle_changes})
    return left, right, theirs, ours


@pytest.mark.parametrize(
    ("torch_changes", "paddle_changes", "names"),
    [
        ({}, {}, set()),
        ({"dampening": 0.1}, {}, {"optimizer.dampening"}),
        ({"maximize": True}, {}, {"optimizer.maximize"}),
        ({}, {"weight_decay": paddle.regularizer.L2Decay(0.125)}, set()),
        ({}, {"weight_decay": paddle.regularizer.L1Decay(0.125)}, {"weight.weight_decay", "bias.weight_decay"}),
        ({}, {"weight_decay": None}, {"weight.weight_decay", "bias.weight_decay"}),
        ({"weight_decay": 0.0}, {"weight_decay": None}, set()),
        ({}, {"learning_rate": paddle.optimizer.lr.StepDecay(0.5, 10)}, set()),
        ({}, {"learning_rate": 0.25}, {"optimizer.lr", "weight.lr", "bias.lr"}),
    ],
)
def test_bare_optimizers(torch_changes, paddle_changes, names):
    assert failures(compare_optimizers(*sgd_pair(torch_changes, paddle_changes))) == names


@pytest.mark.parametrize(
    ("clip", "names"),
    [
        (pn.ClipGradByGlobalNorm(2.0), set()),
        (pn.ClipGradByGlobalNorm(1.0), {"optimizer.clip_norm"}),
        (pn.ClipGradByNorm(2.0), {"optimizer.clip"}),
        (pn.ClipGradByValue(2.0), {"optimizer.clip", "optimizer.clip_norm"}),
        (None, {"optimizer.clip", "optimizer.clip_norm"}),
    ],
)
def test_rules_of_clipping(clip, names):
    left, right, theirs, ours = sgd_pair({}, {"grad_clip": clip})
    assert failures(compare_optimizers(Optimization(left, clip_norm=2.0), right, theirs, ours)) == names


def test_a_parameter_that_is_not_clipped():
    left, right, theirs, ours = sgd_pair({}, {"grad_clip": pn.ClipGradByGlobalNorm(2.0)})
    ours.bias.need_clip = False
    assert failures(compare_optimizers(Optimization(left, clip_norm=2.0), right, theirs, ours)) == {"bias.clipped"}


def grouped(ours, clip=None):
    groups = [
        {"params": [ours.weight], "weight_decay": 0.125, "learning_rate": 1.0},
        {"params": [ours.bias], "weight_decay": 0.0, "learning_rate": 2.0},
    ]
    return paddle.optimizer.Momentum(0.5, 0.9, parameters=groups, grad_clip=clip)


def test_groups_of_both_frameworks_and_their_clipping():
    theirs, ours = linear()
    groups = [{"params": [theirs.weight]}, {"params": [theirs.bias], "weight_decay": 0.0, "lr": 1.0}]
    left = torch.optim.SGD(groups, **SGD)
    assert not failures(compare_optimizers(left, grouped(ours), theirs, ours))
    right = grouped(ours, pn.ClipGradByGlobalNorm(2.0))
    records = compare_optimizers(Optimization(left, clip_norm=2.0), right, theirs, ours)
    assert failures(records) == {"optimizer.clip"}  # Paddle takes the norm of each group by itself
    assert [record.values[1] for record in records if not record.passed] == ["norm of each group"]


def test_groups_are_read_before_and_after_a_step():
    """A step of Paddle's Momentum leaves the last group's settings in the optimizer."""
    _, ours = linear()
    optimizer = grouped(ours)
    before = optimizer_constants(optimizer, ours)
    ours(paddle.ones([1, 3])).sum().backward()
    optimizer.step()
    assert optimizer_constants(optimizer, ours) == before
    assert before["weight"] == {"optimized": True, "lr": 0.5, "weight_decay": 0.125}
    assert before["bias"] == {"optimized": True, "lr": 1.0, "weight_decay": 0}


def test_rates_at_the_first_step():
    theirs, ours = linear()
    left = torch.optim.SGD(
        [{"params": [theirs.weight], "factor": 1.0}, {"params": [theirs.bias], "factor": 2.0}], lr=9.0
    )
    ours.bias.optimize_attr["learning_rate"] = 2.0
    right = paddle.optimizer.SGD(7.0, ours.parameters())
    rates = (lambda step: 0.25 * (step + 1), lambda step: 0.25 * (step + 1), lambda step: 0.25 * step)
    equal = compare_optimizers(Optimization(left, rate=rates[0]), Optimization(right, rate=rates[1]), theirs, ours)
    assert not failures(equal)
    late = compare_optimizers(Optimization(left, rate=rates[0]), Optimization(right, rate=rates[2]), theirs, ours)
    assert failures(late) == {"optimizer.lr", "weight.lr", "bias.lr"}


def test_factors_are_seen_although_warm_up_starts_from_nothing():
    recipe = RECIPE.with_(warmup_epochs=2.0, lr_groups="tsm")
    left, right, theirs, ours = optimizers(recipe)
    left.rate = right.rate = lambda step: learning_rate(recipe, step / 4)
    left.steps = right.steps = 8
    assert left.rate(0) == 0
    assert not failures(compare_optimizers(left, right, theirs, ours))
    ours.cls_head.new_fc.bias.optimize_attr["learning_rate"] = 5.0
    assert failures(compare_optimizers(left, right, theirs, ours)) == {"cls_head.new_fc.bias.lr"}


def test_parameters_that_are_not_held_or_do_not_train():
    theirs, ours = linear()
    left = torch.optim.SGD(theirs.parameters(), **SGD)
    right = paddle.optimizer.Momentum(parameters=[ours.weight], **PADDLE_SGD)
    assert failures(compare_optimizers(left, right, theirs, ours)) == {"bias.optimized"}
    ours.bias.stop_gradient = True
    theirs.bias.requires_grad = False
    assert not failures(compare_optimizers(left, right, theirs, ours))


def test_an_optimizer_of_another_model():
    theirs, ours = linear()
    left = torch.optim.SGD(theirs.parameters(), **SGD)
    stale = paddle.optimizer.Momentum(parameters=pn.Linear(3, 2).parameters(), **PADDLE_SGD)
    found = failures(compare_optimizers(left, stale, theirs, ours))
    assert {"optimizer.strangers", "weight.optimized", "bias.optimized"} <= found


@pytest.mark.parametrize(
    ("torch_class", "torch_options", "paddle_class", "paddle_options", "names"),
    [
        ("Adam", {"weight_decay": 0.01}, "Adam", {"weight_decay": 0.01}, set()),
        ("Adam", {"betas": (0.9, 0.99)}, "Adam", {"beta2": 0.99}, set()),
        ("Adam", {}, "Adam", {"beta1": 0.8}, {"optimizer.betas"}),
        ("Adam", {"eps": 1e-7}, "Adam", {}, {"optimizer.eps"}),
        ("Adam", {"amsgrad": True}, "Adam", {}, {"optimizer.amsgrad"}),
        ("AdamW", {"weight_decay": 0.05}, "AdamW", {"weight_decay": 0.05}, set()),
        ("AdamW", {}, "AdamW", {"weight_decay": 0.05}, {"weight.weight_decay", "bias.weight_decay"}),
        ("AdamW", {}, "Adam", {"weight_decay": 0.01}, {"optimizer.class"}),
        ("AdamW", {}, "AdamW", {"apply_decay_param_fun": lambda name: ".b_" not in name}, {"bias.weight_decay"}),
        ("RMSprop", {"alpha": 0.95, "eps": 1e-6}, "RMSProp", {}, set()),
        ("RMSprop", {"alpha": 0.9, "eps": 1e-6}, "RMSProp", {}, {"optimizer.alpha"}),
        ("Adam", {}, "Momentum", {}, {"optimizer.class"}),
    ],
)
def test_other_optimizers(torch_class, torch_options, paddle_class, paddle_options, names):
    theirs, ours = linear()
    left = getattr(torch.optim, torch_class)(theirs.parameters(), lr=0.01, **torch_options)
    right = getattr(paddle.optimizer, paddle_class)(0.01, parameters=ours.parameters(), **paddle_options)
    assert failures(compare_optimizers(left, right, theirs, ours)) == names


def test_a_coupled_decay_beside_a_decoupled_one_is_no_number():
    theirs, ours = linear()
    ours.weight.regularizer = paddle.regularizer.L2Decay(0.125)
    right = paddle.optimizer.AdamW(0.01, parameters=ours.parameters())
    records = compare_optimizers(torch.optim.AdamW(theirs.parameters(), lr=0.01), right, theirs, ours)
    (record,) = [record for record in records if not record.passed]
    assert record.name == "weight.weight_decay"
    assert record.values[1] == "0.01 decoupled and 0.125 coupled"
