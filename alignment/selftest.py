"""The suite tested by planted bugs: each must be caught and blamed on the right place, and nothing else may fail."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alignment.mutants import MUTANTS, PAIRS, PIPELINE, Mutant
from alignment.pair import IncomparableError, Pair
from alignment.pipeline import compare_data, ours
from alignment.session import Session
from alignment.stages.weights import weights
from alignment.suite import align_pair, possible

NAMED = 0.95  # part of the mutants whose place must be named
TRAIN_STEPS = 2
NUMBERS = ("weights", "forward", "metric", "loss", "backward", "train")


@dataclass(frozen=True)
class Blame:
    """What a comparison said of a mutant: where, and in which stage; empty where it saw nothing."""

    stage: str = ""
    place: str = ""
    sentence: str = ""

    def names(self, mutant: Mutant) -> bool:
        """Whether it points at what the mutant has changed."""
        return any(expected in self.place for expected in mutant.expect)


@dataclass(frozen=True)
class Trial:
    """One mutant before the suite.

    Attributes:
        mutant: The planted bug.
        whole: What the whole suite says.
        numbers: What it says when it must not read the constants off the models.
        seconds: Time taken.
    """

    mutant: Mutant
    whole: Blame
    numbers: Blame
    seconds: float

    @property
    def caught(self) -> bool:
        """Whether the suite saw it."""
        return bool(self.whole.stage)

    @property
    def named(self) -> bool:
        """Whether the suite's first divergence is the right place."""
        return self.whole.names(self.mutant)


def run_selftest(only: str = "", seeds: int = 20, show: Callable[[str], None] = print) -> bool:
    """Runs all mutants and all unmutated pairs; prints a line for each mutant and the scores.

    Args:
        only: Regular expression that the names of mutants must contain.
        seeds: Unmutated runs of every pair.
        show: Takes the lines.

    Returns:
        Whether every mutant was caught, NAMED of them rightly named, and no unmutated pair failed.
    """
    began = time.perf_counter()
    chosen = [mutant for mutant in MUTANTS if re.search(only, mutant.name)]
    if not chosen:
        raise IncomparableError(f"no mutant's name contains {only!r}; without --only there are {len(MUTANTS)}")
    trials = []
    show(f"{'mutant':<46} {'pair':<17} {'stage':<9} blamed")
    for mutant in chosen:
        trials.append(try_mutant(mutant))
        show(trial_line(trials[-1]))
    alarms = false_alarms(seeds)
    for line in alarms:
        show(f"false alarm: {line}")
    show("")
    for line in scores(trials):
        show(line)
    show(
        f"unmutated     {len(alarms)} of {seeds * len(PAIRS)} runs failed ({seeds} seeds of each of {len(PAIRS)} pairs)"
    )
    show(f"time          {time.perf_counter() - began:.0f} s")
    named = sum(trial.named for trial in trials) >= NAMED * len(trials)
    return all(trial.caught for trial in trials) and named and not alarms


def try_mutant(mutant: Mutant, seed: int = 0) -> Trial:
    """Plants one bug and runs the suite until it sees a difference."""
    began = time.perf_counter()
    if mutant.pair == PIPELINE:
        stage = compare_data(candidate=mutant.apply(ours()))
        blame = Blame() if stage.passed else Blame("data", stage.place, stage.sentence)
        return Trial(mutant, blame, blame, time.perf_counter() - began)
    pair = planted(mutant, seed)
    constants = blame_of(pair, ("config",), seed)
    numbers = blame_of(pair, NUMBERS, seed)
    whole = constants if constants.stage else numbers
    return Trial(mutant, whole, numbers, time.perf_counter() - began)


def planted(mutant: Mutant, seed: int) -> Pair:
    """The mutant's pair with equal weights and the bug in its candidate."""
    pair = PAIRS[mutant.pair](seed)
    weights(Session(pair, "float64", seed))
    pair = dataclasses.replace(pair, copy=False)
    mutant.apply(pair)
    return pair


def blame_of(pair: Pair, steps: Sequence[str], seed: int) -> Blame:
    """What the first of these stages that fails says; a refusal to compare counts, with its message for the place."""
    wanted = [step for step in steps if step in possible(pair)]
    try:
        report = align_pair(pair, steps=wanted, seed=seed, train_steps=TRAIN_STEPS, until_failure=True)
    except IncomparableError as error:
        return Blame("refused", str(error), str(error))
    divergence = report.first_divergence
    return Blame() if divergence is None else Blame(divergence.stage, divergence.place, divergence.sentence)


def false_alarms(seeds: int) -> list[str]:
    """Failures of pairs without a bug, with other weights and data for each seed."""
    found = []
    for seed in range(seeds):
        for name, build in PAIRS.items():
            blame = blame_of(build(seed), ("config", *NUMBERS, "guards"), seed)
            if blame.stage:
                found.append(f"{name}, seed {seed}: {blame.stage}, {blame.place}: {blame.sentence}")
    return found


def trial_line(trial: Trial) -> str:
    """One line of the table."""
    verdict = (
        "" if trial.named else " NOT CAUGHT" if not trial.caught else f" (expected {' or '.join(trial.mutant.expect)})"
    )
    alone = "" if trial.numbers.stage else " [constants only]"
    place = trial.whole.place if len(trial.whole.place) < 80 else trial.whole.place[:77] + "..."
    return f"{trial.mutant.name:<46} {trial.mutant.pair:<17} {trial.whole.stage:<9} {place}{alone}{verdict}"


def scores(trials: Sequence[Trial]) -> list[str]:
    """The mutation scores: of the whole suite, and of its numbers alone."""
    total = len(trials)
    caught, named = sum(t.caught for t in trials), sum(t.named for t in trials)
    seen, blamed = sum(bool(t.numbers.stage) for t in trials), sum(t.numbers.names(t.mutant) for t in trials)
    return [
        f"caught        {caught} of {total} mutants ({caught / total:.0%})",
        f"named         {named} of {total} ({named / total:.0%}): the layer, tensor or constant that was changed",
        f"numbers alone {seen} of {total} caught ({seen / total:.0%}), {blamed} named, without reading constants",
    ]
