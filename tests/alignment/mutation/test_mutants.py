"""Mutants change what they say, survive copies of the model, and a slice of them is found and named by the suite."""

import copy
import re

import numpy as np
import paddle
import pytest
import torch

from alignment.certification.data.pipeline import ours
from alignment.mutation import MUTANTS, PAIRS, PIPELINE, training
from alignment.mutation.mutant import override, rewrite
from alignment.sides.state import write_weights
from alignment.suite import align_pair

BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
# One of each way to be found: read off, in the code, in gradients, in buffers, in the optimizer, in loss and metric.
SLICE = [
    *(mutant.name for mutant in MUTANTS if mutant.pair == "small_net"),
    "gate without ReLU",
    "shift around the ends of a clip",
    "detached shortcut",
    "running variance by n - 1",
    "momentum not kept",
]


def build(key):
    """A pair with equal weights that will not be carried over again."""
    pair = PAIRS[key](0)
    write_weights(pair.candidate, pair.reference_weights())
    pair.carry = False
    return pair


def test_there_are_enough_and_each_is_described():
    assert len(MUTANTS) >= 55
    assert len(BY_NAME) == len(MUTANTS)
    assert len({mutant.description for mutant in MUTANTS}) > 0.95 * len(MUTANTS)
    for mutant in MUTANTS:
        assert mutant.pair in {*PAIRS, PIPELINE}, mutant.name
        assert mutant.expect, mutant.name
        assert all(mutant.expect), mutant.name
        assert re.fullmatch(r"[A-Z0-9`'a-z].*\.", mutant.description.replace("\n", " ")), mutant.description


def test_without_a_mutant_nothing_is_found():
    report = align_pair(build("small_net"))
    assert report.passed, report.text()


@pytest.mark.parametrize("name", SLICE)
def test_a_mutant_is_found_and_its_place_is_named(name):
    mutant, pair = BY_NAME[name], build(BY_NAME[name].pair)
    mutant.apply(pair)
    report = align_pair(pair, train_steps=2, until_failure=True)
    assert not report.passed
    assert any(place in report.first_divergence.place for place in mutant.expect), report.text()


SMALL = [key for key in PAIRS if key not in ("tsm_mobilenet_v2", "r2plus1d", "i3d_inception")]


@pytest.mark.parametrize("key", SMALL)
def test_what_is_injected_into_a_model_is_copied_with_it(key):
    original = build(key)
    x = original.inputs[0][..., :32, :32]
    injected = [mutant for mutant in MUTANTS if mutant.pair == key and mutant not in training.MUTANTS]
    assert injected
    for mutant in injected:
        pair = copy.copy(original)
        pair.candidate, pair.reference = copy.deepcopy(original.candidate), copy.deepcopy(original.reference)
        mutant.apply(pair)
        twin = copy.deepcopy(pair.candidate)
        assert np.array_equal(in_both_modes(pair.candidate, x), in_both_modes(twin, x)), mutant.name
    with paddle.no_grad(), torch.no_grad():
        original.reference.eval(), original.candidate.eval()
        left, right = original.reference(torch.tensor(x)), original.candidate(paddle.to_tensor(x))
    assert np.allclose(left.numpy(), right.numpy(), atol=1e-3)  # the pair that was copied has not been touched


def in_both_modes(model, x):
    """Outputs in evaluation and in training, with the same dropout for all models."""
    outputs = []
    for mode in ("eval", "train"):
        getattr(model, mode)()
        paddle.seed(0)
        with paddle.no_grad():
            outputs.append(model(paddle.to_tensor(x)).numpy())
    return np.stack(outputs)


def test_a_rewritten_forward_belongs_to_the_copy():
    layer = paddle.nn.Linear(2, 2)
    rewrite(layer, lambda self, original, x: original(x) + self.bias)
    twin = copy.deepcopy(layer)
    twin.bias.set_value(np.float32([1, 2]))
    zeros = paddle.zeros([1, 2])
    assert layer(zeros).numpy().tolist() == [[0, 0]]
    assert twin(zeros).numpy().tolist() == [[2, 4]]
    assert type(twin).__name__ == "Linear"
    rewrite(twin, lambda self, original, x: 10 * original(x))  # one on top of the other
    assert twin(zeros).numpy().tolist() == [[20, 40]]


def test_an_overridden_method_belongs_to_the_copy():
    layer = paddle.nn.Linear(2, 2)
    override(layer, forward=lambda self, x: self.weight.sum())
    twin = copy.deepcopy(layer)
    twin.weight.set_value(np.ones((2, 2), np.float32))
    assert float(twin(None)) == 4
    assert float(layer(None)) != 4


def test_mutants_of_the_pipeline_exchange_the_function_that_they_expect():
    pipeline = ours()
    for mutant in [mutant for mutant in MUTANTS if mutant.pair == PIPELINE]:
        changed = mutant.apply(pipeline)
        names = [name for name in vars(pipeline) if getattr(changed, name) is not getattr(pipeline, name)]
        assert names == list(mutant.expect), mutant.name
