"""What the processes of a job do. This file imports no framework before such a process is set up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import UserError
from scaling.job import Job

if TYPE_CHECKING:
    from deploy.formats import Graph
    from deploy.interface import Settings
    from scaling.tuning import Tuned

WARM_UPS = 3
TURN_S = 0.02  # of one network in a round, at least


def teach(pipe: Connection, job: Job, folder: Path, paths: list[str], threads: int, checkpoint_iters: int) -> None:
    """Trains all descendants of the blocks at these paths, from where their states in the folder stand.

    Sends ("step", number) after each step, ("states", content by name) at each checkpoint and after the last step, and
    ("end", None); where it cannot go on, ("error", exception).
    """
    from runtime import preparation

    try:
        preparation.prepare("cpu", threads)
        from scaling.original import Original
        from scaling.retrain import retrain
        from scaling.store import packed_states, restore_states

        original = Original(job)
        lessons = [lesson for lesson in original.lessons() if lesson.block.path in paths]
        restore_states(folder, lessons)

        def done(step: int) -> None:
            if step % checkpoint_iters == 0 or step == original.total:
                pipe.send(("states", packed_states(lessons)))
            pipe.send(("step", step))

        retrain(original.model, lessons, original.batches, original.held_out(), original.every, done)
        pipe.send(("end", None))
    except UserError as error:
        pipe.send(("error", error))


def examine(pipe: Connection, job: Job, folder: Path, choices: Sequence[tuple[float, ...]], threads: int) -> None:
    """Evaluates networks; sends ("metrics", (choice, metrics)) of each, ("end", None), or else ("error", exception)."""
    from runtime import preparation

    try:
        preparation.prepare("cpu", threads)
        from scaling.compose import Descendants
        from scaling.evaluate import metrics_of
        from scaling.original import Original

        original = Original(job)
        descendants = Descendants(original.model, original.blocks, folder)
        for choice in choices:
            pipe.send(("metrics", (choice, metrics_of(original, descendants, choice))))
        pipe.send(("end", None))
    except UserError as error:
        pipe.send(("error", error))


def fine_tuned(job: Job, folder: Path, choice: tuple[float, ...], epochs: int, trained: bool, threads: int) -> Tuned:
    """See `tuning.fine_tune`; with so many threads."""
    from runtime import preparation

    preparation.prepare("cpu", threads)
    from scaling.tuning import fine_tune

    return fine_tune(job, folder, choice, epochs, trained)


def timed(engine: str, graphs: Sequence[Graph], settings: Settings, rounds: int) -> list[float]:
    """Smallest milliseconds of one clip in each graph, in turns; no framework is loaded but the engine's own."""
    runs = [_opened(engine, graph, settings) for graph in graphs]
    for run in runs:
        for _ in range(WARM_UPS):
            run()
    best = [float("inf")] * len(runs)
    for _ in range(rounds):
        for number, run in enumerate(runs):
            begin = time.perf_counter()
            while (now := time.perf_counter()) - begin < TURN_S or best[number] == float("inf"):
                run()
                best[number] = min(best[number], time.perf_counter() - now)
    return [1e3 * seconds for seconds in best]


def weighed(engine: str, graph: Graph, settings: Settings) -> int:
    """Most bytes that this process has held when a graph has computed one clip a few times."""
    run = _opened(engine, graph, settings)
    for _ in range(WARM_UPS):
        run()
    status = Path("/proc/self/status").read_text(encoding="ascii")  # `ru_maxrss` has what forked this process, too
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def _opened(engine: str, graph: Graph, settings: Settings) -> Callable[[], object]:
    """Computes one batch of noise, the same each time."""
    import numpy as np

    from deploy.engines import open_graph

    opened, noise = open_graph(engine, graph, settings), np.random.default_rng(0)
    arrays = {spec.name: noise.standard_normal(spec.zeros().shape, dtype=np.float32) for spec in graph.signature.inputs}
    return lambda: opened.infer(arrays)
