"""OpenVINO on CPU; it would compute in bf16 where the CPU has it, unless told otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from deploy.formats import Graph
from deploy.interface import Activation, EngineError, EngineKind, Run, Settings
from deploy.taps import tapped


def load(openvino: ModuleType, graph: Graph, settings: Settings) -> tuple[Run, dict[str, Any]]:
    """See `EngineKind.load`."""
    core = openvino.Core()
    model = core.compile_model(core.read_model(graph.files[0]), "CPU", _hints(core, settings))
    request = model.create_infer_request()

    def run(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        # Copies: the next call writes its results into the same memory.
        return graph.signature.named([found.copy() for found in request.infer(arrays).values()])

    return run, {}


def activations(
    openvino: ModuleType, graph: Graph, settings: Settings, arrays: dict[str, np.ndarray]
) -> Iterator[Activation]:
    """See `EngineKind.activations`."""
    core = openvino.Core()
    content, names = tapped(graph.files[0])
    model = core.compile_model(core.read_model(content), "CPU", _hints(core, settings))
    found = model.create_infer_request().infer(arrays)
    for name, port in zip(names, model.outputs, strict=True):
        yield name, found[port]


def _hints(core: Any, settings: Settings) -> dict[str, Any]:
    if settings.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise EngineError("--precision bf16: OpenVINO has none on this CPU; take --precision fp32")
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if settings.precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": settings.num_threads,
        "PERFORMANCE_HINT": "LATENCY",
    }


ENGINE = EngineKind(
    title="OpenVINO",
    package="openvino",
    install="openvino",
    formats=("onnx",),
    precisions=("fp32", "bf16", "int8"),
    load=load,
    activations=activations,
)
