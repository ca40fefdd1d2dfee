"""What an inference engine is: to those who add one (`EngineKind`), and to those who run a graph (`Engine`)."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from deploy.formats import Graph
from deploy.signature import Signature
from runtime.cpu import usable_cores
from runtime.errors import UserError

Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]  # named inputs -> named outputs
Activation = tuple[str, np.ndarray]  # a tensor that an engine has computed, and what the engine calls it
QUANTIZED = "int8"  # the precision that is in the weights of a graph, and not in how they are computed


class EngineError(UserError):
    """An engine that is not installed, or that cannot do what is asked of it here."""


@dataclass(frozen=True)
class Settings:
    """How an engine runs a graph.

    Attributes:
        precision: Of the computation; int8 belongs to artifacts that `deploy.quantize` made.
        threads: Threads of one operation; 0 takes OMP_NUM_THREADS, or else every core that the process may use.
        onednn: Paddle's oneDNN kernels; the other engines do not ask.
        gpu: Number of the GPU that computes, None for the CPU.
        tune: Set the allocator and Paddle's MKL for this CPU.
    """

    precision: str = "fp32"
    threads: int = 0
    onednn: bool = True
    gpu: int | None = None
    tune: bool = True

    @property
    def device(self) -> str:
        """`cpu` or `gpu`."""
        return "cpu" if self.gpu is None else "gpu"

    @property
    def num_threads(self) -> int:
        """Threads, where 0 has been replaced by what the process may use."""
        cores = usable_cores()
        given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
        return self.threads or (int(given) if given.isdigit() else 0) or cores


@dataclass(frozen=True)
class EngineKind:
    """What one engine can do, and how it loads a graph.

    Attributes:
        title: Its name in tables.
        package: The module that computes; imported when a graph is loaded, and not before.
        install: What pip installs for it: the name of a distribution, with a version where it must be one.
        formats: Keys of `deploy.formats.FORMATS` that it reads, the one that it is given first.
        precisions: That it computes in.
        load: (the package, a graph, settings) -> what runs the graph, and facts about it under AutoLog's names.
        devices: That it computes on.
        reads: Graphs of which of its versions it reads, a key of `deploy.engines.VERSIONS`.
        threads_variable: Environment variable that its package reads for its threads when it is imported.
        activations: (the package, a graph, settings, named inputs) -> every tensor that a run makes, with a name, in
            their order; None where it shows none.
        refuse: What else it cannot do: the message, or nothing.
    """

    title: str
    package: str
    install: str
    formats: tuple[str, ...]
    precisions: tuple[str, ...]
    load: Callable[[ModuleType, Graph, Settings], tuple[Run, dict[str, Any]]]
    activations: Callable[[ModuleType, Graph, Settings, dict[str, np.ndarray]], Iterator[Activation]] | None = None
    devices: tuple[str, ...] = ("cpu",)
    reads: str = "any"
    threads_variable: str = ""
    refuse: Callable[[Settings], str] = lambda _: ""

    @property
    def is_installed(self) -> bool:
        """Whether its package is there to be imported."""
        return importlib.util.find_spec(self.package) is not None

    @property
    def distribution(self) -> str:
        """The name under which its version is found."""
        return self.install.partition("==")[0]


@dataclass(frozen=True)
class Engine:
    """A graph that is ready to run; not to be called by two threads at once.

    Attributes:
        run: Maps arrays by the names of the inputs to arrays by the names of the outputs, for any batch.
        signature: Names, shapes and dtypes of both.
        facts: What runs and how, under AutoLog's names.
    """

    run: Run
    signature: Signature
    facts: dict[str, Any]

    def infer(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Named outputs of named inputs; raises SignatureError for other names or shapes."""
        return self.run(self.signature.arrays(arrays))

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        """Logits float32 [N, K] of clips float32 [N, T, 3, H, W], or [N, K, H, W] of images [N, 3, H, W].

        Raises:
            EngineError: The graph takes another shape.
        """
        (source, *_), (result, *_) = self.signature.inputs, self.signature.outputs
        if not self.signature.takes_views:
            names = ", ".join(spec.name for spec in self.signature.inputs)
            raise EngineError(f"the graph takes {names}, not clips alone: call `infer` or `Stream`")
        if clips.shape[1:] != source.shape[1:]:
            *frames, _, height, width = source.shape[1:]
            what = f"clips of {frames[0]} frames of {width}x{height}" if frames else f"images of {width}x{height}"
            raise EngineError(
                f"the graph takes {what}, got {list(clips.shape[1:])}: export with the flags that you infer with "
                "(--views, --num_segments, --test_size, ...)"
            )
        return self.infer({source.name: clips})[result.name]


def one_by_one(run: Run) -> Run:
    """What runs any batch by an engine that takes one clip, or one frame, at a time."""

    def run_each(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        count = len(next(iter(arrays.values())))
        parts = [run({name: array[i : i + 1] for name, array in arrays.items()}) for i in range(count)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return run_each


class Stream:
    """Steps of an engine whose graph has states; they are zero before the first step.

    Args:
        engine: Loaded.
        batch: Streams that run side by side, N.
    """

    def __init__(self, engine: Engine, batch: int = 1) -> None:
        self.engine = engine
        targets = dict(engine.signature.states).values()
        self.states = {spec.name: spec.zeros(batch) for spec in engine.signature.inputs if spec.name in targets}

    def step(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Named outputs but for the states, of named inputs but for the states, which are kept for the next step."""
        outputs = self.engine.infer({**arrays, **self.states})
        for output, target in self.engine.signature.states:
            self.states[target] = outputs.pop(output)
        return outputs
