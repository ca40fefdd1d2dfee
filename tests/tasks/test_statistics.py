"""Statistics against SciPy's, scikit-learn's and enumeration."""

import itertools
import math

import numpy as np
import pytest

from tasks.statistics import calibration, calibration_error, difference, mcnemar, mean_interval, wilson

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("samples", [1, 2, 7, 76, 1000])
def test_the_interval_of_a_share_is_scipys(samples):
    for correct in sorted({0, 1, samples // 3, samples - 1, samples}):
        expected = stats.binomtest(correct, samples).proportion_ci(method="wilson")
        assert wilson(correct, samples) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_there_is_no_interval_without_samples():
    assert all(map(math.isnan, wilson(0, 0)))
    assert all(map(math.isnan, mean_interval(np.zeros(3, int), np.zeros(3, int))))


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (3, 3), (1, 9), (14, 5), (400, 460), (0, 2000)])
def test_the_exact_test_of_a_difference_is_scipys(first, second):
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9, abs=1e-300)
    assert mcnemar(second, first) == mcnemar(first, second)


def test_a_difference_of_right_and_wrong():
    rng = np.random.default_rng(0)
    one, other = rng.random(200) < 0.7, rng.random(200) < 0.6
    better, worse = int((one & ~other).sum()), int((~one & other).sum())
    found, signs = difference(one, other), one.astype(float) - other
    assert (found.better, found.worse) == (better, worse)
    assert found.mean == pytest.approx(signs.mean())
    assert found.standard_error == pytest.approx(stats.sem(signs, ddof=0))
    assert found.p_value == pytest.approx(stats.binomtest(better, better + worse).pvalue)
    assert difference(one, one) == (0.0, 0.0, 0, 0, 1.0)


def test_a_difference_of_other_values():
    rng = np.random.default_rng(0)
    one, other = rng.random(60), rng.random(60)
    found = difference(one, other)
    assert found.mean == pytest.approx((one - other).mean())
    assert found.standard_error == pytest.approx(stats.sem(one - other, ddof=0))
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(found.mean) / found.standard_error))
    assert (found.better, found.worse) == ((one > other).sum(), (one < other).sum())
    assert difference(one, one).p_value == 1.0
    assert difference(one + 1, one).p_value == 0.0


def test_the_interval_of_a_mean_over_classes_holds_as_often_as_it_says():
    """Counted over all outcomes of three small classes, each weighed by its probability."""
    samples, truth = np.array([6, 9, 12]), np.array([0.9, 0.5, 0.7])
    outcomes = [stats.binom(n, p).pmf(np.arange(n + 1)) for n, p in zip(samples, truth, strict=True)]
    covered = 0.0
    for correct in itertools.product(*(range(n + 1) for n in samples)):
        low, high = mean_interval(np.array(correct), samples)
        weight = math.prod(outcome[k] for outcome, k in zip(outcomes, correct, strict=True))
        covered += weight * (low <= truth.mean() <= high)
    assert 0.94 < covered < 0.97


def test_the_interval_of_the_mean_of_one_class_is_its_own():
    assert mean_interval(np.array([5, 0]), np.array([7, 0])) == pytest.approx(wilson(5, 7))


def test_a_reliability_diagram_is_that_of_scikit_learn():
    calibration_curve = pytest.importorskip("sklearn.calibration").calibration_curve
    rng = np.random.default_rng(1)
    probabilities = rng.beta(3, 1, 500)
    is_right = rng.random(500) < probabilities**2
    bins = calibration(probabilities, is_right, 10)
    accuracy, confidence = calibration_curve(is_right, probabilities, n_bins=10)
    filled = [one for one in bins if one.samples]
    np.testing.assert_allclose([one.accuracy for one in filled], accuracy)
    np.testing.assert_allclose([one.confidence for one in filled], confidence)
    places = np.digitize(probabilities, np.linspace(0, 1, 11)[1:-1], right=True)
    assert [one.samples for one in bins] == np.bincount(places, minlength=10).tolist()
    sums = sum(abs(is_right[places == k].sum() - probabilities[places == k].sum()) for k in range(10))
    assert calibration_error(bins) == pytest.approx(sums / 500)


def test_a_probability_at_an_edge_counts_below_it():
    bins = calibration(np.array([0.0, 0.5, 1.0], np.float32), np.array([True, False, True]), 2)
    assert [one.samples for one in bins] == [2, 1]
    assert calibration_error(bins) == pytest.approx((2 * abs(0.5 - 0.25) + 0) / 3)
