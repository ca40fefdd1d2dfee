"""How long a network takes in the engine that will run it, on the machine where this is called.

A single time says little on a machine that does other things too. So networks are timed in turns, each by the smallest
of its times, in a process of their own that has loaded nothing else; what counts is their ratio.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from paddle import nn

from deploy.engines import ENGINES, check_settings, open_graph
from deploy.formats import Graph
from deploy.interface import Settings
from deploy.signature import Signature
from deploy.writers import write_graph
from runtime.fresh_process import in_fresh_process
from runtime.owned import temporary_folder
from scaling.compose import composed

ROUNDS, WARM_UPS = 15, 3
TURN_S = 0.02  # of one network in a round, at least


class Stopwatch:
    """Times networks that other layers make of a model, in an engine.

    Args:
        model: In eval mode.
        view_shape: (T, 3, H, W) of a clip, or (3, H, W) of an image.
        engine: A key of ENGINES.
        threads: Of the engine; 0 takes all cores.
        folder: Where the model's own graph is kept, which all are timed against.

    Raises:
        UserError: The engine is not installed, or does not take the network.
    """

    def __init__(self, model: nn.Layer, view_shape: Sequence[int], engine: str, threads: int, folder: Path) -> None:
        self.model = model
        self.engine = engine
        self.view_shape = tuple(view_shape)
        self.settings = Settings(threads=threads)
        check_settings(engine, self.settings)
        self._own = self._written({}, folder)

    def latencies_ms(self, networks: Sequence[Mapping[str, nn.Layer]]) -> list[float]:
        """Milliseconds of one clip in the model itself, and in each network, named by what takes the place of what."""
        with temporary_folder() as place:
            graphs = [self._written(layers, Path(place) / str(number)) for number, layers in enumerate(networks)]
            return in_fresh_process(timed, self.engine, [self._own, *graphs], self.settings, self.view_shape)

    def _written(self, layers: Mapping[str, nn.Layer], folder: Path) -> Graph:
        folder.mkdir(exist_ok=True)
        signature = Signature.of_views(self.view_shape)
        return write_graph(ENGINES[self.engine].formats[0], composed(self.model, layers), signature, folder)


def timed(engine: str, graphs: Sequence[Graph], settings: Settings, view_shape: tuple[int, ...]) -> list[float]:
    """Smallest milliseconds of a clip in each graph, timed in turns."""
    clip = np.random.default_rng(0).standard_normal((1, *view_shape), dtype=np.float32)
    engines = [open_graph(engine, graph, settings) for graph in graphs]
    for one in engines:
        for _ in range(WARM_UPS):
            one(clip)
    best = [float("inf")] * len(engines)
    for _ in range(ROUNDS):
        for number, one in enumerate(engines):
            begin = time.perf_counter()
            while (now := time.perf_counter()) - begin < TURN_S or best[number] == float("inf"):
                one(clip)
                best[number] = min(best[number], time.perf_counter() - now)
    return [1e3 * seconds for seconds in best]
