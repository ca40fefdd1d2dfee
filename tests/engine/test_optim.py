"""Learning rate, groups and steps, against hand-computed values and PyTorch's SGD."""

import numpy as np
import paddle
import pytest
import torch
from paddle import nn

from configs import Recipe, get_preset
from engine.optim import build_optimizer, learning_rate, parameter_groups, train_mode
from models import from_recipe


def test_paddlemvf_schedule():
    recipe = Recipe()  # .00125 at 16 clips, warm-up of 5 epochs to the cosine's value there, 50 epochs
    assert learning_rate(recipe, 0) == 0
    assert learning_rate(recipe, 5) == pytest.approx(0.00121941, abs=1e-8)
    assert learning_rate(recipe, 2.5) == pytest.approx(0.00121941 / 2, abs=1e-8)
    assert learning_rate(recipe, 25) == pytest.approx(0.000625)
    assert learning_rate(recipe, 50) == pytest.approx(0, abs=1e-12)


def test_step_schedule_with_warm_up():
    recipe = get_preset("kinetics400_tsm_r50").with_(scale_lr=False)
    assert learning_rate(recipe, 0) == pytest.approx(0.002)
    assert learning_rate(recipe, 2.5) == pytest.approx(0.011)
    assert [learning_rate(recipe, e) for e in (5, 24.99, 25, 45)] == pytest.approx([0.02, 0.02, 0.002, 0.0002])


class Net(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(3, 4, 3)
        self.bn = nn.BatchNorm2D(4)
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 2)


def grouped(recipe):
    net = Net()
    names = {id(p): name for name, p in net.named_parameters()}
    return {
        (group["learning_rate"], group["weight_decay"]): [names[id(p)] for p in group["params"]]
        for group in parameter_groups(net, recipe)
    }


def test_uniform_groups_decay_everything_or_spare_norm_and_bias():
    everything = [
        "conv.weight",
        "conv.bias",
        "bn.weight",
        "bn.bias",
        "first.weight",
        "first.bias",
        "last.weight",
        "last.bias",
    ]
    assert grouped(Recipe()) == {(1.0, 5e-4): everything}
    assert grouped(Recipe.of(decay_norm_bias=False)) == {
        (1.0, 5e-4): ["conv.weight", "first.weight", "last.weight"],
        (1.0, 0.0): ["conv.bias", "bn.weight", "bn.bias", "first.bias", "last.bias"],
    }


def test_tsm_groups():
    assert grouped(Recipe.of(lr_groups="tsm", weight_decay=1e-4)) == {
        (1.0, 1e-4): ["conv.weight", "first.weight"],
        (2.0, 0.0): ["conv.bias", "first.bias"],
        (1.0, 0.0): ["bn.weight", "bn.bias"],
        (5.0, 1e-4): ["last.weight"],
        (10.0, 0.0): ["last.bias"],
    }


def test_frozen_parameters_are_in_no_group():
    net = Net()
    net.bn.weight.stop_gradient = True
    ids = {id(p) for group in parameter_groups(net, Recipe()) for p in group["params"]}
    assert id(net.bn.weight) not in ids
    assert id(net.bn._mean) not in ids
    assert len(ids) == 7


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_steps_equal_pytorch(nesterov, clip):
    """Ten steps in float64 with constants that float32 holds exactly: groups, decay, momentum, global clip, rate."""
    recipe = Recipe.of(
        lr_groups="tsm",
        weight_decay=2**-5,
        momentum=0.875,
        nesterov=nesterov,
        clip_norm=clip,
        lr=2**-3,
        warmup_epochs=0.0,
    )
    paddle.set_default_dtype("float64")
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    paddle.set_default_dtype("float32")
    twins = {name: torch.tensor(p.numpy(), requires_grad=True) for name, p in net.named_parameters()}
    rates = {"0.weight": (1, 2**-5), "0.bias": (2, 0), "1.weight": (5, 2**-5), "1.bias": (10, 0)}
    optimizer = build_optimizer(net, recipe)
    reference = torch.optim.SGD(
        [{"params": [twins[n]], "lr": 2**-3 * f, "weight_decay": d} for n, (f, d) in rates.items()],
        lr=2**-3, momentum=0.875, nesterov=nesterov,
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(8, 3))
    for step in range(10):
        rate = learning_rate(recipe, step)
        optimizer.set_lr(rate)
        for group, (factor, _) in zip(reference.param_groups, rates.values(), strict=True):
            group["lr"] = rate * factor
        net(paddle.to_tensor(x)).square().sum().backward()
        hidden = torch.tensor(x) @ twins["0.weight"] + twins["0.bias"]
        (hidden @ twins["1.weight"] + twins["1.bias"]).square().sum().backward()
        if clip:
            norm = torch.linalg.vector_norm(torch.cat([p.grad.flatten() for p in twins.values()]))
            for p in twins.values():  # by the definition: clip_grad_norm_ adds 1e-6 to the norm, Paddle does not
                p.grad *= min(1.0, clip / float(norm))
        optimizer.step()
        reference.step()
        optimizer.clear_grad()
        reference.zero_grad()
    for name, parameter in net.named_parameters():
        np.testing.assert_allclose(parameter.numpy(), twins[name].detach().numpy(), rtol=1e-9)


@pytest.mark.parametrize("model_name", ["tsm_tiny", "slowfast_tiny", "x3d_tiny"])
def test_a_frozen_backbone_keeps_weights_and_statistics_and_gives_the_features_of_testing(model_name):
    recipe = get_preset("demo_tsm").with_(model=model_name, num_classes=3, frozen="backbone", lr=1.0, dropout=0.0)
    paddle.seed(0)
    model = from_recipe(recipe)
    before = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    clips = paddle.randn([2, recipe.clip.num_frames, 3, 32, 32])
    model.eval()
    tested = model(clips).numpy()
    train_mode(model, recipe)
    optimizer = build_optimizer(model, recipe)
    optimizer.set_lr(1.0)
    logits = model(clips)
    np.testing.assert_array_equal(logits.numpy(), tested)
    logits.square().sum().backward()
    optimizer.step()
    changed = {name for name, tensor in model.state_dict().items() if (tensor.numpy() != before[name]).any()}
    assert changed
    assert all(name.startswith("cls_head.") for name in changed)
    train_mode(model, recipe.with_(frozen="none"))
    assert all(layer.training for layer in model.sublayers())
