"""What whole networks of chosen descendants get on the validation samples: in several processes, each choice once.

The figures are kept in `evaluations.json`, so that a run that was ended goes on, and what was measured once is not
measured again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.progress import progress
from runtime.owned import Owned
from runtime.parallel import heard, processes_of
from runtime.records import read_record
from scaling.compose import Choice, Descendants, exchanged
from scaling.original import Original
from scaling.store import write_part
from scaling.teacher import examine

FILE = "evaluations.json"
DIVERGENCE = "divergence"  # beside the names of the task's metrics
KEPT_EVERY = 8  # evaluations between two writings


def evaluate_all(
    original: Original, folder: Path, choices: Iterable[Choice], processes: int = 1, threads: int = 1
) -> dict[Choice, dict[str, float]]:
    """The metrics of the network of each choice, by the names of the task's meter, and its divergence.

    Args:
        original: Of the folder's job.
        folder: With trained descendants; the caller has locked it.
        choices: What to measure.
        processes: That share the choices; 1 measures in this one.
        threads: Of each, where they are several.

    Raises:
        UserError: A descendant is missing, or a process died.
    """
    owned, found = Owned(folder), read_evaluations(folder)
    left = [choice for choice in dict.fromkeys(choices) if choice not in found]

    def keep() -> None:
        content = {key_of(choice): metrics for choice, metrics in sorted(found.items())}
        write_part(owned, FILE, content)

    with progress(len(left), "evaluate") as bar:
        for number, (choice, metrics) in enumerate(_measured(original, folder, left, processes, threads), start=1):
            found[choice] = metrics
            bar.update()
            if number % KEPT_EVERY == 0:
                keep()
    if left:
        keep()
    return found


def read_evaluations(folder: Path) -> dict[Choice, dict[str, float]]:
    """What has been measured so far."""
    if not (folder / FILE).exists():
        return {}
    Owned(folder).check(FILE)
    content: dict[str, dict[str, float]] = read_record(folder / FILE, dict[str, dict[str, float]])
    return {tuple(map(float, key.split(","))): metrics for key, metrics in content.items()}


def key_of(choice: Choice) -> str:
    """A choice as a key of JSON."""
    return ",".join(f"{sparsity:g}" for sparsity in choice)


def metrics_of(original: Original, descendants: Descendants, choice: Choice) -> dict[str, float]:
    """The metrics of one network, and its divergence."""
    own = original.outputs  # before blocks are exchanged
    with exchanged(original.model, descendants.of(choice)) as model:
        metrics, outputs = original.examine(model)
    return {**metrics, DIVERGENCE: divergence(own, outputs)}


def divergence(own: np.ndarray, outputs: np.ndarray) -> float:
    """How far outputs are off: mean squared difference in units of the original's variance, without what all classes of
    a sample have in common, which no softmax sees.

    It moves with every sample, where the accuracy of 76 clips moves in steps of 1.3 points; and what independent errors
    of several blocks add to it adds up.

    Args:
        own, outputs: Of the original and of another network, float32 [N, K, ...].
    """
    ours, theirs = (
        side - side.mean(axis=1, keepdims=True) for side in (own.astype(np.float64), outputs.astype(np.float64))
    )
    return float(np.square(theirs - ours).mean() / np.square(ours).mean())


def lost_share(divergences: np.ndarray | float) -> np.ndarray:
    """The share of decisions that change at a divergence, were both the margins and the errors Gaussian.

    The sign of a variable changes with this probability when an independent one of that relative variance is added.
    """
    share: np.ndarray = np.arctan(np.sqrt(np.maximum(divergences, 0))) / np.pi
    return share


def _measured(
    original: Original, folder: Path, choices: Sequence[Choice], processes: int, threads: int
) -> Iterable[Any]:
    if min(processes, len(choices)) <= 1:
        descendants = Descendants(original.model, original.blocks, folder)
        yield from ((choice, metrics_of(original, descendants, choice)) for choice in choices)
        return
    shares = [(original.job, folder, choices[i::processes], threads) for i in range(min(processes, len(choices)))]
    with processes_of(examine, shares) as pipes:
        yield from (content for kind, content in heard(pipes) if kind == "metrics")
