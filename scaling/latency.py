"""How long a network takes in the engine that will run it, on the machine where this is called.

A single time says little on a machine that does other things too. So networks are timed in turns, each by the smallest
of its times, in a process of their own that has loaded nothing else; what counts is their ratio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from paddle import nn

from deploy.engines import ENGINES, check_settings
from deploy.formats import Graph
from deploy.interface import Settings
from deploy.signature import Signature
from deploy.writers import write_graph
from runtime.fresh_process import in_fresh_process
from runtime.owned import temporary_folder
from scaling.compose import exchanged
from scaling.teacher import timed

ROUNDS = 40


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
            own_and_others = [self._own, *graphs]
            return in_fresh_process(timed, self.engine, own_and_others, self.settings, self.view_shape, ROUNDS)

    def _written(self, layers: Mapping[str, nn.Layer], folder: Path) -> Graph:
        folder.mkdir(exist_ok=True)
        signature = Signature.of_views(self.view_shape)
        with exchanged(self.model, layers) as model:
            return write_graph(ENGINES[self.engine].formats[0], model, signature, folder)
