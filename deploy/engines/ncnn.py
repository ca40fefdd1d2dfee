"""ncnn on CPU: a clip, or a frame, at a time."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from deploy.formats import Graph
from deploy.interface import Activation, EngineError, EngineKind, Run, Settings, one_by_one


def load(ncnn: ModuleType, graph: Graph, settings: Settings) -> tuple[Run, dict[str, Any]]:
    """See `EngineKind.load`."""
    net, signature = _net(ncnn, graph, settings), graph.signature

    def run(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        extractor = _extractor(ncnn, net, graph, arrays)
        results = []
        for i in range(len(signature.outputs)):
            failed, found = extractor.extract(f"out{i}")
            if failed:
                raise EngineError(f"ncnn cannot compute {signature.outputs[i].name} of {graph.files[0]}: code {failed}")
            results.append(np.array(found)[None])
        return signature.named(results)

    return one_by_one(run), {}


def activations(
    ncnn: ModuleType, graph: Graph, settings: Settings, arrays: dict[str, np.ndarray]
) -> Iterator[Activation]:
    """See `EngineKind.activations`."""
    net = _net(ncnn, graph, settings)
    extractor = _extractor(ncnn, net, graph, arrays)
    extractor.set_light_mode(False)
    for line in graph.files[0].read_text(encoding="utf-8").splitlines()[2:]:
        kind, name, inputs, outputs, *rest = line.split()
        for blob in rest[int(inputs) : int(inputs) + int(outputs)] if kind != "Split" else ():
            failed, found = extractor.extract(blob)
            if not failed:
                yield name, np.array(found)[None]


def _net(ncnn: ModuleType, graph: Graph, settings: Settings) -> Any:
    net = ncnn.Net()
    net.opt.num_threads = settings.num_threads
    net.opt.use_vulkan_compute = False
    for kept in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{kept}", False)
    param, binary = map(str, graph.files)
    if net.load_param(param) or net.load_model(binary):
        raise EngineError(f"{param} does not load in ncnn")
    return net


def _extractor(ncnn: ModuleType, net: Any, graph: Graph, arrays: dict[str, np.ndarray]) -> Any:
    extractor = net.create_extractor()
    for i, spec in enumerate(graph.signature.inputs):  # pnnx names them so, in their order; a Mat has no batch
        extractor.input(f"in{i}", ncnn.Mat(arrays[spec.name][0]))
    return extractor


ENGINE = EngineKind(
    title="ncnn",
    package="ncnn",
    install="ncnn",
    formats=("ncnn",),
    precisions=("fp32",),
    reads="older",
    load=load,
    activations=activations,
)
