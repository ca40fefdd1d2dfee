"""From a profile to networks: the front of all choices, some of which are measured whole to correct the estimates.

What blocks lose and save adds up only nearly. So networks along the front, and those of one sparsity in all blocks, are
measured as wholes; lines through estimates and measurements correct the others, and what a line is off by where a
measurement was left out is written down with it. Networks that are drawn at random correct nothing: they show what
corrected estimates are worth. The line for accuracy begins with the original, and runs over `lost_share`, which is
bounded as accuracy is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np

from engine.progress import progress
from runtime.errors import UserError
from runtime.owned import Owned, temporary_folder
from scaling.compose import Choice, Descendants, exchanged, size_bytes
from scaling.evaluate import DIVERGENCE, evaluate_all, lost_share
from scaling.job import Job
from scaling.latency import AT_ONCE, Stopwatch
from scaling.optimize import BudgetError, Correction, Front, corrected, pareto_front
from scaling.original import Original
from scaling.profile import Profile, costs_of, multiply_adds_of, read_profile
from scaling.store import read_part, write_part

FILE = "front.json"
ATTEMPTS = 20  # for each network that is drawn at random and may not be known


class Estimate(TypedDict):
    """Sums over the blocks of a choice, as the profile has them.

    Attributes:
        divergence: See `evaluate.divergence`.
        latency_ms, size_bytes: Of the whole network.
    """

    divergence: float
    latency_ms: float
    size_bytes: float


class Measured(TypedDict):
    """What was measured of a whole network.

    Attributes:
        accuracy_drop: Against the original, of the profile's metric.
        divergence: See `evaluate.divergence`.
        latency_ms: Milliseconds for one clip in the engine.
        size_bytes: Of its weights.
        multiply_adds: For one clip.
        memory_bytes: Most that a process has held which runs it in the engine.
    """

    accuracy_drop: float
    divergence: float
    latency_ms: float
    size_bytes: int
    multiply_adds: int
    memory_bytes: int


class Point(TypedDict):
    """A network that was measured as a whole.

    Attributes:
        choice: Sparsity of each block.
        uniform: Whether that is the same for all.
        unseen: Whether it was drawn at random, and corrects nothing.
        estimated, measured: See there.
    """

    choice: list[float]
    uniform: bool
    unseen: bool
    estimated: Estimate
    measured: Measured


class Line(TypedDict):
    """See `optimize.Correction`."""

    scale: float
    offset: float
    held_out: list[float]


class Measurements(TypedDict):
    """What `front.json` holds.

    Attributes:
        engine, threads: Of the profile, and of the times here.
        points: In the order of falling estimated latency.
        corrections: `accuracy_drop` and `latency_ms`, where enough networks differ.
    """

    engine: str
    threads: int
    points: list[Point]
    corrections: dict[str, Line]


class Table(NamedTuple):
    """The front of a profile.

    Attributes:
        front: Of all choices; the first of a cost is the divergence.
        levels: The sparsities that the front's numbers stand for.
        profile: Where it comes from.
    """

    front: Front
    levels: list[float]
    profile: Profile

    def choice(self, row: int) -> Choice:
        """The sparsity of each block."""
        return tuple(self.levels[number] for number in self.front.choices[row])

    def estimate(self, choice: Choice) -> Estimate:
        """The sum over the blocks of a choice, which need not lie on the front."""
        blocks, rest = costs_of(self.profile)
        terms = [costs[self.levels.index(level)] for costs, level in zip(blocks, choice, strict=True)]
        divergence, latency_ms, size = map(float, np.sum([rest, *terms], axis=0))
        return {"divergence": divergence, "latency_ms": latency_ms, "size_bytes": size}


def table_of(folder: Path) -> Table:
    """The front of a folder's profile; raises UserError if that is not there, or not whole."""
    found = read_profile(folder)
    levels = [row["sparsity"] for row in found["blocks"][0]["rows"]] if found["blocks"] else []
    blocks, rest = costs_of(found)
    return Table(pareto_front(blocks, rest), levels, found)


def choices_along(table: Table, number: int) -> list[Choice]:
    """Networks from the original's time to the shortest, in even steps: for each the one that loses the least."""
    times = table.front.costs[:, 1]  # estimates of small networks may be below zero
    rows = [table.front.within(float(budget)) for budget in np.linspace(times.max(), times.min(), number)]
    return list(dict.fromkeys(table.choice(row) for row in rows if row is not None))


def choices_at_random(table: Table, number: int, known: Collection[Choice]) -> list[Choice]:
    """Networks that are not known, each of other shares of the sparsities; the same in every run."""
    rng = np.random.default_rng(0)
    found: list[Choice] = []
    count, levels = len(table.profile["blocks"]), table.levels
    for _ in range(ATTEMPTS * number):
        drawn = rng.choice(levels, count, p=rng.dirichlet(np.ones(len(levels))))
        choice = tuple(map(float, drawn))
        if len(found) < number and choice not in known and choice not in found:
            found.append(choice)
    return found


def measure(job: Job, folder: Path, points: int, processes: int = 1, threads: int = 1, unseen: int = 0) -> Measurements:
    """Measures networks along the front and the uniform ones, and writes `front.json`.

    Args:
        job: Of the folder, which is profiled.
        folder: Of the job.
        points: Networks along the front.
        processes, threads: See `evaluate_all`; the engine gets as many threads as in the profile.
        unseen: Networks besides that are drawn at random.

    Raises:
        UserError: See `table_of`.
    """
    with Owned(folder).locked(f"another process scales in {folder}"):
        table = table_of(folder)
        count = len(table.profile["blocks"])
        uniform = [(level,) * count for level in table.levels]
        known = set(choices_along(table, points)) | set(uniform)
        drawn = choices_at_random(table, unseen, known)
        choices = sorted([*known, *drawn], key=lambda choice: (-table.estimate(choice)["latency_ms"], choice))
        original = Original(job)
        accuracies = evaluate_all(original, folder, choices, processes, threads)
        found = _wholes(original, folder, table, choices, accuracies)
        for point in found:
            point["unseen"] = tuple(point["choice"]) in drawn
        result: Measurements = {
            "engine": table.profile["engine"], "threads": table.profile["threads"], "points": found,
            "corrections": _corrections(found),
        }  # fmt: skip
        write_part(Owned(folder), FILE, result)
        return result


def _wholes(
    original: Original, folder: Path, table: Table, choices: Sequence[Choice], found: dict[Choice, dict[str, float]]
) -> list[Point]:
    """What networks cost; each is timed in turns with the original, whose time is that of the profile."""
    descendants = Descendants(original.model, original.blocks, folder)
    shape = original.validation.dataset.sample_shape[1:]
    points: list[Point] = []
    profile = table.profile
    with progress(len(choices), "time") as bar, temporary_folder() as own:
        stopwatch = Stopwatch(original.model, [], shape, profile["engine"], profile["threads"], Path(own))
        for start in range(0, len(choices), AT_ONCE):
            layers = [descendants.of(choice) for choice in choices[start : start + AT_ONCE]]
            whole, *others = stopwatch.wholes(layers)
            for choice, one, other in zip(choices[start:], layers, others, strict=False):
                with exchanged(original.model, one) as model:
                    size, operations = size_bytes(model), multiply_adds_of(model, (1, *shape))
                measured: Measured = {
                    "accuracy_drop": profile["accuracy"] - found[choice][profile["metric"]],
                    "divergence": found[choice][DIVERGENCE],
                    "latency_ms": other.latency_ms / whole.latency_ms * profile["latency_ms"],
                    "size_bytes": size,
                    "multiply_adds": operations,
                    "memory_bytes": other.memory_bytes,
                }
                points.append({
                    "choice": list(choice), "uniform": len(set(choice)) == 1, "unseen": False,
                    "estimated": table.estimate(choice), "measured": measured,
                })  # fmt: skip
                bar.update()
    return points


def _corrections(points: Sequence[Point]) -> dict[str, Line]:
    """The corrections for which enough networks differ."""
    points = [point for point in points if not point["unseen"]]
    pairs = {
        "accuracy_drop": [
            (lost_share(point["estimated"]["divergence"]), point["measured"]["accuracy_drop"]) for point in points
        ],
        "latency_ms": [(point["estimated"]["latency_ms"], point["measured"]["latency_ms"]) for point in points],
    }
    lines: dict[str, Line] = {}
    for name, both in pairs.items():
        try:
            estimates, measured = np.array(both, np.float64).T.tolist()
            line = corrected(estimates, measured, through_zero=name == "accuracy_drop")
        except UserError:
            continue  # too few differ: estimates stay as they are
        lines[name] = {"scale": line.scale, "offset": line.offset, "held_out": list(line.held_out)}
    return lines


def read_measurements(folder: Path) -> Measurements:
    """Reads `front.json`; raises UserError if it is not there, or damaged."""
    found: Measurements = read_part(folder, FILE, Measurements, "front")
    return found


class Expected(NamedTuple):
    """What a network is expected to cost: estimates, corrected by those that were measured.

    Attributes:
        accuracy_drop: Against the original, of the profile's metric.
        latency_ms, size_bytes: As of `Estimate`.
    """

    accuracy_drop: float
    latency_ms: float
    size_bytes: float


class Selected(NamedTuple):
    """A choice for budgets, and what it is expected to cost."""

    choice: Choice
    expected: Expected


class Selector:
    """Chooses along the front of a job, its estimates corrected by the networks that were measured.

    Args:
        folder: Of a job.

    Attributes:
        table: The front as it is estimated.
        front: The same in corrected milliseconds; choices are compared by their divergence.
        drops: The accuracy drop that each row of the front is expected to have, float64 [n].

    Raises:
        UserError: The folder is not profiled, or no network was measured.
    """

    def __init__(self, folder: Path) -> None:
        self.table = table_of(folder)
        lines = {
            name: Correction(line["scale"], line["offset"], ())
            for name, line in read_measurements(folder)["corrections"].items()
        }
        same = Correction(1.0, 0.0, ())
        self._drop, self._time = lines.get("accuracy_drop", same), lines.get("latency_ms", same)
        costs = self.table.front.costs.copy()
        costs[:, 1] = self._time(costs[:, 1])
        self.front = Front(costs, self.table.front.choices)
        self.drops = np.asarray(self._drop(lost_share(costs[:, 0])))

    def __call__(self, latency_ms: float = math.inf, size_bytes: float = math.inf) -> Selected:
        """The network that is expected to lose the least within budgets.

        Raises:
            BudgetError: Nothing keeps within them; the message names what is nearest, in corrected milliseconds.
        """
        return self._selected(self.front.best(latency_ms, size_bytes))

    def fastest(self, size_bytes: float = math.inf) -> Selected:
        """The network that is expected to take the least time within a size."""
        fitting = np.flatnonzero(self.front.costs[:, 2] <= size_bytes)
        if not len(fitting):
            raise BudgetError(f"no choice of blocks keeps within {size_bytes:,.0f} bytes")
        return self._selected(int(fitting[self.front.costs[fitting, 1].argmin()]))

    def corrected(self, estimate: Estimate) -> Expected:
        """What a choice is expected to cost, which need not lie on the front."""
        drop, time = self._drop(lost_share(estimate["divergence"])), self._time(estimate["latency_ms"])
        return Expected(float(drop), float(time), estimate["size_bytes"])

    def _selected(self, row: int) -> Selected:
        _, time, size = map(float, self.front.costs[row])
        return Selected(self.table.choice(row), Expected(float(self.drops[row]), time, size))
