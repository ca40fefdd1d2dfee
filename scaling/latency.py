"""How long networks and blocks take in the engine that will run them, and what its process needs, on this machine.

A single time says little on a machine that does other things too. So graphs are timed in turns, each by the smallest of
its times, in a process of their own that has loaded nothing else; what counts is their ratio to the whole network.

A block is timed alone: of two whole networks that differ in one block, the difference of times is smaller than their
noise. Only where an engine's format writes the network as a whole in another way, so that a block alone would be
another graph, or takes no batches, which the frames of a clip are for a block, its times are those differences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import paddle
from paddle import nn

from deploy.engines import ENGINES, check_settings
from deploy.formats import FORMATS, Graph
from deploy.fusions import FUSIONS
from deploy.interface import Settings
from deploy.signature import Signature, TensorSpec
from deploy.writers import write_graph
from models.temporal_module import find_layer
from runtime.fresh_process import in_fresh_process
from runtime.owned import temporary_folder
from scaling.compose import exchanged
from scaling.retrain import tell_frames, watched
from scaling.teacher import timed, weighed

ROUNDS = 40
AT_ONCE = 8  # descendants, or networks, that one process times in turns with the original


class Whole(NamedTuple):
    """What a network takes in an engine.

    Attributes:
        latency_ms: Of one clip or image.
        memory_bytes: Most that a process has held which runs it.
    """

    latency_ms: float
    memory_bytes: int


class Stopwatch:
    """Times networks that other layers make of a model, in an engine.

    Args:
        model: In eval mode.
        paths: Of its blocks.
        view_shape: (T, 3, H, W) of a clip, or (3, H, W) of an image.
        engine: A key of ENGINES.
        threads: Of the engine; 0 takes all cores.
        folder: Where the model's own graph is kept, which all are timed against.

    Attributes:
        shapes: Of the input and the output of each block, by path, for one clip or image.

    Raises:
        UserError: The engine is not installed, or does not take the network.
    """

    def __init__(
        self, model: nn.Layer, paths: Iterable[str], view_shape: Sequence[int], engine: str, threads: int, folder: Path
    ) -> None:
        self.model = model
        self.engine = engine
        self.settings = Settings(threads=threads)
        check_settings(engine, self.settings)
        self._format = ENGINES[engine].formats[0]
        self._signature = Signature.of_views(view_shape)
        self._own = self._whole({}, folder)
        with watched(model, list(paths)) as seen, paddle.no_grad():
            model(paddle.zeros([1, *view_shape]))
        self.shapes = {path: (tuple(given.shape), tuple(made.shape)) for path, (given, made) in seen.items()}
        one_by_one = all(given[0] == 1 for given, _ in self.shapes.values())
        self._can_be_alone = type(model) not in FUSIONS[self._format] and (
            FORMATS[self._format].takes_batches or one_by_one
        )

    def wholes(self, networks: Sequence[Mapping[str, nn.Layer]]) -> list[Whole]:
        """What the model itself takes, and each network, named by what takes the place of what."""
        with self._graphs(networks) as graphs:
            return list(map(Whole, self._timed(graphs), self._weighed(graphs)))

    def memory_bytes(self) -> int:
        """Most that a process has held which runs the model itself."""
        return self._weighed([self._own])[0]

    def saved_ms(self, descendants: Mapping[str, Sequence[nn.Layer]]) -> tuple[float, dict[str, list[float]]]:
        """What blocks save, in turns.

        Args:
            descendants: Of blocks, by their paths.

        Returns:
            Milliseconds of one clip in the model, and how many of them each descendant saves in its block's place.
        """
        one_each = [(path, layer) for path, layers in descendants.items() for layer in layers]
        if not self._can_be_alone:
            with self._graphs([{path: layer} for path, layer in one_each]) as graphs:
                whole, *others = self._timed(graphs)
            before = dict.fromkeys(descendants, whole)
        else:
            both = [(path, find_layer(self.model, path)) for path in descendants] + one_each
            with temporary_folder() as place:
                alone = [self._alone(path, layer, Path(place) / str(n)) for n, (path, layer) in enumerate(both)]
                whole, *times = self._timed([self._own, *alone])
            before = dict(zip(descendants, times, strict=False))
            others = times[len(descendants) :]
        saved: dict[str, list[float]] = {path: [] for path in descendants}
        for (path, _), time in zip(one_each, others, strict=True):
            saved[path].append(before[path] - time)
        return whole, saved

    @contextmanager
    def _graphs(self, networks: Sequence[Mapping[str, nn.Layer]]) -> Iterator[list[Graph]]:
        """The graphs of the model and of networks, while this is open."""
        with temporary_folder() as place:
            others = [self._whole(layers, Path(place) / str(number)) for number, layers in enumerate(networks)]
            yield [self._own, *others]

    def _timed(self, graphs: Sequence[Graph]) -> list[float]:
        return in_fresh_process(timed, self.engine, graphs, self.settings, ROUNDS)

    def _weighed(self, graphs: Sequence[Graph]) -> list[int]:
        return [in_fresh_process(weighed, self.engine, graph, self.settings) for graph in graphs]

    def _alone(self, path: str, layer: nn.Layer, folder: Path) -> Graph:
        """The graph of a layer in the place of a block."""
        tell_frames(find_layer(self.model, path), layer)
        given, made = self.shapes[path]
        return self._written(layer, Signature((TensorSpec("x", given),), (TensorSpec("y", made),)), folder)

    def _whole(self, layers: Mapping[str, nn.Layer], folder: Path) -> Graph:
        with exchanged(self.model, layers) as model:
            return self._written(model, self._signature, folder)

    def _written(self, layer: nn.Layer, signature: Signature, folder: Path) -> Graph:
        folder.mkdir(exist_ok=True)
        return write_graph(self._format, layer, signature, folder)
