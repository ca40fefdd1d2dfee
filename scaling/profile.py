"""What each descendant costs: accuracy in several contexts, time in an engine, bytes, operations.

The drop of accuracy is measured in whole networks: the descendant of one block stands in the original, in a network
whose other blocks are all of the lowest sparsity, and in one of the middle sparsity, and each time the original's own
block in its place is what it is held against. Beside it stands what moves in smaller steps than the accuracy of few
samples does: how far the outputs are off (`scaling.evaluate.divergence`). Choices are compared by that of the original
with one other block: as a square it adds up for errors that have nothing to do with one another, while in networks that
are off already an error may as well undo another one, and a search would find and add up what did so by chance. The
time is what the network saves with this descendant, in the engine that will run it.

Source: Han et al., MobiCom 2021, section 4 (three contexts; latency relative to the original's block). Their third
context is the sparsest network, which is at chance where a trained one is cut to a fifth: there nothing can be lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import paddle
from paddle import nn

from engine.progress import progress
from models.operations import counted
from runtime.owned import Owned, temporary_folder
from scaling.compose import Choice, Descendants, size_bytes
from scaling.evaluate import DIVERGENCE, evaluate_all
from scaling.job import Job
from scaling.latency import AT_ONCE, Stopwatch
from scaling.optimize import Cost
from scaling.original import Original
from scaling.store import read_part, write_part

FILE = "profile.json"


class Row(TypedDict):
    """One descendant, or the original's block with sparsity 0.

    Attributes:
        sparsity: See `derive`.
        accuracy_drops: In the contexts of `contexts_of`.
        divergences: How much further it takes the outputs off in these contexts, see `evaluate.divergence`.
        latency_share: What the network with it takes, of what the original takes.
        size_bytes, multiply_adds: Of the block, for one clip or image.
    """

    sparsity: float
    accuracy_drops: list[float]
    divergences: list[float]
    latency_share: float
    size_bytes: int
    multiply_adds: int


class BlockProfile(TypedDict):
    """The rows of a block, the original's first."""

    path: str
    rows: list[Row]


class Profile(TypedDict):
    """What `profile.json` holds.

    Attributes:
        engine, threads: That the times are of.
        metric: What accuracy is: the task's first metric, on one view of each validation sample.
        samples: How many of these there are.
        accuracy, latency_ms, size_bytes, multiply_adds: Of the original.
        memory_bytes: Most that a process has held which runs it in the engine.
        blocks: In the network's order.
    """

    engine: str
    threads: int
    metric: str
    samples: int
    accuracy: float
    latency_ms: float
    size_bytes: int
    multiply_adds: int
    memory_bytes: int
    blocks: list[BlockProfile]


def contexts_of(sparsities: Sequence[float], blocks: int) -> list[Choice]:
    """The networks that descendants are tried in: the original, that of the lowest sparsity, and of the middle one."""
    narrow = sorted(sparsity for sparsity in sparsities if sparsity)
    return [(level,) * blocks for level in dict.fromkeys((0.0, narrow[0], narrow[(len(narrow) - 1) // 2]))]


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
        found = evaluate_all(original, folder, trials_of(job.sparsities, count), processes, threads)
        done = _begun(folder, engine, threads, original)
        done["accuracy"] = found[(0.0,) * count][done["metric"]]
        if len(done["blocks"]) == count:
            return done
        with progress(count, "time", len(done["blocks"])) as bar, temporary_folder() as own:
            shape = original.validation.dataset.sample_shape[1:]
            paths = [block.path for block in original.blocks]
            stopwatch = Stopwatch(original.model, paths, shape, engine, threads, Path(own))
            done["memory_bytes"] = stopwatch.memory_bytes()
            together = max(1, AT_ONCE // (len(levels) - 1))
            for start in range(len(done["blocks"]), count, together):
                numbers = range(start, min(start + together, count))
                made = {n: [descendants.of_block(original.blocks[n], level) for level in levels] for n in numbers}
                whole, saved = stopwatch.saved_ms({paths[n]: layers[1:] for n, layers in made.items()})
                # The smallest of all is nearest to what the machine can do.
                done["latency_ms"] = min(done["latency_ms"] or whole, whole)
                for n, layers in made.items():
                    given, _ = stopwatch.shapes[paths[n]]
                    rows: list[Row] = [
                        {
                            "sparsity": level,
                            "accuracy_drops": _rises(found, job.sparsities, n, level, done["metric"], sign=-1),
                            "divergences": _rises(found, job.sparsities, n, level, DIVERGENCE),
                            "latency_share": 1 - less / whole,
                            "size_bytes": size_bytes(layer),
                            "multiply_adds": multiply_adds_of(layer, given),
                        }
                        for level, layer, less in zip(levels, layers, [0.0, *saved[paths[n]]], strict=True)
                    ]
                    done["blocks"].append({"path": paths[n], "rows": rows})
                write_part(Owned(folder), FILE, done)
                bar.update(len(numbers))
        return done


def _rises(
    found: dict[Choice, dict[str, float]], sparsities: Sequence[float], number: int, level: float, name: str,
    sign: int = 1,
) -> list[float]:  # fmt: skip
    """How much a figure rises in each context when a block's own is replaced, or falls where the sign is -1."""
    contexts = contexts_of(sparsities, len(next(iter(found))))
    return [
        sign * (found[replaced(context, number, level)][name] - found[replaced(context, number, 0.0)][name])
        for context in contexts
    ]


def multiply_adds_of(layer: nn.Layer, given: Sequence[int]) -> int:
    """Multiply-adds of a layer for an input of a shape."""
    with counted(layer) as operations, paddle.no_grad():
        layer(paddle.zeros(list(given)))
    return operations.multiply_adds


def _begun(folder: Path, engine: str, threads: int, original: Original) -> Profile:
    """What was measured before in the same engine with as many threads, or nothing yet."""
    if (folder / FILE).exists():
        Owned(folder).check(FILE)
        before = read_profile(folder)
        if (before["engine"], before["threads"]) == (engine, threads):
            return before
    validation = original.validation.dataset
    return {
        "engine": engine, "threads": threads, "metric": original.task.metrics[0], "samples": len(validation),
        "accuracy": 0.0, "latency_ms": 0.0, "size_bytes": size_bytes(original.model),
        "multiply_adds": multiply_adds_of(original.model, (1, *validation.sample_shape[1:])), "memory_bytes": 0,
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
            Cost(row["divergences"][0], (row["latency_share"] - 1) * found["latency_ms"], row["size_bytes"])
            for row in block["rows"]
        ]
        for block in found["blocks"]
    ]
    inside = sum(block["rows"][0]["size_bytes"] for block in found["blocks"])
    return blocks, Cost(0.0, found["latency_ms"], found["size_bytes"] - inside)
