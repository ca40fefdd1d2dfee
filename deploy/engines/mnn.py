"""MNN on CPU: a clip, or a frame, at a time."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from deploy.formats import Graph
from deploy.interface import Activation, EngineKind, Run, Settings, one_by_one
from runtime import command

HIGH = 1  # precision: fp32 throughout
# The hint WINOGRAD_MEMORY_LEVEL: minimal filtering by small tiles. The large ones, taken without the hint, save no time
# on CPUs of servers, and round a hundred times as much: 3e-4 of the largest logit of I3D from Inception.
WINOGRAD, SMALL_TILES = 3, 1


def load(package: ModuleType, graph: Graph, settings: Settings) -> tuple[Run, dict[str, Any]]:
    """See `EngineKind.load`."""
    options = {"backend": 0, "numThread": settings.num_threads, "precision": HIGH}
    runtime = package.nn.create_runtime_manager((options,))
    runtime.set_hint(WINOGRAD, SMALL_TILES)
    names = [spec.name for spec in graph.signature.inputs]
    module = package.nn.load_module_from_file(str(graph.files[0]), names, [], runtime_manager=runtime)
    express = package.expr

    def run(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = [express.const(arrays[name], list(arrays[name].shape), express.NCHW) for name in names]
        results = [np.array(express.convert(found, express.NCHW).read()) for found in module.onForward(given)]
        return graph.signature.named(results)

    return one_by_one(run), {}


def activations(
    package: ModuleType, graph: Graph, settings: Settings, arrays: dict[str, np.ndarray]
) -> Iterator[Activation]:
    """See `EngineKind.activations`."""
    interpreter = package.Interpreter(str(graph.files[0]))
    interpreter.setSessionHint(WINOGRAD, SMALL_TILES)
    with command.silenced(1):
        session = interpreter.createSession({"numThread": settings.num_threads, "precision": "high"})
    found = []

    def host(shape: tuple[int, ...], values: np.ndarray) -> Any:
        return package.Tensor(shape, package.Halide_Type_Float, values, package.Tensor_DimensionType_Caffe)

    def keep(tensors: list[Any], operator: Any) -> bool:
        for tensor in tensors:
            shape = tuple(tensor.getShape())
            copy = host(shape, np.zeros(shape, np.float32))
            tensor.copyToHostTensor(copy)
            found.append((operator.getName(), np.array(copy.getNumpyData())))
        return True

    for spec in graph.signature.inputs:
        array = arrays[spec.name]
        interpreter.getSessionInput(session, spec.name).copyFrom(host(array.shape, array))
    interpreter.runSessionWithCallBackInfo(session, lambda *_: True, keep)
    yield from found


ENGINE = EngineKind(
    title="MNN",
    package="MNN",
    install="MNN==3.6.1",
    formats=("mnn",),
    precisions=("fp32",),
    reads="older",
    load=load,
    activations=activations,
)
