"""What a user's models may bring along: other outputs, integers, strangers in the optimizer, one-sided gradients."""

import functools

import numpy as np
import paddle
import pytest
import torch

from alignment import IncomparableError, align

CROSS_ENTROPY = (torch.nn.functional.cross_entropy, paddle.nn.functional.cross_entropy)
LABELS = np.array([0, 1, 2, 3])
VECTORS = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def model(base, forward, **layers):
    """A model of either framework with some layers."""

    class Net(base):
        def __init__(self):
            super().__init__()
            for name, layer in layers.items():
                setattr(self, name, layer)

    Net.forward = forward
    return Net()


torch_model = functools.partial(model, torch.nn.Module)
paddle_model = functools.partial(model, paddle.nn.Layer)


def linear_pair(theirs, ours):
    return {
        "reference": torch_model(theirs, fc=torch.nn.Linear(5, 4)),
        "candidate": paddle_model(ours, fc=paddle.nn.Linear(5, 4)),
        "inputs": VECTORS,
    }


def place(**pair):
    divergence = align(**pair).first_divergence
    return divergence and divergence.place


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (lambda s, x: s.fc(x), lambda s, x: (s.fc(x) * 2, s.fc(x) * 2)),
        (lambda s, x: (s.fc(x), s.fc(x) * 3), lambda s, x: s.fc(x) * 2),
        (lambda s, x: {"a": s.fc(x), "b": 2 * s.fc(x)}, lambda s, x: {"b": s.fc(x), "a": 2 * s.fc(x)}),
        (lambda s, x: (s.fc(x), s.fc(x)), lambda s, x: (s.fc(x),)),
        (lambda s, x: (s.fc(x),), lambda s, x: (s.fc(x), s.fc(x))),
    ],
)
def test_outputs_of_another_structure_differ(theirs, ours):
    assert place(**linear_pair(theirs, ours)) == "output"


def test_dicts_are_compared_by_key_and_reach_the_loss():
    def second(f):
        return lambda output, labels: f(output["logits"], labels)

    pair = linear_pair(
        lambda s, x: {"logits": s.fc(x), "twice": 2 * s.fc(x)}, lambda s, x: {"twice": 2 * s.fc(x), "logits": s.fc(x)}
    )
    report = align(**pair, labels=LABELS, steps=("forward", "backward"), loss=tuple(map(second, CROSS_ENTROPY)))
    assert report.passed, report.text()
    pair = linear_pair(lambda s, x: {"logits": s.fc(x)}, lambda s, x: {"logits": s.fc(x)})
    report = align(**pair, labels=LABELS, loss=tuple(map(second, CROSS_ENTROPY)))
    assert report.passed, report.text()


def test_integers_in_inputs_and_buffers():
    def build(scale=1.0):
        theirs = torch_model(
            lambda s, x: s.fc(s.emb(x + s.shift)).mean(1), emb=torch.nn.Embedding(9, 5), fc=torch.nn.Linear(5, 4)
        )
        theirs.register_buffer("shift", torch.tensor([1, 0, 2]))
        layers = {"emb": paddle.nn.Embedding(9, 5), "fc": paddle.nn.Linear(5, 4)}
        ours = paddle_model(lambda s, x: s.fc(s.emb(x + s.shift)).mean(axis=1) * scale, **layers)
        ours.register_buffer("shift", paddle.to_tensor([1, 0, 2]))
        return {"reference": theirs, "candidate": ours}

    ids = np.random.default_rng(0).integers(0, 7, size=(4, 3))
    options = {"inputs": ids, "labels": LABELS, "loss": CROSS_ENTROPY, "steps": ("forward", "loss", "backward")}
    for precision in ("float64", "float32"):
        report = align(**build(), **options, precision=precision)
        assert report.passed, report.text()
        assert not align(**build(scale=1.01), **options, precision=precision).passed


def test_an_optimizer_of_another_model_is_refused():
    theirs, ours = (lambda s, x: s.fc(x)), (lambda s, x: s.fc(x))
    pair = linear_pair(theirs, ours)
    strangers = (
        lambda model: torch.optim.SGD(pair["reference"].parameters(), lr=0.1),
        lambda model: paddle.optimizer.SGD(0.1, parameters=pair["candidate"].parameters()),
    )
    with pytest.raises(IncomparableError, match="does not hold the parameters of the model"):
        align(**pair, labels=LABELS, loss=CROSS_ENTROPY, optimizer=strangers)


def test_a_gradient_on_one_side_only_differs():
    def build(theirs, ours):
        layers = {"a": (5, 5), "fc": (5, 4)}
        return {
            "reference": torch_model(theirs, **{k: torch.nn.Linear(*v) for k, v in layers.items()}),
            "candidate": paddle_model(ours, **{k: paddle.nn.Linear(*v) for k, v in layers.items()}),
            "inputs": VECTORS, "labels": LABELS, "loss": CROSS_ENTROPY, "steps": ("forward", "backward"),
        }  # fmt: skip

    def plain(s, x):
        return s.fc(s.a(x) + x)

    assert place(**build(plain, plain)) is None
    assert place(**build(lambda s, x: s.fc(s.a(x).detach() + x), plain)) is not None
    assert place(**build(plain, lambda s, x: s.fc(s.a(x).detach() + x))) is not None
    assert place(**build(plain, lambda s, x: s.fc(s.a(x.detach()) + x.detach()))) == "a"


def test_reading_constants_leaves_the_weights_alone():
    pair = linear_pair(lambda s, x: s.fc(x), lambda s, x: s.fc(x))
    before = pair["candidate"].fc.weight.numpy()
    assert align(**pair, steps=("config", "init")).stages[0].passed
    assert np.array_equal(before, pair["candidate"].fc.weight.numpy())
    align(**pair, steps=("forward",))
    assert np.array_equal(pair["reference"].fc.weight.detach().numpy().T, pair["candidate"].fc.weight.numpy())


def test_weights_of_the_model_itself_are_guarded():
    theirs = torch_model(
        lambda s, x: s.fc(torch.tanh(s.a(x) * s.scale)), a=torch.nn.Linear(5, 5), fc=torch.nn.Linear(5, 4)
    )
    theirs.scale = torch.nn.Parameter(torch.rand(5) + 0.5)
    ours = paddle_model(
        lambda s, x: s.fc(paddle.tanh(s.a(x) * s.scale)), a=paddle.nn.Linear(5, 5), fc=paddle.nn.Linear(5, 4)
    )
    ours.scale = ours.create_parameter([5])
    report = align(reference=theirs, candidate=ours, inputs=VECTORS, labels=LABELS, loss=CROSS_ENTROPY)
    assert report.passed, report.text()
    assert "scale" in {record.name for record in report.stages[-1].records}


def test_a_wrong_stride_leaves_a_report():
    def build(stride):
        theirs = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        ours = paddle.nn.Sequential(
            paddle.nn.Conv2D(3, 4, 3, stride, 1), paddle.nn.AdaptiveAvgPool2D(1), paddle.nn.Flatten()
        )
        inputs = np.random.default_rng(0).normal(size=(4, 3, 6, 6)).astype("float32")
        return {"reference": theirs, "candidate": ours, "inputs": inputs, "labels": LABELS, "loss": CROSS_ENTROPY}

    assert align(**build(2)).passed  # windows of 9 pixels too: see differences.py on average pooling
    report = align(**build(1))
    assert report.first_divergence.place == "0.stride"
    assert {"config", "forward"} <= {stage.name for stage in report.failed_stages}


def test_finite_differences_say_whose_gradient_is_right():
    class Halved(paddle.autograd.PyLayer):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0

        @staticmethod
        def backward(ctx, gradient):
            return gradient * 0.5

    pair = linear_pair(lambda s, x: s.fc(x), lambda s, x: Halved.apply(s.fc(x)))
    report = align(**pair, labels=LABELS, loss=CROSS_ENTROPY, steps=("forward", "backward"))
    assert [stage.name for stage in report.failed_stages] == ["backward"]
    assert any("the reference's is right" in note for note in report.stages[1].notes)


def test_layers_with_other_constants_than_batch_norm():
    """The slope is one that float32 has: to Paddle 3.2 its kernel for float64 takes no other."""
    theirs = torch.nn.Sequential(
        torch.nn.Linear(5, 8), torch.nn.LeakyReLU(0.125), torch.nn.LayerNorm(8), torch.nn.Linear(8, 4)
    )
    ours = paddle.nn.Sequential(
        paddle.nn.Linear(5, 8), paddle.nn.LeakyReLU(0.125), paddle.nn.LayerNorm(8), paddle.nn.Linear(8, 4)
    )
    report = align(reference=theirs, candidate=ours, inputs=VECTORS, labels=LABELS, loss=CROSS_ENTROPY)
    assert report.passed, report.text()


def test_a_norm_that_the_caller_has_frozen_on_one_side():
    def build():
        return {
            "reference": torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.BatchNorm1d(4)),
            "candidate": paddle.nn.Sequential(paddle.nn.Linear(5, 4), paddle.nn.BatchNorm1D(4)),
            "inputs": VECTORS,
        }

    pair = build()
    pair["candidate"][1].eval()
    assert place(**pair) == "frozen layers"
    assert place(**build()) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": CROSS_ENTROPY[0]}, "loss must be two functions"),
        ({"optimizer": lambda model: None}, "optimizer must be two functions"),
        ({"names": ("ab", "c")}, "names must be pairs"),
        ({"opaque": ("(",)}, "opaque patterns"),
        ({"labels": np.array(3)}, "with a batch axis"),
        ({"inputs": ()}, "one input at least"),
        ({"candidate": 3}, "got Net and int"),
        ({"train_steps": 0}, "train_steps must be 1 or more"),
        ({"seed": -1}, "seed 0 or more"),
        ({"metric": (lambda s, y: 1 / 0, lambda s, y: {})}, "the reference's metric must turn scores"),
        ({"reference": torch_model(lambda s, x: s.fc(x), fc=torch.nn.Linear(5, 4)).half()}, "found float16, float32"),
    ],
)
def test_arguments_that_make_no_comparison(change, message):
    pair = {**linear_pair(lambda s, x: s.fc(x), lambda s, x: s.fc(x)), "labels": LABELS, "loss": CROSS_ENTROPY}
    with pytest.raises(IncomparableError, match=message):
        align(**{**pair, **change})


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_pooling_of_nothing_but_rounding_is_no_difference(precision):
    """After an InstanceNorm the mean of each map is zero: what is there is rounding, and the layer after it idles."""

    def forward(extra):
        return lambda self, x: self.fc(self.pool(self.norm(self.conv(x)) + extra).flatten(1))

    def build(extra=0.0, epsilon=1e-5):
        layers = {"conv": paddle.nn.Conv2D(3, 5, 3), "norm": paddle.nn.InstanceNorm2D(5, epsilon)}
        torch_layers = {"conv": torch.nn.Conv2d(3, 5, 3), "norm": torch.nn.InstanceNorm2d(5, affine=True)}
        return {
            "reference": torch_model(
                forward(0.0), pool=torch.nn.AdaptiveAvgPool2d(1), fc=torch.nn.Linear(5, 4), **torch_layers
            ),
            "candidate": paddle_model(
                forward(extra), pool=paddle.nn.AdaptiveAvgPool2D(1), fc=paddle.nn.Linear(5, 4), **layers
            ),
            "inputs": np.random.default_rng(0).normal(size=(4, 3, 7, 7)).astype("float32"),
        }

    report = align(**build(), labels=LABELS, loss=CROSS_ENTROPY, precision=precision)
    assert [(stage.name, stage.place) for stage in report.failed_stages] == [("guards", "fc.weight")]
    assert "proves nothing about fc.weight" in report.first_divergence.sentence
    forward_only = {"steps": ("forward",), "precision": precision}
    assert (
        align(**build(extra=1e-9 if precision == "float64" else 1e-3), **forward_only).first_divergence.place == "pool"
    )
    assert align(**build(epsilon=2e-5), **forward_only).first_divergence.place == "norm"
