"""ONNX Runtime on CPU."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from deploy.formats import Graph
from deploy.interface import Activation, EngineKind, Run, Settings
from deploy.taps import tapped

PROVIDER = "CPUExecutionProvider"
AT_ONCE = 32  # tensors of a run, which are in memory together


def load(onnxruntime: ModuleType, graph: Graph, settings: Settings) -> tuple[Run, dict[str, Any]]:
    """See `EngineKind.load`."""
    options = _options(onnxruntime, settings)
    session = onnxruntime.InferenceSession(str(graph.files[0]), options, providers=[PROVIDER])
    return lambda arrays: graph.signature.named(session.run(None, arrays)), {}


def activations(
    onnxruntime: ModuleType, graph: Graph, settings: Settings, arrays: dict[str, np.ndarray]
) -> Iterator[Activation]:
    """See `EngineKind.activations`."""
    model, names = tapped(graph.files[0])
    session = onnxruntime.InferenceSession(model, _options(onnxruntime, settings), providers=[PROVIDER])
    for at in range(0, len(names), AT_ONCE):
        part = names[at : at + AT_ONCE]
        yield from zip(part, session.run(part, arrays), strict=True)


def _options(onnxruntime: ModuleType, settings: Settings) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.num_threads
    options.log_severity_level = 3
    return options


ENGINE = EngineKind(
    title="ONNX Runtime",
    package="onnxruntime",
    install="onnxruntime",
    formats=("onnx",),
    precisions=("fp32", "int8"),
    load=load,
    activations=activations,
)
