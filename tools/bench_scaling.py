"""How long a choice for a budget and an exchange of blocks take: `python -m tools.bench_scaling --scaling DIR`.

The folder is one that `python -m scaling` has filled. A budget is looked up in its own table and in one of 16 blocks of
five descendants each, of random costs. A block is exchanged in a network that answers meanwhile, one clip at a time in
another thread; the file of the block is read, its digest checked, each time.
"""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from runtime import command, preparation
from tools import measure

BLOCKS, DESCENDANTS = 16, 5


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = command.parser(__doc__ or "", "python -m tools.bench_scaling --scaling DIR [flags]")
    parser.add_argument("--scaling", required=True, type=Path, help="folder of python -m scaling")
    parser.add_argument("--rounds", type=command.positive, default=200, help="budgets, and exchanges")
    parser.add_argument("--threads", type=command.count, default=0, help="of one operation; 0: all cores")
    args = parser.parse_args(argv)
    notes = preparation.prepare("cpu", args.threads)
    from scaling.front import Selector
    from scaling.serving import Follower

    selector, follower = Selector(args.scaling), Follower(args.scaling, args.threads)
    model = follower.recipe.network.model
    machine = measure.machine()
    command.say(f"{machine['date']}, {machine['processor']}, load {machine['load']}, {', '.join(notes)}", "")
    command.say("| what | median, ms | largest, ms |", "|---|---|---|")
    blocks = len(follower.switch.descendants.blocks)
    times = selector.front.costs[:, 1]
    report(f"a budget, {model}, {blocks} blocks, {len(selector.front)} networks", budgets(
        args.rounds, times, lambda budget: selector(latency_ms=budget)))  # fmt: skip
    begin = time.perf_counter()
    table = random_front()
    built = time.perf_counter() - begin
    report(f"a budget, {BLOCKS} blocks x {DESCENDANTS}, {len(table)} networks, built in {1e3 * built:.0f} ms", budgets(
        args.rounds, table.costs[:, 1], lambda budget: table.best(latency_ms=budget)))  # fmt: skip
    alone, exchanged, answers = exchanges(follower, args.rounds)
    report(f"one block of {model} exchanged while {answers} answers are given", exchanged)
    report("one block exchanged, nothing else to do", alone)


def report(what: str, seconds: Sequence[float]) -> None:
    """A row of the table."""
    command.say(f"| {what} | {1e3 * statistics.median(seconds):.3f} | {1e3 * max(seconds):.3f} |")


def budgets(rounds: int, times: np.ndarray, choose: Callable[[float], object]) -> list[float]:
    """Seconds of each choice for budgets of time that something keeps."""
    found = []
    for budget in np.random.default_rng(0).uniform(max(float(times.min()), 1e-6), float(times.max()), rounds):
        begin = time.perf_counter()
        choose(float(budget))
        found.append(time.perf_counter() - begin)
    return found


def random_front():
    """The table of blocks whose descendants lose more the faster and smaller they are."""
    from scaling.optimize import Cost, pareto_front

    rng = np.random.default_rng(0)
    costs = np.sort(rng.uniform(0, 1, (BLOCKS, DESCENDANTS, 3)), axis=1)
    return pareto_front([[Cost(drop, 1 - ms, 1e6 * (1 - size)) for drop, ms, size in block] for block in costs])


def exchanges(follower, rounds: int) -> tuple[list[float], list[float], int]:
    """Seconds of exchanges of one block, with nothing else to do and while the network answers; and its answers."""
    from datasets import unlabeled
    from tasks import task_of

    switch, recipe = follower.switch, follower.recipe
    shape = task_of(recipe).dataset(unlabeled([]), recipe, "val").sample_shape
    clip = np.zeros(shape, np.float32)
    levels = follower.job.sparsities
    rng = np.random.default_rng(0)

    def some(count: int) -> list[float]:
        found = []
        for _ in range(count):
            choice = list(switch.running.choice)
            block = int(rng.integers(len(choice)))
            choice[block] = float(rng.choice([level for level in levels if level != choice[block]]))
            found.append(switch.to(tuple(choice)))
            time.sleep(0.01)  # as nobody asks without a pause
        return found

    alone = some(rounds)
    is_over, answers = threading.Event(), itertools.count()

    def answer() -> None:
        while not is_over.is_set():
            switch(clip)
            next(answers)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        exchanged = some(rounds)
    finally:
        is_over.set()
        thread.join()
    return alone, exchanged, next(answers)


if __name__ == "__main__":
    with command.clear_errors():
        main()
