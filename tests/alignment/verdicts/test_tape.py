"""The tape gives back what it was given, from memory and from disk."""

import numpy as np
import pytest

from alignment.verdicts.tape import Tape

RNG = np.random.default_rng(0)
ARRAYS = {
    "matrix": RNG.normal(size=(5, 7)),
    "transposed": RNG.normal(size=(4, 6)).astype(np.float32).T,
    "strided": np.arange(40)[::3],
    "scalar": np.array(2.5),
    "booleans": np.array([[True], [False]]),
    "empty": np.zeros((0, 3), np.float32),
}


@pytest.mark.parametrize("budget", [0, 100, 1 << 20])
def test_gives_back_what_was_added_in_order(budget):
    tape = Tape(budget)
    for name, array in ARRAYS.items():
        tape.add(name, array)
    assert list(tape) == list(ARRAYS)
    assert len(tape) == len(ARRAYS)
    for name in reversed(ARRAYS):
        assert tape[name].dtype == ARRAYS[name].dtype
        np.testing.assert_array_equal(tape[name], ARRAYS[name], strict=True)


def test_memory_is_used_up_to_the_budget_and_not_beyond():
    first, second, third = (np.full(10, i, np.float64) for i in range(3))  # 80 bytes each
    tape = Tape(budget=170)
    for name, array in (("first", first), ("second", second), ("third", third)):
        tape.add(name, array)
    assert tape["first"] is first
    assert tape["second"] is second
    assert tape["third"] is not third
    np.testing.assert_array_equal(tape["third"], third)
    small = np.zeros(1)
    tape.add("small", small)  # 10 bytes are left
    assert tape["small"] is small


def test_an_array_on_disk_is_read_where_it_was_written_after_others_were_read():
    tape = Tape(budget=0)
    tape.add("a", np.arange(3))
    np.testing.assert_array_equal(tape["a"], [0, 1, 2])
    tape.add("b", np.arange(3, 9))
    np.testing.assert_array_equal(tape["a"], [0, 1, 2])
    tape.add("c", np.arange(2))
    np.testing.assert_array_equal(tape["b"], np.arange(3, 9))
    np.testing.assert_array_equal(tape["c"], [0, 1])


@pytest.mark.parametrize("budget", [0, 1 << 20])
def test_names_are_known_once(budget):
    tape = Tape(budget)
    tape.add("a", np.ones(2))
    assert "a" in tape
    assert "b" not in tape
    assert tape.get("b") is None
    with pytest.raises(KeyError):
        tape["b"]
    with pytest.raises(ValueError, match="a has been recorded before"):
        tape.add("a", np.zeros(2))
    np.testing.assert_array_equal(tape["a"], [1, 1])
