"""Metrics, loss, parameter groups and learning rate: ours equal PyTorch twins that were written another way."""

import math

import numpy as np
import paddle
import pytest
import torch

import models
from alignment.certification.twins import create_twin
from alignment.reference import metrics as reference_metrics
from alignment.reference import objective as reference_objective
from alignment.reference import optim as reference_optim
from configs import Recipe, get_preset
from engine.optim import build_optimizer, learning_rate, parameter_groups
from tasks import accuracy as metrics
from tasks.cross_entropy import Mix, cross_entropy
from tasks.cross_entropy import distributions as targets

GROUPING = ("weight_decay", "decay_norm_bias", "lr_groups")
SCHEDULE = ("schedule", "max_epochs", "milestones", "gamma", "warmup_epochs", "warmup_ratio")


def options(recipe, names):
    return {name: recipe.options()[name] for name in names}


# ---------------------------------------------------------------------------------------------------------------------
# Metrics


def predictions(seed, samples=40, classes=7, ties=False, absent=()):
    """Scores float64 [N, K] and labels [N]; `ties` rounds the scores so that many are equal."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, (samples, classes)) / 2 if ties else rng.normal(size=(samples, classes))
    labels = rng.choice([label for label in range(classes) if label not in absent], samples)
    return scores.astype(np.float64), labels.astype(np.int64)


CASES = {
    "plain": {},
    "ties": {"ties": True},
    "absent classes": {"absent": (0, 3)},
    "ties and absent classes": {"ties": True, "absent": (6,)},
    "one class only": {"absent": (0, 1, 2, 4, 5, 6)},
    "fewer classes than five": {"classes": 3, "ties": True},
    "one sample": {"samples": 1},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(5))
def test_metrics(case, seed):
    scores, labels = predictions(seed, **CASES[case])
    tensors = torch.tensor(scores), torch.tensor(labels)
    for k in (1, 2, 5, 100):
        assert metrics.top_k_accuracy(scores, labels, k) == reference_metrics.top_k_accuracy(*tensors, k)
    ours, theirs = metrics.confusion_matrix(scores, labels), reference_metrics.confusion_matrix(*tensors)
    assert np.array_equal(ours, theirs.numpy())
    recalls = reference_metrics.class_accuracy(theirs)
    assert recalls.dtype == torch.float64
    np.testing.assert_array_equal(metrics.class_accuracy(ours), recalls.numpy())  # NaN in the same places
    assert metrics.summarize(scores, labels) == pytest.approx(reference_metrics.summarize(scores, labels), rel=1e-15)


def test_metrics_by_hand():
    scores = torch.tensor([[0.5, 0.5, 0.1], [0.2, 0.9, 0.9], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    labels = torch.tensor([0, 2, 0, 0])  # a tie lost, a tie won, right, wrong; nothing has label 1
    assert reference_metrics.top_k_accuracy(scores, labels, 1) == 0.5
    assert reference_metrics.top_k_accuracy(scores, labels, 2) == 0.75
    assert reference_metrics.confusion_matrix(scores, labels).tolist() == [[1, 1, 1], [0, 0, 0], [0, 0, 1]]
    assert math.isnan(reference_metrics.class_accuracy(torch.tensor([[1, 0], [0, 0]]))[1])
    assert reference_metrics.summarize(scores, labels)["mean_acc"] == pytest.approx((1 / 3 + 1) / 2)


# ---------------------------------------------------------------------------------------------------------------------
# Loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("weight", [1.0, 0.3, 0.0])
def test_loss_and_its_gradient(smoothing, weight):
    rng = np.random.default_rng(3)
    logits, labels, order = rng.normal(size=(8, 6)) * 4, rng.integers(0, 6, 8), rng.permutation(8)
    ours, theirs = paddle.to_tensor(logits, stop_gradient=False), torch.tensor(logits, requires_grad=True)
    mix = Mix(weight, order)
    loss = cross_entropy(ours, mix(targets(paddle.to_tensor(labels), 6, smoothing, "float64")))
    expected = reference_objective.mixed_cross_entropy(theirs, torch.tensor(labels), weight, order, smoothing)
    assert float(loss) == pytest.approx(expected.item(), rel=1e-14)
    loss.backward()
    expected.backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=0, atol=1e-15)
    plain = reference_objective.cross_entropy(theirs, torch.tensor(labels), smoothing)
    assert plain.item() == pytest.approx(
        float(cross_entropy(ours, targets(paddle.to_tensor(labels), 6, smoothing, "float64"))), rel=1e-14
    )


def test_mixed_inputs():
    rng = np.random.default_rng(0)
    clips, order = rng.normal(size=(4, 2, 3, 5, 5)), np.array([2, 0, 3, 1])
    ours = Mix(0.3, order)(paddle.to_tensor(clips)).numpy()
    theirs = reference_objective.mix(torch.tensor(clips), 0.3, torch.tensor(order)).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-15)
    np.testing.assert_allclose(theirs[0], 0.3 * clips[0] + 0.7 * clips[2], rtol=0, atol=1e-15)


# ---------------------------------------------------------------------------------------------------------------------
# Optimizer


def grouped(parameters, groups, factor):
    """{name: (factor, decay)} of groups over parameters by name."""
    names = {id(parameter): name for name, parameter in parameters}
    return {names[id(p)]: (group[factor], group["weight_decay"]) for group in groups for p in group["params"]}


@pytest.mark.parametrize("name", ["tsn_tiny", "tsm_tiny", "mvf_tiny", "tsm_mobilenet_v2"])
@pytest.mark.parametrize("partial_bn", [False, True])
@pytest.mark.parametrize(
    "changes",
    [{}, {"decay_norm_bias": False}, {"lr_groups": "tsm"}, {"lr_groups": "tsm", "decay_norm_bias": False}],
    ids=str,
)
def test_groups_of_the_models(name, partial_bn, changes):
    recipe = Recipe.of(weight_decay=2**-11, **changes)
    settings = {"num_classes": 5, "num_frames": 4, "partial_bn": partial_bn}
    ours, theirs = models.create_model(name, **settings), create_twin(name, **settings)
    expected = reference_optim.parameter_groups(theirs, **options(recipe, GROUPING))
    found = parameter_groups(ours, recipe)
    assert all(group["params"] for group in expected)
    expected = grouped(theirs.named_parameters(), expected, "factor")
    assert grouped(ours.named_parameters(), found, "learning_rate") == expected
    trainable = sum(parameter.requires_grad for parameter in theirs.parameters())
    assert len(expected) == trainable


class Layers(torch.nn.Module):
    """Every kind of layer that a group is known for, with biases."""

    def __init__(self):
        super().__init__()
        self.conv, self.conv3d = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv3d(3, 4, 3)
        self.bn, self.first, self.last = torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 5), torch.nn.Linear(5, 2)


def test_tsm_groups_by_hand():
    net = Layers()
    groups = reference_optim.parameter_groups(net, weight_decay=0.5, lr_groups="tsm")
    weight, bias, norm = (1.0, 0.5), (2.0, 0.0), (1.0, 0.0)
    assert grouped(net.named_parameters(), groups, "factor") == {
        "conv.weight": weight, "conv.bias": bias, "conv3d.weight": weight, "conv3d.bias": bias, "bn.weight": norm,
        "bn.bias": norm, "first.weight": weight, "first.bias": bias, "last.weight": (5.0, 0.5),
        "last.bias": (10.0, 0.0),
    }  # fmt: skip


def test_a_layer_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="LayerNorm has parameters that no group is known for"):
        reference_optim.parameter_groups(torch.nn.Sequential(torch.nn.LayerNorm(3)), weight_decay=0.0)


@pytest.mark.parametrize("lr_groups", ["uniform", "tsm"])
@pytest.mark.parametrize("nesterov", [False, True])
def test_optimizers_step_alike(lr_groups, nesterov):
    """Five steps in float64 with constants that float32 holds exactly."""
    recipe = Recipe.of(
        lr_groups=lr_groups, nesterov=nesterov, lr=2**-4, momentum=0.875, weight_decay=2**-5, clip_norm=0.0,
        warmup_epochs=0.0, decay_norm_bias=False,
    )  # fmt: skip
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)).double()
    ours = paddle.nn.Sequential(paddle.nn.Linear(3, 4), paddle.nn.Linear(4, 2)).to(dtype="float64")
    for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
        mine.set_value(paddle.to_tensor(yours.detach().numpy().T.copy()))
    optimizer = build_optimizer(ours, recipe)
    expected = reference_optim.build_optimizer(
        theirs, lr=recipe.training.lr, momentum=recipe.training.momentum, nesterov=nesterov, **options(recipe, GROUPING)
    )  # fmt: skip
    assert all(group["lr"] == recipe.training.lr * group["factor"] for group in expected.param_groups)
    x = np.random.default_rng(0).normal(size=(8, 3))
    for step in range(5):
        rate = learning_rate(recipe, step)
        optimizer.set_lr(rate)
        for group in expected.param_groups:
            group["lr"] = rate * group["factor"]
        ours(paddle.to_tensor(x)).square().mean().backward()
        theirs(torch.tensor(x)).square().mean().backward()
        for either in (optimizer, expected):
            either.step()
        optimizer.clear_grad()
        expected.zero_grad()
    for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(mine.numpy(), yours.detach().numpy().T, rtol=0, atol=1e-14)


RECIPES = {
    "PaddleMVF": Recipe(),
    "K400 TSM": get_preset("kinetics400_tsm_r50"),
    "cosine without warm-up": Recipe.of(warmup_epochs=0.0, max_epochs=7),
    "warm-up of half an epoch": Recipe.of(warmup_epochs=0.5, warmup_ratio=0.25, scale_lr=False),
    "three milestones": Recipe.of(schedule="step", milestones=(2, 5, 9), gamma=0.3, max_epochs=12, warmup_epochs=0.0),
    "milestone within the warm-up": Recipe.of(schedule="step", milestones=(2, 8), warmup_epochs=4.0, warmup_ratio=0.1),
    "larger batch": Recipe.of(batch_size=24, accumulate=4),
}


@pytest.mark.parametrize("name", RECIPES)
def test_learning_rates(name):
    recipe = RECIPES[name]
    epochs = np.concatenate(
        [np.arange(0, recipe.training.max_epochs + 1), np.linspace(0, recipe.training.max_epochs, 333)]
    ).tolist()
    ours = [learning_rate(recipe, epoch) for epoch in epochs]
    theirs = [
        reference_optim.learning_rate(epoch, lr=recipe.training.scaled_lr, **options(recipe, SCHEDULE))
        for epoch in epochs
    ]
    np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-18)
    assert len({round(rate / recipe.training.scaled_lr, 9) for rate in theirs}) > 2  # the rate does change
