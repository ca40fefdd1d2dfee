"""The front against enumeration and integer programming; budgets, and estimates against measurements."""

import itertools
import math

import numpy as np
import pytest

from runtime.errors import UserError
from scaling.optimize import BudgetError, Cost, corrected, pareto_front, undominated


def blocks_of(rng, blocks, descendants, digits=None):
    """Costs as of blocks: faster and smaller ones lose more, most of the time; with digits, many are equal."""
    shrink = np.sort(rng.uniform(0.1, 1, (blocks, descendants)), axis=1)[:, ::-1]
    drop = (1 - shrink) * rng.uniform(0, 0.1, (blocks, 1)) + rng.normal(0, 0.005, (blocks, descendants))
    time = shrink * rng.uniform(1, 5, (blocks, 1)) * rng.uniform(0.9, 1.1, (blocks, descendants))
    size = np.round(shrink * rng.uniform(1e4, 1e6, (blocks, 1)))
    table = np.stack([drop, time, size], axis=2)
    if digits is not None:
        table[:, :, 0], table[:, :, 1] = np.round(drop, digits), np.round(time, digits - 1)
        table[:, :, 2] = np.round(size, -5)
    return [[Cost(*row) for row in block] for block in table.tolist()]


def all_sums(blocks, rest):
    sums = np.array([rest])
    for block in blocks:
        sums = (sums[:, None] + np.array(block)[None]).reshape(-1, 3)
    return sums


def naive_front(costs):
    """Unique rows that no other beats."""
    rows = np.unique(costs, axis=0)
    beaten = [(np.all(rows <= row, axis=1) & np.any(rows < row, axis=1)).any() for row in rows]
    return rows[~np.array(beaten)]


@pytest.mark.parametrize("digits", [None, 2])
@pytest.mark.parametrize("seed", range(5))
def test_the_filter_is_that_of_the_definition(seed, digits):
    costs = np.random.default_rng(seed).normal(size=(300, 3))
    costs = costs if digits is None else np.round(costs * 2) / 2
    kept = costs[undominated(costs)]
    assert (np.diff(kept[:, 1]) >= 0).all()
    np.testing.assert_array_equal(np.unique(kept, axis=0), naive_front(costs))
    assert len(kept) == len(np.unique(kept, axis=0))


@pytest.mark.parametrize("digits", [None, 3])
def test_the_front_is_that_of_all_choices_of_8_blocks(digits):
    rng = np.random.default_rng(7)
    blocks, rest = blocks_of(rng, 8, 5, digits), Cost(0.0, 3.0, 5e5)
    front, sums = pareto_front(blocks, rest), all_sums(blocks, rest)
    assert len(sums) == 390_625
    for cost, choice in zip(front.costs, front.choices, strict=True):
        terms = np.array([rest, *(block[number] for block, number in zip(blocks, choice, strict=True))])
        np.testing.assert_allclose(cost, terms.sum(axis=0), rtol=1e-9, atol=1e-12)
    for _ in range(200):
        latency, size = (rng.uniform(sums[:, column].min(), sums[:, column].max()) for column in (1, 2))
        within = (sums[:, 1] <= latency) & (sums[:, 2] <= size)
        if within.any():
            assert front.costs[front.best(latency, size), 0] == pytest.approx(sums[within, 0].min(), abs=1e-12)
        else:
            with pytest.raises(BudgetError):
                front.best(latency, size)


def by_integer_program(blocks, latency, size):
    """The least drop within budgets by HiGHS; None where there is none."""
    optimize = pytest.importorskip("scipy.optimize")
    costs = np.array(blocks)
    count, each, _ = costs.shape
    one = np.kron(np.eye(count), np.ones(each))
    limits = [
        optimize.LinearConstraint(one, 1, 1),
        optimize.LinearConstraint(costs[:, :, 1].reshape(1, -1), -np.inf, latency),
        optimize.LinearConstraint(costs[:, :, 2].reshape(1, -1) / 1e5, -np.inf, size / 1e5),
    ]
    found = optimize.milp(
        costs[:, :, 0].reshape(-1), constraints=limits, integrality=np.ones(count * each),
        bounds=optimize.Bounds(0, 1), options={"mip_rel_gap": 0},
    )  # fmt: skip
    return found.fun if found.success else None


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.whole) for seed in range(2, 6))])
def test_the_front_answers_as_an_integer_program_does(seed):
    """Ten budgets of 24 blocks x 5; with `make test-all` of six such networks."""
    rng = np.random.default_rng(100 + seed)
    blocks = blocks_of(rng, 24, 5)
    front = pareto_front(blocks)
    lows, highs = np.array(blocks).min(axis=1).sum(axis=0), np.array(blocks).max(axis=1).sum(axis=0)
    for _ in range(10):
        latency, size = (rng.uniform(low, high) for low, high in zip(lows[1:], highs[1:], strict=True))
        expected = by_integer_program(blocks, latency, size)
        if expected is None:
            with pytest.raises(BudgetError):
                front.best(latency, size)
        else:
            assert front.costs[front.best(latency, size), 0] == pytest.approx(expected, abs=1e-7)


def small():
    return pareto_front([[Cost(0.0, 4.0, 100.0), Cost(0.1, 2.0, 60.0)], [Cost(0.0, 6.0, 100.0), Cost(0.3, 1.0, 20.0)]])


def test_estimates_below_zero_are_found_too():
    front = pareto_front([[Cost(0.0, -1.0, 2.0), Cost(0.5, -3.0, 1.0)]])
    assert front.within(-2.0) == 0
    assert front.within(-1.0) == 1
    assert front.within(-4.0) is None


def test_budgets_are_met_exactly():
    front = small()
    assert front.choices.tolist() == [[1, 1], [0, 1], [1, 0], [0, 0]]
    assert front.choices[front.best()].tolist() == [0, 0]
    assert front.choices[front.best(latency_ms=10.0)].tolist() == [0, 0]
    assert front.choices[front.best(latency_ms=9.99)].tolist() == [1, 0]
    assert front.choices[front.best(size_bytes=159)].tolist() == [0, 1]
    assert front.choices[front.best(latency_ms=4.9, size_bytes=119)].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (
            {"latency_ms": 2.0},
            "within 2 ms: the nearest takes 3 ms and 80 bytes; the fastest 3 ms, the smallest 80 bytes",
        ),
        ({"latency_ms": 2.9, "size_bytes": 40}, "within 2.9 ms and 40 bytes: the nearest takes 3 ms and 80 bytes"),
        ({"size_bytes": -1}, "size_bytes must be above 0, got -1"),
        ({"latency_ms": math.nan}, "latency_ms must be above 0, got nan"),
    ],
)
def test_a_budget_that_nothing_meets_is_refused_with_the_nearest(budget, said):
    with pytest.raises(BudgetError, match=said):
        small().best(**budget)


@pytest.mark.parametrize("block", [[], [Cost(math.nan, 1.0, 1.0)]])
def test_a_table_with_holes_is_refused(block):
    with pytest.raises(UserError, match="block 1 has no descendant, or one whose cost is not finite"):
        pareto_front([[Cost(0.0, 1.0, 1.0)], block])


def test_the_first_of_equal_choices_counts_and_every_choice_is_reached():
    equal = [[Cost(0.0, 1.0, 1.0)] * 3] * 4
    assert pareto_front(equal).choices.tolist() == [[0, 0, 0, 0]]
    linear = [[Cost(float(n), float(2 - n), 1.0) for n in range(3)]] * 3
    assert len(pareto_front(linear)) == 7  # sums 0 to 6
    free = [[Cost(10.0**-i * n, 10.0 ** (3 - i) * (2 - n), 1.0) for n in range(3)] for i in range(4)]
    assert {tuple(row) for row in pareto_front(free).choices.tolist()} == set(itertools.product(range(3), repeat=4))


def test_a_correction_is_the_line_through_measurements_and_says_how_far_it_is_off():
    line = corrected([1.0, 2.0, 3.0, 5.0], [3.5, 5.5, 7.5, 11.5])
    assert (line.scale, line.offset) == pytest.approx((2.0, 1.5))
    assert line.held_out == pytest.approx((0, 0, 0, 0), abs=1e-12)
    assert line(10) == pytest.approx(21.5)
    bent = corrected([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    assert bent.held_out == pytest.approx((1.0, -0.5, 1.0))  # measured minus the line through the other two
    for few in ([1.0, 2.0], [1.0, 1.0, 1.0]):
        with pytest.raises(UserError, match="three different networks or more"):
            corrected(few, few)
