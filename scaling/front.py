"""From a profile to networks: the front of all choices, some of which are measured whole to correct the estimates.

Accuracy drops and times of blocks add up only nearly. So networks along the front, and those of one sparsity in all
blocks, are measured as wholes; a line through estimates and measurements corrects the others, and what that line is off
by where a measurement was left out is written down with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np

from engine.log import progress
from runtime.errors import UserError
from runtime.owned import Owned, temporary_folder
from scaling.compose import Choice, Descendants, exchanged, size_bytes
from scaling.evaluate import evaluate_all
from scaling.job import Job
from scaling.latency import Stopwatch
from scaling.optimize import Correction, Cost, Front, corrected, pareto_front
from scaling.original import Original
from scaling.profile import AT_ONCE, Profile, costs_of, read_profile
from scaling.store import read_part, write_part

FILE = "front.json"


class Point(TypedDict):
    """A network that was measured as a whole.

    Attributes:
        choice: Sparsity of each block.
        uniform: Whether that is the same for all.
        estimated, measured: By the names of Cost's fields; the estimates as the sums over blocks have them.
    """

    choice: list[float]
    uniform: bool
    estimated: dict[str, float]
    measured: dict[str, float]


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
        corrections: By the names of Cost's fields.
    """

    engine: str
    threads: int
    points: list[Point]
    corrections: dict[str, Line]


class Table(NamedTuple):
    """The front of a profile.

    Attributes:
        front: Of all choices.
        levels: The sparsities that the front's numbers stand for.
        profile: Where it comes from.
    """

    front: Front
    levels: list[float]
    profile: Profile

    def choice(self, row: int) -> Choice:
        """The sparsity of each block."""
        return tuple(self.levels[number] for number in self.front.choices[row])

    def estimate(self, choice: Choice) -> Cost:
        """The sum over the blocks of a choice, which need not lie on the front."""
        blocks, rest = costs_of(self.profile)
        terms = [costs[self.levels.index(level)] for costs, level in zip(blocks, choice, strict=True)]
        return Cost(*map(float, np.sum([rest, *terms], axis=0)))


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


def measure(job: Job, folder: Path, points: int, processes: int = 1, threads: int = 1) -> Measurements:
    """Measures networks along the front and the uniform ones, and writes `front.json`.

    Args:
        job: Of the folder, which is profiled.
        folder: Of the job.
        points: Networks along the front.
        processes, threads: See `evaluate_all`; the engine gets as many threads as in the profile.

    Raises:
        UserError: See `table_of`.
    """
    with Owned(folder).locked(f"another process scales in {folder}"):
        table = table_of(folder)
        count = len(table.profile["blocks"])
        uniform = [(level,) * count for level in table.levels]
        choices = sorted(
            dict.fromkeys([*choices_along(table, points), *uniform]),
            key=lambda choice: -table.estimate(choice).latency_ms,
        )
        metric = table.profile["metric"]
        original = Original(job)
        accuracies = evaluate_all(original, folder, choices, processes, threads)
        measured = _wholes(original, folder, table, choices)
        found: list[Point] = []
        for choice, (latency_ms, size) in zip(choices, measured, strict=True):
            drop = table.profile["accuracy"] - accuracies[choice][metric]
            found.append({
                "choice": list(choice), "uniform": len(set(choice)) == 1, "estimated": table.estimate(choice)._asdict(),
                "measured": Cost(drop, latency_ms, size)._asdict(),
            })  # fmt: skip
        lines = {name: _line(found, name) for name in ("accuracy_drop", "latency_ms")}
        result: Measurements = {
            "engine": table.profile["engine"], "threads": table.profile["threads"], "points": found,
            "corrections": {name: line for name, line in lines.items() if line},
        }  # fmt: skip
        write_part(Owned(folder), FILE, result)
        return result


def _wholes(original: Original, folder: Path, table: Table, choices: Sequence[Choice]) -> list[tuple[float, int]]:
    """Milliseconds and bytes of networks, each timed in turns with the original, whose time is that of the profile."""
    descendants = Descendants(original.model, original.blocks, folder)
    shape = original.validation.dataset.sample_shape[1:]
    found = []
    engine, threads = table.profile["engine"], table.profile["threads"]
    with progress(len(choices), "time") as bar, temporary_folder() as own:
        stopwatch = Stopwatch(original.model, shape, engine, threads, Path(own))
        for start in range(0, len(choices), AT_ONCE):
            layers = [descendants.of(choice) for choice in choices[start : start + AT_ONCE]]
            times = stopwatch.latencies_ms(layers)
            for one, time in zip(layers, times[1:], strict=True):
                with exchanged(original.model, one) as model:
                    found.append((time / times[0] * table.profile["latency_ms"], size_bytes(model)))
                bar.update()
    return found


def _line(points: Sequence[Point], name: str) -> Line | None:
    """The correction of one cost; None where too few networks differ."""
    pairs = [(point["estimated"][name], point["measured"][name]) for point in points]
    try:
        line = corrected(*map(list, zip(*pairs, strict=True)))
    except UserError:
        return None
    return {"scale": line.scale, "offset": line.offset, "held_out": list(line.held_out)}


def read_measurements(folder: Path) -> Measurements:
    """Reads `front.json`; raises UserError if it is not there, or damaged."""
    found: Measurements = read_part(folder, FILE, Measurements, "front")
    return found


class Selected(NamedTuple):
    """A choice for budgets, and what it is expected to cost, corrected."""

    choice: Choice
    expected: Cost


def select(folder: Path, latency_ms: float = math.inf, size_bytes: float = math.inf) -> Selected:
    """The network that is expected to lose the least within budgets.

    Raises:
        BudgetError: Nothing keeps within them; the message names what is nearest, in corrected milliseconds.
        UserError: The folder is not profiled, or no network was measured.
    """
    table, found = table_of(folder), read_measurements(folder)
    lines = {name: Correction(line["scale"], line["offset"], ()) for name, line in found["corrections"].items()}
    same = Correction(1.0, 0.0, ())
    time, drop = lines.get("latency_ms", same), lines.get("accuracy_drop", same)
    costs = table.front.costs.copy()
    costs[:, 1] = time.scale * costs[:, 1] + time.offset
    row = Front(costs, table.front.choices).best(latency_ms, size_bytes)
    estimate = costs[row]
    return Selected(table.choice(row), Cost(drop(float(estimate[0])), float(estimate[1]), float(estimate[2])))
