"""What each descendant costs: accuracy in several contexts, time in an engine, bytes.

The drop of accuracy is measured in whole networks: the descendant of one block stands in the original, in a network
whose other blocks are all of the middle sparsity, and in one of the sparsest, and each time the original's own block in
its place is what it is held against; the mean of the three counts. The time is what the network gains with this
descendant alone, in the engine that will run it.

Source: Han et al., MobiCom 2021, section 4 (three contexts; latency relative to the original's block).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict

from engine.log import progress
from models.temporal_module import find_layer
from runtime.owned import Owned, temporary_folder
from scaling.compose import Choice, Descendants, size_bytes
from scaling.evaluate import evaluate_all
from scaling.job import Job
from scaling.latency import Stopwatch
from scaling.optimize import Cost
from scaling.original import Original
from scaling.store import read_part, write_part

FILE = "profile.json"
AT_ONCE = 8  # networks that are timed in turns with the original


class Row(TypedDict):
    """One descendant, or the original's block with sparsity 0.

    Attributes:
        sparsity: See `derive`.
        accuracy_drops: In the contexts of `contexts_of`.
        latency_share: What the network with it takes, of what the original takes.
        size_bytes: Of the block.
    """

    sparsity: float
    accuracy_drops: list[float]
    latency_share: float
    size_bytes: int


class BlockProfile(TypedDict):
    """The rows of a block, the original's first."""

    path: str
    rows: list[Row]


class Profile(TypedDict):
    """What `profile.json` holds.

    Attributes:
        engine, threads: That the times are of.
        metric: What accuracy is: the task's first metric, on one view of each validation sample.
        accuracy, latency_ms, size_bytes: Of the original.
        blocks: In the network's order.
    """

    engine: str
    threads: int
    metric: str
    accuracy: float
    latency_ms: float
    size_bytes: int
    blocks: list[BlockProfile]


def contexts_of(sparsities: Sequence[float], blocks: int) -> list[Choice]:
    """The networks that descendants are tried in: the original, one of the middle sparsity, and one of the sparsest."""
    narrow = sorted(sparsity for sparsity in sparsities if sparsity)
    return [(level,) * blocks for level in dict.fromkeys((0.0, narrow[(len(narrow) - 1) // 2], narrow[-1]))]


def trials_of(sparsities: Sequence[float], blocks: int) -> list[Choice]:
    """All networks whose accuracy a profile needs."""
    levels = sorted({0.0, *sparsities})
    return [
        replaced(context, number, level)
        for context in contexts_of(sparsities, blocks)
        for number in range(blocks)
        for level in levels
    ]


def replaced(context: Choice, number: int, sparsity: float) -> Choice:
    """The choice with another sparsity for one block."""
    return (*context[:number], sparsity, *context[number + 1 :])


def profile(job: Job, folder: Path, engine: str, processes: int = 1, threads: int = 1) -> Profile:
    """Measures what is not measured yet, and writes `profile.json`.

    Args:
        job: Of the folder, whose descendants are trained.
        folder: Of the job.
        engine: A key of `deploy.engines.ENGINES`.
        processes, threads: See `evaluate_all`; the engine gets as many threads.

    Raises:
        UserError: A descendant is missing, or the engine does not take a network.
    """
    with Owned(folder).locked(f"another process scales in {folder}"):
        original = Original(job)
        descendants = Descendants(original.model, original.blocks, folder)
        count, levels = len(original.blocks), sorted({0.0, *job.sparsities})
        metric = original.task.metrics[0]
        found = evaluate_all(original, folder, trials_of(job.sparsities, count), processes, threads)
        unchanged = (0.0,) * count

        def drops_of(number: int, level: float) -> list[float]:
            return [
                found[replaced(context, number, 0.0)][metric] - found[replaced(context, number, level)][metric]
                for context in contexts_of(job.sparsities, count)
            ]

        done = _begun(folder, engine, threads, metric)
        done["accuracy"] = found[unchanged][metric]
        done["size_bytes"] = size_bytes(original.model)
        shape = original.validation.dataset.sample_shape[1:]
        if len(done["blocks"]) == count:
            return done
        with progress(count, "time", len(done["blocks"])) as bar, temporary_folder() as own:
            stopwatch = Stopwatch(original.model, shape, engine, threads, Path(own))
            for numbers in _together(range(len(done["blocks"]), count), len(levels) - 1):
                trials = [(number, level) for number in numbers for level in levels[1:]]
                layers = [descendants.of(replaced(unchanged, *trial)) for trial in trials]
                whole, *times = stopwatch.latencies_ms(layers)
                # The smallest of all is nearest to what the machine can do.
                done["latency_ms"] = min(done["latency_ms"] or whole, whole)
                shares = {trial: time / whole for trial, time in zip(trials, times, strict=True)}
                made = dict(zip(trials, layers, strict=True))
                for number in numbers:
                    path = original.blocks[number].path
                    own_layer = find_layer(original.model, path)
                    rows: list[Row] = [
                        {
                            "sparsity": level,
                            "accuracy_drops": drops_of(number, level),
                            "latency_share": shares.get((number, level), 1.0),
                            "size_bytes": size_bytes(made[number, level][path] if level else own_layer),
                        }
                        for level in levels
                    ]
                    done["blocks"].append({"path": path, "rows": rows})
                write_part(Owned(folder), FILE, done)
                bar.update(len(numbers))
        return done


def _together(numbers: range, networks: int) -> Iterator[range]:
    """Runs of blocks, of so many networks each, that are timed in one process."""
    run = max(1, AT_ONCE // networks)
    for start in numbers[::run]:
        yield range(start, min(start + run, numbers.stop))


def _begun(folder: Path, engine: str, threads: int, metric: str) -> Profile:
    """What was measured before in the same engine with as many threads, or nothing yet."""
    if (folder / FILE).exists():
        Owned(folder).check(FILE)
        before = read_profile(folder)
        if (before["engine"], before["threads"]) == (engine, threads):
            return before
    return {
        "engine": engine, "threads": threads, "metric": metric, "accuracy": 0.0, "latency_ms": 0.0, "size_bytes": 0,
        "blocks": [],
    }  # fmt: skip


def read_profile(folder: Path) -> Profile:
    """Reads `profile.json`; raises UserError if it is not there, or damaged."""
    found: Profile = read_part(folder, FILE, Profile, "profile")
    return found


def costs_of(found: Profile) -> tuple[list[list[Cost]], Cost]:
    """What `pareto_front` takes: costs of the descendants of each block, and of the rest, which together are the whole.

    Times are what a descendant adds to, or takes from, the original's: all of the original's own time is in the rest.
    """
    blocks = [
        [
            Cost(
                sum(row["accuracy_drops"]) / len(row["accuracy_drops"]),
                (row["latency_share"] - 1) * found["latency_ms"],
                row["size_bytes"],
            )
            for row in block["rows"]
        ]
        for block in found["blocks"]
    ]
    inside = sum(block["rows"][0]["size_bytes"] for block in found["blocks"])
    return blocks, Cost(0.0, found["latency_ms"], found["size_bytes"] - inside)
