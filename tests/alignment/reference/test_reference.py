"""Every model equals its PyTorch twin, in every option: logits in eval and train mode, statistics, gradients."""

from dataclasses import replace

import numpy as np
import paddle
import pytest
import torch

import models
from alignment.certification.twins import create_twin
from alignment.reference.backbones import build_backbone
from alignment.reference.multi_view_fusion import MultiViewFusion
from alignment.reference.temporal_shift import insert_temporal_shift, shift
from alignment.sides.state import read_weights, weight_parts, write_weights
from configs.networks import FAMILIES
from runtime.errors import UserError

# Paddle stores the constants of BatchNorm in float32, which holds these exactly.
EPSILON, MOMENTUM = 2.0**-17, 0.875
OPTIONS = {
    "tsn_tiny": [{}, {"partial_bn": True}, {"consensus": "scores", "norm_eps": 2.0**-10}],
    "tsm_tiny": [
        {},
        {"shift_direction": "paddle"},
        {"shift_direction": "paddle", "shift_div": 6},
        {"shift_direction": "mit", "shift_div": 6},
        {"shift_direction": "online"},
        {"shift_place": "block", "shift_div": 4},
        {"temporal_pool": True},
        {"temporal_pool": True, "shift_place": "block", "shift_direction": "online"},
        {"partial_bn": True},
        {"consensus": "features"},
    ],
    "mvf_tiny": [
        {},
        {"as_published": True},
        {"mvf_mode": "TH"},
        {"mvf_mode": "TH", "as_published": True, "mvf_alpha": 0.5},
        {"mvf_mode": "T", "mvf_use_hs": False},
        {"mvf_share": True, "mvf_stages": (1, 1, 1, 1)},
        {"mvf_share": True, "as_published": True},
        {"mvf_share": True, "mvf_mode": "TH", "mvf_use_hs": False},
        {"mvf_alpha": 1.0},
        {"partial_bn": True},
        {"consensus": "features", "norm_eps": 2.0**-10},
    ],
    "tsn_mobilenet_v2": [{"same_padding": True, "norm_eps": 2.0**-10}],  # sides of 48, 24, 12, 6 and 3
    "tsm_mobilenet_v2": [{}, {"shift_place": "block", "shift_direction": "online"}, {"same_padding": True}],
    "mvf_mobilenet_v2": [{}, {"same_padding": True}],
}
CASES = [pytest.param(name, options, id=f"{name}-{options}") for name in OPTIONS for options in OPTIONS[name]]


@pytest.fixture(autouse=True)
def default_type():
    yield
    paddle.set_default_dtype("float32")


def twins(name, options, dtype="float64", num_frames=4):
    """A Paddle model with weights and statistics that are nowhere 0 or 1, and its twin with the same."""
    paddle.set_default_dtype(dtype)
    settings = {"num_classes": 5, "num_frames": num_frames, "dropout": 0.0, "norm_eps": EPSILON, **options}
    as_published = settings.pop("as_published", False)
    ours = models.create_model(name, **settings)
    if as_published:
        models.compute_as_published(ours)
    theirs = create_twin(name, **settings).to(getattr(torch, dtype))
    rng = np.random.default_rng(0)
    arrays = {
        key: (array + (0.2 * rng.random(array.shape) if array.ndim == 1 else 0)).astype(dtype)
        for key, array in read_weights(ours).items()
    }
    arrays["cls_head.new_fc.weight"] = rng.normal(0, 0.1, arrays["cls_head.new_fc.weight"].shape).astype(dtype)
    write_weights(ours, arrays)
    write_weights(theirs, read_weights(ours))
    for layer in [*ours.sublayers(), *theirs.modules()]:
        if hasattr(layer, "_epsilon"):
            layer._momentum = MOMENTUM
        elif hasattr(layer, "eps"):
            layer.momentum = 1 - MOMENTUM
    return ours, theirs


def clips(dtype, num_frames=4, size=48):
    return np.random.default_rng(1).normal(size=(2, num_frames, 3, size, size)).astype(dtype)


def difference(ours, theirs):
    """Largest absolute difference relative to the largest value."""
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize(("name", "options"), CASES)
def test_double_precision(name, options):
    ours, theirs = twins(name, options)
    assert type(ours.cls_head).__name__ == type(theirs.cls_head).__name__
    x = clips("float64")
    ours.eval(), theirs.eval()  # which return the model since Paddle 3.1 only
    assert difference(ours(paddle.to_tensor(x)).numpy(), theirs(torch.tensor(x)).detach().numpy()) < 1e-10

    ours.train(), theirs.train()
    logits, expected = ours(paddle.to_tensor(x)), theirs(torch.tensor(x))
    assert difference(logits.numpy(), expected.detach().numpy()) < 1e-10
    factors = np.random.default_rng(2).normal(size=expected.shape)
    (logits * paddle.to_tensor(factors)).sum().backward()
    (expected * torch.tensor(factors)).sum().backward()
    gradients = {key: p.grad for key, p in ours.named_parameters() if not p.stop_gradient}
    wanted = {key: p.grad for key, p in theirs.named_parameters() if p.requires_grad}
    assert gradients.keys() == wanted.keys()
    for key, gradient in gradients.items():
        want = wanted[key].numpy()
        want = want.T if key == "cls_head.new_fc.weight" else want
        # Of a bias or kernel before a BatchNorm the gradient is 0 but for rounding: compare with the size of others.
        assert np.abs(gradient.numpy() - want).max() <= 1e-9 * max(np.abs(want).max(), 1e-3), key


@pytest.mark.parametrize(("name", "options"), [case for case in CASES if not case.values[1]])
def test_single_precision(name, options):
    ours, theirs = twins(name, options, "float32")
    x = clips("float32")
    for mode in ("eval", "train"):
        getattr(ours, mode)(), getattr(theirs, mode)()
        with paddle.no_grad(), torch.no_grad():
            assert difference(ours(paddle.to_tensor(x)).numpy(), theirs(torch.tensor(x)).numpy()) < 1e-4, mode


def test_running_statistics_differ_by_the_known_rule_only():
    ours, theirs = twins("mvf_tiny", {})
    before = read_weights(ours)
    x = clips("float64")
    ours.train(), theirs.train()
    ours(paddle.to_tensor(x)), theirs(torch.tensor(x))
    mine, reference_ = read_weights(ours), read_weights(theirs)
    for key in mine:
        if key.endswith("_mean"):
            assert difference(mine[key], reference_[key]) < 1e-12, key
    # Paddle keeps the biased variance of the batch, PyTorch the unbiased one: n / (n - 1) larger, n = 8 * 24 * 24.
    key, n = "backbone.bn1._variance", 8 * 24 * 24
    grown = (reference_[key] - MOMENTUM * before[key]) / (mine[key] - MOMENTUM * before[key])
    assert grown == pytest.approx(n / (n - 1), rel=1e-10)


@pytest.mark.parametrize("name", ["tsn_r18", "mvf_r34", "tsm_r50", "mvf_r50", "tsm_r101"])
def test_full_size_models_have_the_same_names_and_shapes(name):
    paddle.set_default_dtype("float32")
    settings = {"num_classes": 3, "num_frames": 4}
    mine = {key: tensor.shape for key, tensor in models.create_model(name, **settings).state_dict().items()}
    with torch.device("meta"):
        theirs = create_twin(name, **settings)
    shapes = {
        part.name: list(part.view(np.broadcast_to(np.float32(0), tuple(part.tensor.shape))).shape)
        for part in weight_parts(theirs)
    }
    assert mine == shapes


def test_another_number_of_frames_than_announced():
    ours, theirs = twins("tsm_tiny", {}, num_frames=8)
    x = clips("float64", num_frames=6)
    assert difference(ours(paddle.to_tensor(x)).numpy(), theirs(torch.tensor(x)).detach().numpy()) < 1e-10


def test_initial_values_have_the_same_spread():
    paddle.seed(0)
    torch.manual_seed(0)
    settings = {"num_classes": 400, "num_frames": 4}
    for name in ("mvf_r18", "tsm_mobilenet_v2"):
        mine = read_weights(models.create_model(name, **settings))
        theirs = read_weights(create_twin(name, **settings))
        for key, array in mine.items():
            if array.ndim > 1 and array.size > 20_000:
                assert array.std() == pytest.approx(theirs[key].std(), rel=0.05), key
            elif array.ndim == 1:
                assert np.array_equal(array, theirs[key]), key


def test_unknown_names_and_options_are_refused():
    with pytest.raises(ValueError, match="got 'slow_r50'"):
        create_twin("slow_r50", num_classes=2, num_frames=4)
    with pytest.raises(ValueError, match="got 'TW'"):
        MultiViewFusion(torch.nn.Conv2d(8, 8, 3), 4, 0.5, "TW", False, True)
    with pytest.raises(ValueError, match="got 'both'"):
        insert_temporal_shift(build_backbone("tiny", 1e-5), 4, place="both")
    with pytest.raises(ValueError, match="got 'left'"):
        shift(torch.zeros(4, 8, 2, 2), 4, 8, "left")


def test_a_family_without_a_twin_says_so(monkeypatch):
    family = replace(FAMILIES["tsn"], module="models.nothing")
    monkeypatch.setitem(FAMILIES, "tsn", family)
    with pytest.raises(UserError, match=r"tsn_tiny has no PyTorch twin: there is no alignment\.reference\.nothing"):
        create_twin("tsn_tiny", num_classes=2, num_frames=4)
