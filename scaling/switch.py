"""A running network whose blocks are exchanged without stopping it.

Who computes takes the network once and keeps it to the end, so that every answer is that of one whole network. A switch
makes a new network, which shares all with the one before but the blocks that differ; only these are read.
"""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

import numpy as np
import paddle
from paddle import nn

from models.temporal_module import find_layer
from scaling.compose import Choice, Descendants, grafted


class Running(NamedTuple):
    """What computes: the sparsity of each block, and the network."""

    choice: Choice
    model: nn.Layer


class Switch:
    """A network in eval mode that many threads may call while another one switches it.

    Args:
        descendants: Of a job; the network begins as its original.
    """

    def __init__(self, descendants: Descendants) -> None:
        self.descendants = descendants
        self._one_at_a_time = threading.Lock()
        self._running = Running((0.0,) * len(descendants.blocks), descendants.model)

    @property
    def running(self) -> Running:
        """What computes at this moment."""
        return self._running

    def __call__(self, clips: np.ndarray) -> tuple[Choice, np.ndarray]:
        """The output float32 for clips float32 [N, ...], and the choice that has computed it."""
        choice, model = self._running
        with paddle.no_grad():
            output: np.ndarray = model(paddle.to_tensor(clips)).numpy()
        return choice, output

    def to(self, choice: Choice) -> float:
        """Exchanges the blocks that differ; returns the seconds that took.

        Raises:
            UserError: A descendant is missing or was changed; what runs goes on.
        """
        begin = time.perf_counter()
        self.descendants.check(choice)
        with self._one_at_a_time:
            before, model = self._running
            changed = {}
            for block, old, new in zip(self.descendants.blocks, before, choice, strict=True):
                if old != new:
                    own = find_layer(self.descendants.model, block.path)
                    changed[block.path] = self.descendants.read(block, new) if new else own
            if changed:
                self._running = Running(choice, grafted(model, changed))
        return time.perf_counter() - begin
