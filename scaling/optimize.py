"""The best choice of descendants for every budget: the exact Pareto front over what a network loses, time, size.

What a choice costs is the sum of what its blocks cost (`scaling.profile`), so that the front is built block by block:
of the sums so far only those are carried on that no other beats in all three, and nothing that leads to the best is
lost. Budgets are then looked up. One that nothing meets is refused with the nearest one that something does.

Source: Han et al., MobiCom 2021, equation 1 (one descendant of each block, two budgets), which they solve once for each
budget as an integer program; Martello and Toth, "Knapsack Problems", 1990, section 2.6 (dynamic programming by lists).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from runtime.errors import UserError


class Cost(NamedTuple):
    """What one descendant of a block, or a whole network, costs.

    Attributes:
        lost: What it loses against the original, as the caller counts it: accuracy, or what stands for it.
        latency_ms: Milliseconds for one clip.
        size_bytes: Bytes of weights.
    """

    lost: float
    latency_ms: float
    size_bytes: float


NOTHING = Cost(0.0, 0.0, 0.0)


class BudgetError(UserError):
    """Nothing meets a budget."""


@dataclass(frozen=True)
class Front:
    """The choices that no other beats in accuracy, time and size together.

    Attributes:
        costs: float64 [n, 3], in the order of Cost's fields; rows in the order of rising latency.
        choices: int16 [n, blocks], for each block the number of its descendant.
    """

    costs: np.ndarray
    choices: np.ndarray

    def __len__(self) -> int:
        return len(self.costs)

    def within(self, latency_ms: float, size_bytes: float = math.inf) -> int | None:
        """As `best`, of any budgets; None where nothing keeps within them."""
        within = np.flatnonzero((self.costs[:, 1] <= latency_ms) & (self.costs[:, 2] <= size_bytes))
        if not len(within):
            return None
        drops = self.costs[within, 0]
        equals = within[drops == drops.min()]
        return int(equals[np.lexsort((self.costs[equals, 2], self.costs[equals, 1]))[0]])

    def best(self, latency_ms: float = math.inf, size_bytes: float = math.inf) -> int:
        """The row that loses the least within budgets; of equals the fastest, then the smallest.

        Raises:
            BudgetError: There is none; the message says what is nearest.
        """
        for name, budget in (("latency_ms", latency_ms), ("size_bytes", size_bytes)):
            if not budget > 0:
                raise BudgetError(f"{name} must be above 0, got {budget:g}")
        row = self.within(latency_ms, size_bytes)
        if row is not None:
            return row
        over = np.maximum(self.costs[:, 1] / latency_ms, self.costs[:, 2] / size_bytes)
        nearest = self.costs[int(over.argmin())]
        budgets = {f"{latency_ms:g} ms": latency_ms, f"{size_bytes:,.0f} bytes": size_bytes}
        asked = " and ".join(said for said, budget in budgets.items() if math.isfinite(budget))
        raise BudgetError(
            f"no choice of blocks keeps within {asked}: the nearest takes {nearest[1]:.4g} ms and "
            f"{nearest[2]:,.0f} bytes; the fastest {self.costs[:, 1].min():.4g} ms, the smallest "
            f"{self.costs[:, 2].min():,.0f} bytes"
        )


def pareto_front(blocks: Sequence[Sequence[Cost]], rest: Cost = NOTHING) -> Front:
    """The front of all choices of one descendant of each block.

    Args:
        blocks: For each block the costs of its descendants.
        rest: Of what is not in blocks.

    Raises:
        UserError: A cost is not finite, or a block has no descendant.
    """
    costs = np.array([rest], np.float64)
    choices = np.zeros((1, 0), np.int16)
    for number, descendants in enumerate(blocks):
        table = np.array(descendants, np.float64).reshape(-1, 3)
        if not len(table) or not np.isfinite(table).all():
            raise UserError(f"block {number} has no descendant, or one whose cost is not finite: {list(descendants)}")
        sums = (costs[:, None] + table[None]).reshape(-1, 3)
        kept = undominated(sums)
        costs = sums[kept]
        before, chosen = np.divmod(kept, len(table))
        choices = np.concatenate([choices[before], chosen[:, None].astype(np.int16)], axis=1)
    return Front(costs, choices)


def undominated(costs: np.ndarray) -> np.ndarray:
    """Rows that no other row equals or beats in all columns; of equal rows the first. In the order of rising latency.

    Args:
        costs: float64 [n, 3], in the order of Cost's fields.
    """
    order = np.lexsort((costs[:, 0], costs[:, 2], costs[:, 1]))
    # Of the rows so far, all as fast or faster: sizes at which a smaller drop begins, rising, and these drops, falling.
    sizes: list[float] = []
    drops: list[float] = []
    kept = []
    for row, (drop, _, size) in zip(order.tolist(), costs[order].tolist(), strict=True):
        place = bisect.bisect_right(sizes, size)
        if place and drops[place - 1] <= drop:
            continue
        kept.append(row)
        end = place
        while end < len(drops) and drops[end] >= drop:
            end += 1
        start = place - 1 if place and sizes[place - 1] == size else place
        sizes[start:end], drops[start:end] = [size], [drop]
    return np.array(kept, np.int64)


@dataclass(frozen=True)
class Correction:
    """What measurements of whole networks say of sums over their blocks: measured = scale * sum + offset.

    Attributes:
        scale, offset: Of the line of least squares.
        held_out: For each measurement, what the line through the others is off by there, measured minus estimated.
    """

    scale: float
    offset: float
    held_out: tuple[float, ...]

    def __call__(self, estimate: np.ndarray | float) -> np.ndarray | float:
        """Corrected estimates."""
        return self.scale * estimate + self.offset


def corrected(estimates: Sequence[float], measured: Sequence[float], through_zero: bool = False) -> Correction:
    """The line through measurements, and how far it is off on each when that one has not been seen.

    Args:
        estimates, measured: One for each network.
        through_zero: Whether an estimate of 0 is known to be right, so that the offset is 0.

    Raises:
        UserError: There are fewer than three, or all estimates are alike.
    """
    x, y = np.array(estimates, np.float64), np.array(measured, np.float64)
    if len(x) != len(y) or len(x) < 3 or len(np.unique(x)) < 3:
        raise UserError(f"a correction needs three different networks or more, measured; got {len(np.unique(x))}")
    each = np.arange(len(x))
    held_out = []
    for i in each:
        scale, offset = _line(x[each != i], y[each != i], through_zero)
        held_out.append(float(y[i] - scale * x[i] - offset))
    return Correction(*_line(x, y, through_zero), tuple(held_out))


def _line(x: np.ndarray, y: np.ndarray, through_zero: bool) -> tuple[float, float]:
    """Slope and offset of the line of least squares."""
    x_mean, y_mean = (0.0, 0.0) if through_zero else (x.mean(), y.mean())
    spread = x - x_mean
    slope = float(spread @ (y - y_mean)) / float(spread @ spread)
    return slope, float(y_mean - slope * x_mean)
