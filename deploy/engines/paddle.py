"""Paddle Inference: the new IR and executor, or the old ones for a graph in the older format."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from deploy.formats import Graph
from deploy.interface import Activation, EngineError, EngineKind, Run, Settings
from runtime import command
from runtime.cpu import has_bf16, tune_malloc, tune_mkl

# Of oneDNN in Paddle 3.3.1: a graph in which a reshape meets a convolution over videos fails to load with it.
BROKEN_PASS = "operator_reshape_onednn_fuse_pass"


def load(paddle: ModuleType, graph: Graph, settings: Settings) -> tuple[Run, dict[str, Any]]:
    """See `EngineKind.load`."""
    if settings.tune:
        tune_mkl()
        tune_malloc()
    config = _config(paddle, graph, settings)
    predictor = paddle.inference.create_predictor(config)
    speaks = [True]  # in its first run: Paddle's core says the name of a check for each mean of a graph
    results = [predictor.get_output_handle(name) for name in predictor.get_output_names()]

    def run(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        _give(predictor, arrays)
        with command.silenced(1) if speaks else contextlib.nullcontext():
            predictor.run()
        speaks.clear()
        return graph.signature.named([handle.copy_to_cpu() for handle in results])

    return run, {"ir_optim": config.ir_optim(), "enable_mkldnn": config.mkldnn_enabled()}


def activations(
    paddle: ModuleType, graph: Graph, settings: Settings, arrays: dict[str, np.ndarray]
) -> Iterator[Activation]:
    """See `EngineKind.activations`. By plain kernels: those of oneDNN lay tensors out in an order that nobody tells."""
    plain = dataclasses.replace(settings, onednn=False)
    predictor = paddle.inference.create_predictor(_config(paddle, graph, plain))
    found = []

    def keep(operator: str, _: str, tensor: Any) -> None:
        found.append((operator.rpartition(".")[2], np.array(tensor)))

    predictor.register_output_hook(keep)
    _give(predictor, arrays)
    with command.silenced(1):
        predictor.run()
    yield from found


def _config(paddle: ModuleType, graph: Graph, settings: Settings) -> Any:
    config = paddle.inference.Config(*map(str, graph.files))
    new = graph.form == "paddle"
    config.disable_glog_info()
    config.enable_new_ir(new)
    config.enable_new_executor(new)
    config.set_cpu_math_library_num_threads(settings.num_threads)
    _choose_kernels(paddle, config, settings)
    return config


def _give(predictor: Any, arrays: dict[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        handle = predictor.get_input_handle(name)
        handle.reshape(array.shape)
        handle.copy_from_cpu(array)


def _choose_kernels(paddle: ModuleType, config: Any, settings: Settings) -> None:
    if settings.gpu is not None:
        if not (paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > settings.gpu):
            raise EngineError("--use_gpu: this Paddle has no GPU to use; leave it out, or install paddlepaddle-gpu")
        config.enable_use_gpu(2000, settings.gpu)  # MB that are reserved at once; more is taken when needed
    elif settings.onednn:
        config.enable_mkldnn()
        config.delete_pass(BROKEN_PASS)
        if settings.precision == "bf16":
            config.enable_mkldnn_bfloat16()
    else:
        config.disable_mkldnn()  # it is on unless told otherwise


def refuse(settings: Settings) -> str:
    """See `EngineKind.refuse`."""
    if settings.precision == "bf16" and (settings.gpu is not None or not settings.onednn):
        return "--precision bf16 of --engine paddle is oneDNN's: it needs a CPU, and oneDNN on"
    if settings.precision == "bf16" and not has_bf16():
        return "--precision bf16 needs a CPU with avx512_bf16 or amx_bf16: take --precision fp32"
    return ""


ENGINE = EngineKind(
    title="Paddle Inference",
    package="paddle",
    install="paddlepaddle==3.3.1",
    formats=("paddle", "legacy"),
    precisions=("fp32", "bf16"),
    load=load,
    activations=activations,
    devices=("cpu", "gpu"),
    reads="its own",  # Paddle promises nothing for a graph of another one, and may end the process instead
    threads_variable="OMP_NUM_THREADS",
    refuse=refuse,
)
