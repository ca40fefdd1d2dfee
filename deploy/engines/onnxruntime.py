"""ONNX Runtime on CPU."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from deploy.formats import Graph
from deploy.interface import EngineKind, Run, Settings


def load(onnxruntime: ModuleType, graph: Graph, settings: Settings) -> tuple[Run, dict[str, Any]]:
    """See `EngineKind.load`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.num_threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(graph.files[0]), options, providers=["CPUExecutionProvider"])
    return lambda arrays: graph.signature.named(session.run(None, arrays)), {}


ENGINE = EngineKind(
    title="ONNX Runtime",
    package="onnxruntime",
    install="onnxruntime",
    formats=("onnx",),
    precisions=("fp32", "int8"),
    load=load,
)
