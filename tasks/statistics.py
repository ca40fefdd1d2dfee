"""What an accuracy of so many samples is worth: intervals, calibration, the difference of two networks. NumPy alone."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

Z = 1.959963984540054  # of 95 %, two-sided


class Interval(NamedTuple):
    """Where a share lies with a confidence of 95 %."""

    low: float
    high: float


class Bin(NamedTuple):
    """The predictions whose probability lies in one part of 0 to 1.

    Attributes:
        samples: How many they are.
        confidence: Mean probability of the class that was predicted; NaN without predictions.
        accuracy: Share of them that are right; NaN likewise.
    """

    samples: int
    confidence: float
    accuracy: float


class Difference(NamedTuple):
    """Two networks on the same samples, the first against the second.

    Attributes:
        mean: Of the differences of the samples' values; of right and wrong, that of the accuracies.
        standard_error: Of the mean; samples in which the two are equal do not add to it.
        better, worse: Samples in which the first one is the better or the worse one.
        p_value: How probable a difference as large, or larger, is between equals: of right and wrong by McNemar's exact
            test, else by the normal distribution of the mean.
    """

    mean: float
    standard_error: float
    better: int
    worse: int
    p_value: float


def difference(first: np.ndarray, second: np.ndarray) -> Difference:
    """The difference of two networks.

    Args:
        first: The value of each sample, [N]: bool for right and wrong, else float.
        second: Likewise, of the same samples.
    """
    off = first.astype(np.float64) - second.astype(np.float64)
    mean, error = float(off.mean()), float(off.std() / math.sqrt(len(off)))
    better, worse = int((off > 0).sum()), int((off < 0).sum())
    if first.dtype == second.dtype == bool:
        p_value = mcnemar(better, worse)
    else:
        p_value = math.erfc(abs(mean) / error / math.sqrt(2)) if error else float(mean == 0)
    return Difference(mean, error, better, worse, p_value)


def wilson(correct: float, samples: int) -> Interval:
    """The score interval of a share of independent samples; NaN where there are none.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    """
    if not samples:
        return Interval(math.nan, math.nan)
    share, z2 = correct / samples, Z * Z / samples
    center, half = share + z2 / 2, Z * math.sqrt(share * (1 - share) / samples + z2 / samples / 4)
    low = 0.0 if correct == 0 else (center - half) / (1 + z2)
    high = 1.0 if correct == samples else (center + half) / (1 + z2)
    return Interval(low, high)


def mean_interval(correct: np.ndarray, samples: np.ndarray) -> Interval:
    """The interval of the mean of several shares, of classes, from the limits of each; those without samples go out.

    Args:
        correct: int [K].
        samples: int [K].

    Source: Zou and Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 2008
        (recovery of variances from the limits of each share).
    """
    kept = samples > 0
    if not kept.any():
        return Interval(math.nan, math.nan)
    shares = correct[kept] / samples[kept]
    limits = np.array([wilson(int(c), int(n)) for c, n in zip(correct[kept], samples[kept], strict=True)])  # [K, 2]
    below, above = np.sqrt(np.square(limits - shares[:, None]).sum(axis=0)) / len(shares)
    mean = float(shares.mean())
    return Interval(max(mean - float(below), 0.0), min(mean + float(above), 1.0))


def mcnemar(first: int, second: int) -> float:
    """The two-sided p-value of the exact test that two networks differ by chance alone.

    Args:
        first: Samples that the first one alone has right.
        second: Likewise.

    Source: McNemar, Psychometrika 1947; exact by the binomial distribution of the samples in which they differ.
    """
    total, fewer = first + second, min(first, second)
    if first == second:
        return 1.0
    logs = [math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) for k in range(fewer + 1)]
    return min(1.0, 2 * math.fsum(math.exp(one - total * math.log(2)) for one in logs))


def calibration(probabilities: np.ndarray, is_right: np.ndarray, bins: int = 15) -> list[Bin]:
    """The bins of a reliability diagram, of equal width from 0 to 1, each with its right end.

    Args:
        probabilities: Of the classes that were predicted, float [N].
        is_right: bool [N].
        bins: How many.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    places = np.clip(np.ceil(probabilities.astype(np.float64) * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for place in range(bins):
        inside = places == place
        count = int(inside.sum())
        confidence = float(probabilities[inside].astype(np.float64).mean()) if count else math.nan
        found.append(Bin(count, confidence, float(is_right[inside].mean()) if count else math.nan))
    return found


def calibration_error(bins: list[Bin]) -> float:
    """The expected calibration error: the mean distance of accuracy and confidence, over all predictions."""
    total = sum(one.samples for one in bins)
    return sum(one.samples * abs(one.accuracy - one.confidence) for one in bins if one.samples) / total
