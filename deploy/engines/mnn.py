"""MNN on CPU: a clip, or a frame, at a time."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from deploy.formats import Graph
from deploy.interface import EngineKind, Run, Settings, one_by_one


def load(package: ModuleType, graph: Graph, settings: Settings) -> tuple[Run, dict[str, Any]]:
    """See `EngineKind.load`."""
    runtime = package.nn.create_runtime_manager(({"backend": 0, "numThread": settings.num_threads, "precision": HIGH},))
    names = [spec.name for spec in graph.signature.inputs]
    module = package.nn.load_module_from_file(str(graph.files[0]), names, [], runtime_manager=runtime)
    express = package.expr

    def run(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = [express.const(arrays[name], list(arrays[name].shape), express.NCHW) for name in names]
        results = [np.array(express.convert(found, express.NCHW).read()) for found in module.onForward(given)]
        return graph.signature.named(results)

    return one_by_one(run), {}


HIGH = 1  # precision: fp32 throughout
ENGINE = EngineKind(
    title="MNN",
    package="MNN",
    install="MNN==3.6.1",
    formats=("mnn",),
    precisions=("fp32",),
    load=load,
)
