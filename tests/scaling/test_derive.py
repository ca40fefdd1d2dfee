"""Descendants: equal at sparsity 0, of the same shape outside, and what is left is what the rest computes alone."""

import copy

import numpy as np
import paddle
import pytest
import torch
from torch.nn.utils import prune

from models.temporal_module import TemporalModule, find_layer
from runtime.errors import UserError
from scaling.derive import derive, importance, kept_channels, rebuilt
from scaling.extract import extract
from scaling.job import SPARSITIES
from tests.scaling.test_extract import BLOCKS, build

QUICK = ("tsm_r50", "mvf_tiny", "tsm_mobilenet_v2", "i3d_tiny", "x3d_tiny", "unet_tiny")


def sized(name):
    return pytest.param(name, marks=() if name in QUICK else pytest.mark.whole)


def first_and_last(name):
    """A network in eval mode with statistics as after training, its first and its last block."""
    paddle.seed(1)
    model = build(name)
    for layer in model.sublayers():
        if hasattr(layer, "_variance"):
            layer._mean.set_value(0.1 * paddle.randn(layer._mean.shape))
            layer._variance.set_value(0.5 + paddle.rand(layer._variance.shape))
            layer.weight.set_value(0.5 + paddle.rand(layer.weight.shape))
            layer.bias.set_value(0.1 * paddle.randn(layer.bias.shape))
        if isinstance(layer, TemporalModule):
            layer.set_num_frames(4)
    model.eval()
    blocks = extract(model)
    return [(find_layer(model, block.path), block.groups) for block in (blocks[0], blocks[-1])]


def input_of(layer, groups):
    """Something that the block takes: as many channels as its first writer reads, of any size."""
    weight = find_layer(layer, groups[0].writer).weight
    sides = [6, 8, 8] if weight.ndim == 5 else [8, 8]
    return paddle.randn([4, weight.shape[1], *sides])


def without(layer, groups, sparsity):
    """The whole block, whose readers see nothing of the channels that would go."""
    whole, layer = layer, copy.deepcopy(layer)
    for group in groups:
        gone = np.setdiff1d(np.arange(group.channels), kept_channels(whole, group, sparsity))
        followers = [find_layer(layer, path) for path in group.followers]
        readers = [find_layer(layer, group.reader)]
        readers += [getattr(follower, follower.gate[0]) for follower in followers if hasattr(follower, "gate")]
        for reader in readers:
            weight = reader.weight.numpy()
            weight[:, gone] = 0
            reader.weight.set_value(weight)
    return layer


@pytest.mark.parametrize("name", [sized(name) for name in BLOCKS])
def test_a_descendant_is_the_block_without_the_channels_that_went(name):
    for layer, groups in first_and_last(name):
        x = input_of(layer, groups)
        whole = layer(x).numpy()
        np.testing.assert_array_equal(derive(layer, groups, 0.0)(x).numpy(), whole)
        before = {path: tensor.numpy() for path, tensor in layer.state_dict().items()}
        for sparsity in SPARSITIES[1:]:
            descendant = derive(layer, groups, sparsity)
            found, expected = descendant(x).numpy(), without(layer, groups, sparsity)(x).numpy()
            assert found.shape == whole.shape
            np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
            assert np.abs(found - whole).max() > 1e-3 * np.abs(whole).max()
            sizes = [sum(p.size for p in one.parameters()) for one in (descendant, layer)]
            assert sizes[0] < sizes[1]
            for group in groups:
                kept = max(1, group.channels - round(sparsity * group.channels))
                assert find_layer(descendant, group.writer).weight.shape[0] == kept
        assert all((tensor.numpy() == before[path]).all() for path, tensor in layer.state_dict().items())


@pytest.mark.parametrize("sparsity", [0.0, 0.05, 0.3, 0.5, 0.6, 0.8])
@pytest.mark.parametrize("name", ["tsm_r50", "i3d_tiny", "tsm_mobilenet_v2"])
def test_the_channels_that_stay_are_those_of_pytorch(name, sparsity):
    """`prune.ln_structured` with n=1, on all weights that write a channel."""
    for layer, groups in first_and_last(name):
        for group in groups:
            layers = [find_layer(layer, path) for path in (group.writer, *group.followers)]
            weights = [one.weight.numpy() for one in layers if one.weight.ndim > 1]
            theirs = torch.nn.Linear(1, group.channels)
            rows = np.concatenate([weight.reshape(len(weight), -1) for weight in weights], axis=1)
            theirs.weight = torch.nn.Parameter(torch.from_numpy(rows.copy()))
            prune.ln_structured(theirs, "weight", amount=sparsity, n=1, dim=0)
            kept = theirs.weight_mask[:, 0].numpy().nonzero()[0]
            np.testing.assert_array_equal(kept_channels(layer, group, sparsity), kept)


@pytest.mark.parametrize("name", [sized(name) for name in BLOCKS])
def test_a_descendant_is_rebuilt_from_its_weights(name):
    for layer, groups in first_and_last(name):
        before = {path: tensor.numpy() for path, tensor in layer.state_dict().items()}
        descendant = derive(layer, groups, 0.6, 2)
        weights = {path: tensor.numpy() + 0.01 for path, tensor in descendant.state_dict().items()}
        made = rebuilt(layer, groups, 0.6, 2, weights)
        for path, tensor in descendant.state_dict().items():
            tensor.set_value(weights[path])
        x = input_of(layer, groups)
        np.testing.assert_array_equal(made(x).numpy(), descendant(x).numpy())
        trained = [
            [(path, p.shape) for path, p in one.named_parameters() if not p.stop_gradient] for one in (made, descendant)
        ]
        assert trained[0] == trained[1]
        for one, other in zip(made.sublayers(True), descendant.sublayers(True), strict=True):
            numbers = [{k: v for k, v in vars(side).items() if isinstance(v, int)} for side in (one, other)]
            assert numbers[0] == numbers[1]
        for tensor in made.state_dict().values():
            tensor.set_value(tensor + 1)
        for path, tensor in layer.state_dict().items():
            np.testing.assert_array_equal(tensor.numpy(), before[path])


def test_weights_of_another_descendant_make_none():
    layer, groups = first_and_last("tsm_tiny")[0]
    weights = {path: tensor.numpy() for path, tensor in derive(layer, groups, 0.6).state_dict().items()}
    assert rebuilt(layer, groups, 0.6, 1, weights) is not None
    assert rebuilt(layer, groups, 0.3, 1, weights) is None
    assert rebuilt(layer, groups, 0.6, 1, {**weights, "more": np.zeros(1)}) is None
    weights.popitem()
    assert rebuilt(layer, groups, 0.6, 1, weights) is None


def test_one_channel_stays_of_each_group():
    layer, groups = first_and_last("mvf_tiny")[0]
    assert len(kept_channels(layer, groups[0], 0.999)) == 1
    best = importance(layer, groups[0]).argmax()
    assert kept_channels(layer, groups[0], 0.999).tolist() == [best]


def test_what_stays_is_a_multiple_where_that_is_asked_for():
    """Of 16 channels, and of 64; and what stays is still the best."""
    for layer, groups in (first_and_last("mvf_tiny")[0], first_and_last("tsm_r50")[0]):
        group = groups[0]
        counts = [len(kept_channels(layer, group, sparsity, 8)) for sparsity in (0.0, 0.1, 0.3, 0.6, 0.9)]
        assert counts == ([16, 16, 8, 8, 8] if group.channels == 16 else [64, 56, 48, 24, 8])
        best = importance(layer, group).argmax()
        assert best in kept_channels(layer, group, 0.9, 8)
        assert derive(layer, groups, 0.6, 8)(input_of(layer, groups)).shape == layer(input_of(layer, groups)).shape


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, float("nan")])
def test_a_sparsity_out_of_its_range_is_refused(sparsity):
    layer, groups = first_and_last("mvf_tiny")[0]
    with pytest.raises(UserError, match="a sparsity must be from 0 to below 1"):
        derive(layer, groups, sparsity)


def test_a_descendant_trains():
    layer, groups = first_and_last("tsm_mobilenet_v2")[0]
    descendant = derive(layer, groups, 0.6)
    descendant.train()
    x = input_of(layer, groups)
    before = [parameter.numpy().copy() for parameter in descendant.parameters()]
    optimizer = paddle.optimizer.Adam(3e-4, parameters=descendant.parameters())
    losses = []
    for _ in range(5):
        loss = paddle.nn.functional.mse_loss(descendant(x), layer(x).detach())
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(float(loss))
    assert losses[-1] < losses[0]
    moved = [not np.array_equal(old, new.numpy()) for old, new in zip(before, descendant.parameters(), strict=True)]
    assert sum(moved) >= 9  # weights, and weights and biases of three norms; statistics besides
