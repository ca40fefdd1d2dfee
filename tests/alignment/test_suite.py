"""`align` on pairs that nobody prepared: what it finds, where, and what it refuses to compare."""

import numpy as np
import paddle
import pytest
import torch

from alignment import IncomparableError, Optimization, align
from alignment.reports.files import read_report, write_report

CROSS_ENTROPY = (torch.nn.functional.cross_entropy, paddle.nn.functional.cross_entropy)
SGD = (
    lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3),
    lambda model: paddle.optimizer.Momentum(0.1, 0.9, parameters=model.parameters(), weight_decay=1e-3),
)


class Theirs(torch.nn.Module):
    def __init__(self, eps=1e-5):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 6, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(6, eps=eps)
        self.act = torch.nn.ReLU(inplace=True)
        self.drop = torch.nn.Dropout(0.25)
        self.fc = torch.nn.Linear(6, 6)
        self.head = torch.nn.Linear(6, 5)

    def forward(self, x):
        x = self.act(self.norm(self.conv(x)))
        return self.head(torch.tanh(self.fc(self.drop(x.mean((2, 3))))))


class Ours(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 6, 3, padding=1)
        self.norm = paddle.nn.BatchNorm2D(6)
        self.drop = paddle.nn.Dropout(0.25)
        self.fc = paddle.nn.Linear(6, 6)
        self.head = paddle.nn.Linear(6, 5)

    def first(self, x):
        return self.conv(x)

    def forward(self, x):
        x = paddle.nn.functional.relu(self.norm(self.first(x)))
        return self.head(paddle.tanh(self.fc(self.drop(x.mean(axis=[2, 3])))))


def build(reference=Theirs, candidate=Ours, seed=0):
    torch.manual_seed(seed)
    paddle.seed(seed)
    rng = np.random.default_rng(seed)
    return {
        "reference": reference(),
        "candidate": candidate(),
        "inputs": rng.normal(size=(4, 3, 9, 9)).astype("float32"),
        "labels": np.array([0, 1, 2, 3]),
        "loss": CROSS_ENTROPY,
        "optimizer": SGD,
    }


def changed(**members):
    return type("Ours", (Ours,), members)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_equal_models_pass_every_stage(precision, tmp_path):
    pair = build()
    before = pair["reference"].conv.weight.detach().clone()
    report = align(**pair, precision=precision)
    assert report.passed, report.text()
    assert report.first_divergence is None
    assert [stage.name for stage in report.stages] == [
        "config", "weights", "forward", "loss", "backward", "train", "guards",
    ]  # fmt: skip
    worst = max(r.required for s in report.stages for r in s.records if r.required == r.required)
    assert worst < (1e-12 if precision == "float64" else 1e-3)
    assert torch.equal(before, pair["reference"].conv.weight)
    assert pair["reference"].norm.num_batches_tracked == 0
    names = {path.name for path in write_report(report, tmp_path)}
    assert {"report.json", "report.html", "tensors.npz"} <= names
    assert read_report(tmp_path).text() == report.text()


def test_every_kind_of_tensor_is_compared():
    report = align(**build())
    kinds = {record.kind for stage in report.stages for record in stage.records}
    assert kinds >= {
        "constant", "weight", "weight there and back", "eval activation", "train activation",
        "eval activation alone", "train activation alone", "loss", "loss gradient", "activation gradient", "gradient",
        "rate", "slot", "parameter", "buffer", "guard",
    }  # fmt: skip
    forward = next(stage for stage in report.stages if stage.name == "forward")
    order = [record.name for record in forward.records if record.kind == "eval activation"]
    assert order == ["conv", "norm", "drop", "fc", "head", "output"]
    assert {r.name for r in report.stages[4].records if r.kind == "gradient"} == {
        "conv.weight", "conv.bias", "norm.weight", "norm.bias", "fc.weight", "fc.bias", "head.weight", "head.bias",
    }  # fmt: skip


def test_a_mistake_between_layers_is_told_from_one_inside():
    def scaled(self, x):
        x = paddle.nn.functional.relu(self.norm(self.conv(x)))
        return self.head(paddle.tanh(self.fc(self.drop(x.mean(axis=[2, 3]) * 1.001))))

    divergence = align(**build(candidate=changed(forward=scaled))).first_divergence
    assert (divergence.stage, divergence.place) == ("forward", "drop")
    assert "Its inputs differ already" in divergence.sentence

    pair = build()
    pair["candidate"].norm._epsilon = 1.1e-5
    divergence = align(**pair, steps=("forward",)).first_divergence
    assert (divergence.stage, divergence.place) == ("forward", "norm")
    assert "Its inputs agree" in divergence.sentence
    assert align(**pair).first_divergence.place == "norm.eps"


def test_two_independent_mistakes_are_both_named():
    pair = build()
    pair["candidate"].norm._epsilon = 2e-5
    pair["candidate"].fc.register_forward_post_hook(lambda layer, inputs, output: output + 1e-3)
    stage = align(**pair, steps=("forward",)).stages[0]
    assert stage.place == "norm"
    assert any("also wrong by themselves" in note and "fc" in note for note in stage.notes)


def test_weights_that_were_carried_over_by_the_caller_are_compared():
    pair = build()
    align(**pair, steps=("weights",))
    assert align(**pair, copy=False).passed
    square = pair["candidate"].fc.weight
    square.set_value(square.numpy().T.copy())
    divergence = align(**pair, copy=False).first_divergence
    assert (divergence.stage, divergence.place) == ("weights", "fc.weight")
    assert "transposed" in divergence.sentence


def test_renamed_layers_are_paired_by_rules():
    class Renamed(Ours):
        def __init__(self):
            super().__init__()
            self.classifier = self.head
            del self.head
            self.stem = paddle.nn.Sequential(self.conv, self.norm)
            del self.conv, self.norm

        def forward(self, x):
            x = paddle.nn.functional.relu(self.stem(x))
            return self.classifier(paddle.tanh(self.fc(self.drop(x.mean(axis=[2, 3])))))

    pair = build(candidate=Renamed)
    with pytest.raises(IncomparableError, match=r"head\.bias"):
        align(**pair)
    names = ((r"^head\b", "classifier"), (r"^conv\b", "stem.0"), (r"^norm\b", "stem.1"))
    report = align(**pair, names=names)
    assert report.passed, report.text()
    pair["candidate"].stem[1]._epsilon = 1e-4
    assert align(**pair, names=names, steps=("forward",)).first_divergence.place == "norm"


def test_clip_and_schedule():
    def theirs(model):
        return Optimization(torch.optim.SGD(model.parameters(), lr=1.0), clip_norm=0.1, rate=lambda i: 0.1 * (i + 1))

    def ours(model, first=1, norm=0.1):
        clip = paddle.nn.ClipGradByGlobalNorm(norm)
        optimizer = paddle.optimizer.SGD(1.0, parameters=model.parameters(), grad_clip=clip)
        return Optimization(optimizer, rate=lambda i: 0.1 * (i + first))

    pair = build()
    assert align(**{**pair, "optimizer": (theirs, ours)}).passed
    divergence = align(**{**pair, "optimizer": (theirs, lambda m: ours(m, first=0))}, steps=("train",)).first_divergence
    assert divergence.place == "step 1"
    assert "schedule" in divergence.sentence
    wrong_norm = (theirs, lambda model: ours(model, norm=0.2))
    assert align(**{**pair, "optimizer": wrong_norm}).first_divergence.place == "optimizer.clip_norm"


def test_an_ill_conditioned_network_is_rounding_and_a_small_mistake_is_not():
    """A chain of norms over few values multiplies an error of one bit; the reference's own bits say how much."""

    class Chain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(
                *[m for _ in range(12) for m in (torch.nn.Linear(6, 6), torch.nn.BatchNorm1d(6), torch.nn.Tanh())]
            )

        def forward(self, x):
            return self.layers(8 * x.mean((2, 3)))

    class PaddleChain(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            layers = [(paddle.nn.Linear(6, 6), paddle.nn.BatchNorm1D(6), paddle.nn.Tanh()) for _ in range(12)]
            self.layers = paddle.nn.Sequential(*[layer for group in layers for layer in group])

        def forward(self, x):
            return self.layers(8 * x.mean(axis=[2, 3]))

    pair = build(Chain, PaddleChain)
    pair["inputs"] = np.random.default_rng(1).normal(size=(4, 6, 2, 2)).astype("float32")
    report = align(**pair)
    assert report.passed, report.text()
    pair["candidate"].layers[10]._epsilon = 1.0001e-5
    assert not align(**pair, steps=("forward",)).passed


@pytest.mark.parametrize("mistake", [0.0, 1e-7])
def test_what_the_references_norm_adds_up_inexactly_is_rounding_and_a_small_mistake_is_not(mistake):
    """In front of a norm gradients cancel; the error of PyTorch's mean of 32,768 values is all that is left of some."""

    def first(self, x):
        x = self.conv(x)
        return x + mistake * (x - x.detach())

    pair = build(candidate=changed(first=first))
    pair["inputs"] = 1 + np.random.default_rng(0).normal(size=(2, 3, 128, 128)).astype("float32")
    pair["labels"] = pair["labels"][:2]
    report = align(**pair)
    assert report.passed is (not mistake), report.text()
    backward = next(stage for stage in report.stages if stage.name == "backward")
    bias = next(record for record in backward.records if record.name == "conv.bias")
    assert bias.required > 1e-12  # this bias is what the test is about
    assert bias.passed
    assert mistake == 0 or report.first_divergence.place == "norm"  # what uses the output of conv


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": np.zeros((4, 2, 9, 9), "float32")}, r"the reference raises in layer conv for inputs .*4, 2, 9, 9"),
        ({"inputs": np.full((4, 3, 9, 9), np.nan, "float32")}, "inputs hold NaN"),
        ({"labels": np.array([1])}, "1 labels for a batch of 4"),
        ({"precision": "float16"}, "precision must be one of float64, float32, got 'float16'"),
        ({"steps": ("forward", "speed")}, "got speed"),
        ({"steps": ()}, "steps is empty"),
        ({"steps": ("metric",)}, "needs metric="),
        ({"loss": None, "steps": ("loss",)}, "needs loss="),
        ({"optimizer": None, "steps": ("train",)}, "needs optimizer="),
        ({"steps": ("guards",)}, "needs the stage forward"),
        ({"loss": (CROSS_ENTROPY[0], lambda logits, labels: logits.nothing)}, "the candidate's loss raises: Attribute"),
        ({"optimizer": (SGD[0], lambda model: model.nothing)}, "'nothing'"),
        ({"names": (("conv", "norm"),)}, "another weight has taken"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(change, message):
    with pytest.raises(IncomparableError, match=message) as caught:
        align(**{**build(), **change})
    assert "\n" not in str(caught.value)


def test_models_in_the_wrong_places():
    pair = build()
    with pytest.raises(IncomparableError, match="got Ours and Theirs"):
        align(**{**pair, "reference": pair["candidate"], "candidate": pair["reference"]})


def test_a_reference_with_nan_is_refused():
    pair = build()
    pair["reference"].fc.weight.data[0, 0] = float("nan")
    with pytest.raises(IncomparableError, match="the reference itself gives NaN or infinity: eval activation fc"):
        align(**pair)


def test_a_candidate_with_nan_fails():
    pair = build()
    pair["candidate"].norm.register_forward_post_hook(lambda layer, inputs, output: output / 0.0)
    divergence = align(**pair, steps=("forward",)).first_divergence
    assert divergence.place == "norm"
    assert "NaN or infinite" in divergence.sentence


def test_a_layer_that_draws_is_refused_with_its_name():
    class Noise(paddle.nn.Layer):
        def forward(self, x):
            return x + 0.1 * paddle.randn(x.shape, x.dtype) if self.training else x

    pair = build()
    pair["candidate"].drop = paddle.nn.Sequential(pair["candidate"].drop, Noise())
    with pytest.raises(IncomparableError, match=r"the candidate gives other values at a second pass, .*layer drop\.1"):
        align(**pair, steps=("forward",))


def test_a_candidate_that_raises_is_named_with_its_layer():
    pair = build()
    pair["candidate"].fc = paddle.nn.Linear(7, 6)
    with pytest.raises(IncomparableError, match=r"fc\.weight is"):
        align(**pair)
    pair = build(candidate=changed(forward=lambda self, x: self.fc(self.conv(x))))
    with pytest.raises(IncomparableError, match="the candidate raises in layer fc"):
        align(**pair, steps=("forward",))


def test_structures_that_differ_are_refused_with_the_weights_named():
    class Without(Ours):
        def __init__(self):
            super().__init__()
            self.norm = paddle.nn.Identity()

    with pytest.raises(IncomparableError, match=r"norm\.bias"):
        align(**build(candidate=Without), steps=("forward",))


def test_a_weight_that_makes_no_difference_is_reported():
    class Unused(Theirs):
        def forward(self, x):
            return self.head(torch.tanh(self.fc(self.drop(self.act(self.norm(self.conv(x))).mean((2, 3)) * 0))))

    class OursUnused(Ours):
        def forward(self, x):
            x = paddle.nn.functional.relu(self.norm(self.conv(x))).mean(axis=[2, 3]) * 0
            return self.head(paddle.tanh(self.fc(self.drop(x))))

    report = align(**build(Unused, OursUnused))
    assert [stage.name for stage in report.failed_stages] == ["guards"]
    blamed = {record.name for record in report.failed_stages[0].failures}
    assert {"fc.weight", "conv.weight gradient"} <= blamed
    assert "head.weight" not in blamed


def test_several_inputs_and_outputs():
    class TwoIn(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = torch.nn.Linear(4, 5), torch.nn.Linear(3, 5)

        def forward(self, a, b):
            return self.left(a) * torch.sigmoid(self.right(b)), {"left": self.left(a)}

    class PaddleTwoIn(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.left, self.right = paddle.nn.Linear(4, 5), paddle.nn.Linear(3, 5)

        def forward(self, a, b):
            return self.left(a) * paddle.nn.functional.sigmoid(self.right(b)), {"left": self.left(a)}

    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    losses = tuple(lambda output, labels, f=f: f(output[0], labels) for f in CROSS_ENTROPY)
    report = align(
        reference=TwoIn(), candidate=PaddleTwoIn(), labels=np.array([0, 4]), loss=losses,
        inputs=[rng.normal(size=(2, 4)).astype("float32"), rng.normal(size=(2, 3)).astype("float32")],
        steps=("config", "weights", "forward", "backward"),
    )  # fmt: skip
    assert report.passed, report.text()
    names = {record.name for stage in report.stages for record in stage.records}
    assert {"left (call 2)", "output [0]", "output [1]['left']", "input 0", "input 1"} <= names
