"""The suite tested by injected faults: each must be caught and blamed on the right place, and nothing else may fail."""

from __future__ import annotations

import dataclasses
import multiprocessing
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from alignment.certification.data.pipeline import compare_data, ours
from alignment.mutation import MUTANTS, PAIRS, PIPELINE, Mutant
from alignment.process import prepare
from alignment.sides.pair import IncomparableError, Pair
from alignment.stages import STAGES
from alignment.stages.session import Session
from alignment.stages.weights import weights
from alignment.suite import align_pair, possible
from alignment.verdicts.record import Divergence

NAMED = 0.95  # fraction of the mutants whose place must be named
TRAIN_STEPS = 2
NUMBERS = tuple(name for name in STAGES if name not in ("config", "init", "guards"))


@dataclass(frozen=True)
class Trial:
    """One mutant before the suite.

    Attributes:
        mutant: The injected fault.
        whole: What the whole suite says; None where it saw nothing.
        numbers: What it says when it must not read the constants off the models.
    """

    mutant: Mutant
    whole: Divergence | None
    numbers: Divergence | None

    @property
    def caught(self) -> bool:
        """Whether the suite saw it."""
        return self.whole is not None

    @property
    def named(self) -> bool:
        """Whether the suite's first divergence is the right place."""
        return names(self.whole, self.mutant)


def names(blamed: Divergence | None, mutant: Mutant) -> bool:
    """Whether a divergence points at what the mutant has changed."""
    return blamed is not None and any(expected in blamed.place for expected in mutant.expect)


def run_selftest(only: str = "", seeds: int = 20, workers: int = 1, show: Callable[[str], None] = print) -> bool:
    """Runs all mutants and all unmutated pairs; prints a line for each mutant and the scores.

    Args:
        only: Regular expression that the names of mutants must contain; the pairs without a fault are then theirs.
        seeds: Unmutated runs of every pair.
        workers: Processes to share the work.
        show: Takes the lines.

    Returns:
        Whether every mutant was caught, NAMED of them rightly named, and no unmutated pair failed.
    """
    began = time.perf_counter()
    chosen = [index for index, mutant in enumerate(MUTANTS) if re.search(only, mutant.name)]
    if not chosen:
        raise IncomparableError(f"no mutant's name contains {only!r}; without --only there are {len(MUTANTS)}")
    trials = []
    show(f"{'mutant':<46} {'pair':<17} {'stage':<9} blamed")
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), prepare, (1,)) as pool:
        for index, (whole, numbers) in zip(chosen, pool.map(try_mutant, chosen), strict=True):
            trials.append(Trial(MUTANTS[index], whole, numbers))
            show(trial_line(trials[-1]))
        mutated = {MUTANTS[index].pair for index in chosen}
        pairs = [name for name in PAIRS if not only or name in mutated]
        cases = [(name, seed) for seed in range(seeds) for name in pairs]
        alarms = [line for line in pool.map(false_alarm, cases) if line]
    for line in ["", *(f"false alarm: {alarm}" for alarm in alarms), *scores(trials)]:
        show(line)
    show(f"unmutated     {len(alarms)} of {len(cases)} runs failed ({seeds} seeds of each of {len(pairs)} pairs)")
    show(f"time          {time.perf_counter() - began:.0f} s in {workers} processes")
    named = sum(trial.named for trial in trials) >= NAMED * len(trials)
    return all(trial.caught for trial in trials) and named and not alarms


def try_mutant(index: int, seed: int = 0, until_failure: bool = False) -> tuple[Divergence | None, Divergence | None]:
    """Injects MUTANTS[index].

    Returns:
        What the whole suite says up to the first difference, and what its numbers say alone, which are left out with
        `until_failure` where the constants have said it, as are functions of the pipeline that are as they were.
    """
    mutant = MUTANTS[index]
    if mutant.pair == PIPELINE:
        changed = mutant.expect if until_failure else ()
        stage = compare_data(candidate=mutant.apply(ours()), only=changed, until_failure=True)
        blamed = None if stage.passed else stage.divergence
        return blamed, blamed
    pair = mutated_pair(mutant, seed)
    constants = blame_of(pair, ("config",), seed)
    numbers = None if constants and until_failure else blame_of(pair, NUMBERS, seed)
    return constants or numbers, numbers


def mutated_pair(mutant: Mutant, seed: int) -> Pair:
    """The mutant's pair with equal weights and the fault in its candidate."""
    pair = PAIRS[mutant.pair](seed)
    weights(Session(pair, "float64", seed))
    pair = dataclasses.replace(pair, carry=False)
    mutant.apply(pair)
    return pair


def blame_of(pair: Pair, steps: Sequence[str], seed: int) -> Divergence | None:
    """What the first of these stages that fails says, or a refusal to compare, its message for the place."""
    wanted = [step for step in steps if step in possible(pair)]
    try:
        report = align_pair(pair, steps=wanted, seed=seed, train_steps=TRAIN_STEPS, until_failure=True)
    except IncomparableError as error:
        return Divergence("refused", str(error), str(error))
    return report.first_divergence


def false_alarm(case: tuple[str, int]) -> str:
    """What the suite finds in a pair without a fault, built from a seed; empty if nothing."""
    name, seed = case
    found = blame_of(PAIRS[name](seed), ("config", *NUMBERS, "guards"), seed)
    return f"{name}, seed {seed}: {found.stage}, {found.place}: {found.sentence}" if found else ""


def trial_line(trial: Trial) -> str:
    """One line of the table."""
    verdict = (
        "" if trial.named else " NOT CAUGHT" if not trial.caught else f" (expected {' or '.join(trial.mutant.expect)})"
    )
    alone = "" if trial.numbers else " [constants only]"
    stage, place = (trial.whole.stage, trial.whole.place) if trial.whole else ("", "")
    place = place if len(place) < 80 else place[:77] + "..."
    return f"{trial.mutant.name:<46} {trial.mutant.pair:<17} {stage:<9} {place}{alone}{verdict}"


def scores(trials: Sequence[Trial]) -> list[str]:
    """The mutation scores: of the whole suite, and of its numbers alone."""
    total = len(trials)
    caught, named = sum(t.caught for t in trials), sum(t.named for t in trials)
    seen, blamed = sum(bool(t.numbers) for t in trials), sum(names(t.numbers, t.mutant) for t in trials)
    return [
        f"caught        {caught} of {total} mutants ({caught / total:.0%})",
        f"named         {named} of {total} ({named / total:.0%}): the layer, tensor or constant that was changed",
        f"numbers alone {seen} of {total} caught ({seen / total:.0%}), {blamed} named, without reading constants",
    ]
