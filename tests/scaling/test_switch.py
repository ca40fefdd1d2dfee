"""Blocks are exchanged while the network answers."""

import threading
import time

import numpy as np
import paddle
import pytest

from models.temporal_module import find_layer
from runtime.errors import UserError
from scaling.compose import Descendants, composed
from scaling.switch import Switch


@pytest.mark.parametrize("wanted", [200, pytest.param(1000, marks=pytest.mark.whole)])
@pytest.mark.whole
def test_a_network_is_switched_while_it_answers(original, trained, wanted):
    """Answers while blocks change: each is that of one whole network."""
    switch = Switch(Descendants(original.model, original.blocks, trained))
    clip = original.held_out()[0][:1, :2]
    rng = np.random.default_rng(0)
    choices = [(0.0,) * 8, *(tuple(rng.choice([0.0, 0.5], 8).tolist()) for _ in range(6))]
    layers = Descendants(original.model, original.blocks, trained)
    with paddle.no_grad():
        expected = {one: composed(original.model, layers.of(one))(paddle.to_tensor(clip)).numpy() for one in choices}
    assert len({one.tobytes() for one in expected.values()}) == len(expected)
    answers, failures, is_over = [], [], threading.Event()

    def ask():
        try:
            while not is_over.is_set():
                answers.append(switch(clip))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 300
    turns = 0
    while len(answers) < wanted and not failures and time.monotonic() < end:
        turns += 1
        switch.to(choices[turns % len(choices)])
    is_over.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(answers) >= wanted
    assert turns > 10
    assert len({choice for choice, _ in answers}) > 3
    for choice, output in answers:
        np.testing.assert_array_equal(output, expected[choice])


def test_a_switch_reads_what_differs_alone(original, trained, monkeypatch):
    descendants = Descendants(original.model, original.blocks, trained)
    switch, read = Switch(descendants), []
    whole = descendants.read
    monkeypatch.setattr(descendants, "read", lambda block, level: read.append(block.path) or whole(block, level))
    switch.to((0.5, 0.5, *[0.0] * 6))
    assert read == [block.path for block in original.blocks[:2]]
    first = find_layer(switch.running.model, read[0])
    switch.to((0.5, 0.0, 0.5, *[0.0] * 5))
    assert read[2:] == [original.blocks[2].path]
    assert find_layer(switch.running.model, read[0]) is first
    assert find_layer(switch.running.model, read[1]) is find_layer(original.model, read[1])
    with pytest.raises(UserError, match=r"no descendant of backbone.layer1.0 at 0.4"):
        switch.to((0.4, *[0.0] * 7))
    assert switch.running.choice == (0.5, 0.0, 0.5, *[0.0] * 5)
