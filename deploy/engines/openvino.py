"""OpenVINO on CPU; it would compute in bf16 where the CPU has it, unless told otherwise."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from deploy.formats import Graph
from deploy.interface import EngineError, EngineKind, Run, Settings


def load(openvino: ModuleType, graph: Graph, settings: Settings) -> tuple[Run, dict[str, Any]]:
    """See `EngineKind.load`."""
    core = openvino.Core()
    if settings.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise EngineError("--precision bf16: OpenVINO has none on this CPU; take --precision fp32")
    hints = {
        "INFERENCE_PRECISION_HINT": "bf16" if settings.precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": settings.num_threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(core.read_model(graph.files[0]), "CPU", hints).create_infer_request()

    def run(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        # Copies: the next call writes its results into the same memory.
        return graph.signature.named([found.copy() for found in request.infer(arrays).values()])

    return run, {}


ENGINE = EngineKind(
    title="OpenVINO",
    package="openvino",
    install="openvino",
    formats=("onnx",),
    precisions=("fp32", "bf16", "int8"),
    load=load,
)
