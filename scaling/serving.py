"""A network of a job behind the server: it follows a budget that is given, and a load that changes.

What the profile expects is compared with what each answer has taken. Where answers take longer, as other work takes the
cores, a smaller network keeps the budget; where they are fast again, the larger one comes back. Blocks are exchanged
between two answers, see `scaling.switch`.

Source: Han et al., MobiCom 2021, section 4 (budgets, and the present speed of the device, decide).
"""

from __future__ import annotations

import gc
import math
import statistics
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from configs import cli
from deploy.serve import Served
from runtime import preparation
from runtime.errors import UserError
from scaling.optimize import BudgetError

if TYPE_CHECKING:
    from scaling.front import Selected

REMEMBERED = 5  # answers whose slowness counts; the first ones of a network are slow for other reasons
PATIENCE = 1.15  # how much slower or faster than at the last choice before there is another one


class Follower:
    """A network in the size that keeps a budget at the present load.

    Args:
        folder: Of a job that is profiled.
        threads: Of one operation; 0 takes all cores.

    Raises:
        UserError: A part of the job is missing or damaged.
    """

    def __init__(self, folder: Path, threads: int = 0) -> None:
        preparation.prepare("cpu", threads)  # before what imports Paddle
        from scaling.compose import Descendants
        from scaling.front import Selector
        from scaling.job import Job
        from scaling.original import network_of
        from scaling.store import read_manifest
        from scaling.switch import Switch

        self.job = Job.from_record(folder, read_manifest(folder)["job"])
        model, self.recipe, blocks = network_of(self.job)
        self.switch = Switch(Descendants(model, blocks, folder))
        self._selector = Selector(folder)
        self._changing = threading.Lock()
        self._budget = (math.inf, math.inf)  # milliseconds of a clip, bytes
        self._slowness = 1.0  # of the present load, against the profile
        self._chosen_at = 1.0  # slowness at the last choice
        self._recent: deque[float] = deque(maxlen=REMEMBERED)
        self._keeps = True
        self._take(self._selector())
        gc.collect()
        gc.freeze()  # a look through all that is loaded takes .1 s, in which neither an answer nor a switch goes on

    def __call__(self, views: np.ndarray) -> np.ndarray:
        """The output float32 [B, ...] for views float32 [B, ...]; looks at its own time, and follows."""
        begin = time.perf_counter()
        choice, output = self.switch(views)
        self._notice(choice, 1e3 * (time.perf_counter() - begin) / len(views))
        return output

    def set_budget(self, latency_ms: float = math.inf, size_bytes: float = math.inf) -> None:
        """Takes a budget, for one clip at the present load; raises BudgetError, and keeps the one before."""
        with self._changing:
            if not latency_ms > 0:
                raise BudgetError(f"latency_ms must be above 0, got {latency_ms:g}")
            self._take(self._selector(latency_ms / self._slowness, size_bytes))
            self._budget, self._keeps = (latency_ms, size_bytes), True

    def state(self) -> dict[str, Any]:
        """For JSON: the budget, what runs, and whether it is expected to keep the budget at the present load."""
        with self._changing:
            expected = self._selected.expected
            latency_ms, size = (None if math.isinf(one) else one for one in self._budget)
            return {
                "budget": {"latency_ms": latency_ms, "size_bytes": size},
                "keeps_budget": self._keeps,
                "sparsities": list(self._selected.choice),
                "expected": {
                    "accuracy_drop": expected.accuracy_drop,
                    "latency_ms": expected.latency_ms * self._slowness,
                    "size_bytes": expected.size_bytes,
                },
                "slowness": self._slowness,
                "switch_ms": self._switch_ms,
            }

    def _take(self, selected: Selected) -> None:
        self._switch_ms = 1e3 * self.switch.to(selected.choice)
        self._selected, self._chosen_at = selected, self._slowness
        self._recent.clear()

    def _notice(self, choice: tuple[float, ...], latency_ms: float) -> None:
        """Looks how slow an answer was, and chooses again when that has changed."""
        with self._changing:
            if choice != self._selected.choice:
                return
            self._recent.append(latency_ms / self._selected.expected.latency_ms)
            if len(self._recent) < REMEMBERED:
                return
            self._slowness = statistics.median(self._recent)
            if math.isinf(self._budget[0]) or 1 / PATIENCE < self._slowness / self._chosen_at < PATIENCE:
                return
            latency_ms, size = self._budget
            try:
                selected, self._keeps = self._selector(latency_ms / self._slowness, size), True
            except BudgetError:
                selected, self._keeps = self._selector.fastest(size), False
            self._take(selected)


def served(folder: str, threads: int = 0) -> Served:
    """What `deploy.serve` answers with for `--scaling`.

    Raises:
        UserError: See `Follower`.
    """
    from tasks.class_names import class_names_beside

    if not Path(folder).is_dir():
        raise UserError(f"--scaling {folder}: there is no such folder; python -m scaling --output makes one")
    follower = Follower(Path(folder), threads)
    recipe = follower.recipe
    names = class_names_beside(follower.job.pretrained, recipe.network.num_classes)
    facts = {"engine": "paddle, as it was trained", "precision": "fp32"}
    return Served(recipe.network.model, recipe, tuple(names), cli.VIEWS["quick"], follower, facts, follower)
