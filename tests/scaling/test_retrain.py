"""Descendants learn from one pass of the original; a run that goes on where it was ended gives the same bits."""

import numpy as np
import paddle
import pytest
from paddle import nn

from models.temporal_module import find_layer
from runtime.errors import UserError
from scaling import retrain as module
from scaling.extract import extract
from scaling.retrain import RetrainError, lessons_of, restore, retrain, state_of
from tests.scaling.test_extract import build

TOTAL = 12


def original(name="tsm_tiny"):
    """A network whose norms have seen clips."""
    paddle.seed(5)
    model = build(name)
    model.train()
    for layer in model.sublayers():
        if hasattr(layer, "_momentum") and hasattr(layer, "_variance"):
            layer._momentum = 0.0
    model(paddle.to_tensor(clips(99)))
    model.eval()
    return model


def clips(seed):
    return np.random.default_rng(seed).normal(size=(4, 8, 3, 32, 32)).astype("float32")


def batches(begin):
    return (clips(step) for step in range(begin, 10**6))


def begun(model=None, sparsities=(0.0, 0.6), number=3, total=TOTAL):
    model = model or original()
    return model, lessons_of(model, extract(model)[:number], sparsities, total)


def trained(model, lessons, **options):
    retrain(model, lessons, options.pop("batches", batches), [clips(1000), clips(1001)], 4, **options)
    return lessons


@pytest.fixture(scope="module")
def whole():
    model, lessons = begun()
    before = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    trained(model, lessons)
    assert all((tensor.numpy() == before[name]).all() for name, tensor in model.state_dict().items())
    return model, lessons


def test_every_descendant_comes_nearer_to_its_block(whole):
    _, lessons = whole
    assert [lesson.name for lesson in lessons] == [f"backbone.layer1.{i}@0.6" for i in (0, 1)] + [
        "backbone.layer2.0@0.6"
    ]
    for lesson in lessons:
        assert lesson.step == TOTAL
        assert len(lesson.errors) == 4  # as it was cut, and after 4, 8 and 12 steps
        assert min(lesson.errors) < 0.97 * lesson.errors[0]


def test_norms_keep_the_statistics_of_the_original(whole):
    model, lessons = whole
    for lesson in lessons:
        cut = lessons_of(model, [lesson.block], [0.6], TOTAL)[0].layer.state_dict()
        found = lesson.layer.state_dict()
        for name in cut:
            same = np.array_equal(cut[name].numpy(), found[name].numpy())
            assert same == (name.endswith(("_mean", "_variance"))), name


def test_each_is_trained_by_itself(whole):
    """With the others or without them: the same bits."""
    model, lessons = begun(number=2)
    alone = trained(model, lessons[1:])[0]
    assert_same(state_of(alone), state_of(whole[1][1]))


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("ended", [1, 4, 7])
def test_a_run_that_goes_on_gives_the_same_bits(whole, ended):
    """Even where the kill came when the state of one lesson was kept and that of another was not yet."""
    kept = {}

    class EndError(Exception):
        pass

    def done(step):
        kept.update({lesson.name: state_of(lesson) for lesson in lessons[: 1 if step == ended else None]})
        if step == ended:
            raise EndError

    model, lessons = begun()
    with pytest.raises(EndError):
        trained(model, lessons, done=done)
    model, lessons = begun()
    for lesson in lessons:
        if lesson.name in kept:
            restore(lesson, {name: array.copy() for name, array in kept[lesson.name].items()})
    assert [lesson.step for lesson in lessons] == [ended, ended - 1, ended - 1]
    for lesson, expected in zip(trained(model, lessons), whole[1], strict=True):
        assert_same(state_of(lesson), state_of(expected))


def test_the_best_is_kept_and_the_cut_counts(whole):
    model, lessons = begun(number=1)
    (lesson,) = lessons
    cut = {name: tensor.numpy() for name, tensor in lesson.layer.state_dict().items()}
    lesson.examine(0.5)
    lesson.learn(*next(module.passed(model, lessons, clips(0)))[1:])
    lesson.examine(0.6)
    assert_same(lesson.best, cut)
    lesson.examine(0.4)
    assert_same(lesson.best, {name: tensor.numpy() for name, tensor in lesson.layer.state_dict().items()})


def test_a_block_that_fails_is_named():
    model, lessons = begun()
    weight = lessons[1].layer.conv2.weight
    weight.set_value(weight * float("nan"))
    with pytest.raises(RetrainError, match=r"backbone.layer1.1@0.6: conv2.weight is not finite after 0 steps"):
        trained(model, lessons)
    model, lessons = begun(number=1)
    lessons[0].errors = [1.0]
    bias = lessons[0].layer.bn2.bias
    bias.set_value(bias + float("inf"))
    with pytest.raises(RetrainError, match=r"backbone.layer1.0@0.6: the loss is inf at step 1"):
        trained(model, lessons)


def test_clips_that_end_too_early_are_named():
    model, lessons = begun(number=1)
    with pytest.raises(RetrainError, match="the training clips ended after 2 of 12 steps"):
        trained(model, lessons, batches=lambda begin: iter([clips(0), clips(1)]))


def test_a_state_of_another_descendant_is_refused(whole):
    _, lessons = begun(sparsities=(0.3,), number=1)
    with pytest.raises(RetrainError, match="is of another descendant"):
        restore(lessons[0], state_of(whole[1][0]))


def test_what_is_no_block_is_named():
    class Twice(nn.Layer):
        def __init__(self):
            super().__init__()
            self.pair = Pair()

        def forward(self, x):
            return self.pair(self.pair(x))

    class Pair(nn.Layer):
        chains = (("a", "b"),)

        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2D(3, 4, 1), nn.Conv2D(4, 3, 1)

        def forward(self, x):
            return self.b(self.a(x))

    model = Twice()
    lessons = lessons_of(model, extract(model), [0.5], TOTAL)
    with pytest.raises(UserError, match="pair is called twice"):
        retrain(model, lessons, batches, [clips(0)[:, 0]], 4)


@pytest.mark.parametrize("name", ["mvf_tiny", "i3d_tiny"])
def test_blocks_of_every_kind_learn(name):
    model = original(name)
    blocks = extract(model)
    lessons = lessons_of(model, [blocks[0], blocks[-1]], [0.6], 6)
    retrain(model, lessons, batches, [clips(1000)], 6)
    assert all(lesson.errors[-1] < lesson.errors[0] for lesson in lessons)
    assert find_layer(model, blocks[0].path) is not lessons[0].layer
