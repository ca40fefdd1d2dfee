"""ncnn on CPU: a clip, or a frame, at a time."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from deploy.formats import Graph
from deploy.interface import EngineError, EngineKind, Run, Settings, one_by_one


def load(ncnn: ModuleType, graph: Graph, settings: Settings) -> tuple[Run, dict[str, Any]]:
    """See `EngineKind.load`."""
    net = ncnn.Net()
    net.opt.num_threads = settings.num_threads
    net.opt.use_vulkan_compute = False
    for kept in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{kept}", False)
    param, binary = map(str, graph.files)
    if net.load_param(param) or net.load_model(binary):
        raise EngineError(f"{param} does not load in ncnn")
    signature = graph.signature

    def run(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        extractor = net.create_extractor()
        for i, spec in enumerate(signature.inputs):  # pnnx names them so, in their order; a Mat has no batch
            extractor.input(f"in{i}", ncnn.Mat(arrays[spec.name][0]))
        results = []
        for i in range(len(signature.outputs)):
            failed, found = extractor.extract(f"out{i}")
            if failed:
                raise EngineError(f"ncnn cannot compute {signature.outputs[i].name} of {param}: code {failed}")
            results.append(np.array(found)[None])
        return signature.named(results)

    return one_by_one(run), {}


ENGINE = EngineKind(
    title="ncnn",
    package="ncnn",
    install="ncnn",
    formats=("ncnn",),
    precisions=("fp32",),
    load=load,
)
