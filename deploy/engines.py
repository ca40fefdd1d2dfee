"""Inference engines behind one interface: clips in, logits out.

Each is imported when it is asked for, so that nothing but the one that is used needs to be installed.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from deploy.artefact import GRAPHS, Artefact, ArtefactError, open_artefact
from runtime.cpu import has_bf16, tune_malloc, tune_mkl
from runtime.errors import UserError

Run = Callable[[np.ndarray], np.ndarray]

PRECISIONS = ("fp32", "bf16", "int8")
# Of oneDNN in Paddle 3.3.1: a graph in which a reshape meets a convolution over videos fails to load with it.
BROKEN_PASS = "operator_reshape_onednn_fuse_pass"


@dataclass(frozen=True)
class Settings:
    """How an engine runs a graph.

    Attributes:
        precision: One of PRECISIONS; int8 belongs to artefacts that `deploy.quantize` made.
        threads: Threads of one operation; 0 takes OMP_NUM_THREADS, or else every core that the process may use.
        onednn: Paddle's oneDNN kernels; the other engines do not ask.
        gpu: Number of the GPU that computes, None for the processor; Paddle only.
        tune: Set the allocator and Paddle's MKL for this processor.
    """

    precision: str = "fp32"
    threads: int = 0
    onednn: bool = True
    gpu: int | None = None
    tune: bool = True

    @property
    def num_threads(self) -> int:
        """Threads, where 0 has been replaced by what the process may use."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
        return self.threads or (int(given) if given.isdigit() else 0) or cores


@dataclass(frozen=True)
class Engine:
    """A graph that is ready to run; not to be called by two threads at once.

    Attributes:
        run: Maps clips float32 [N, T, 3, H, W] to logits float32 [N, K], for any N.
        clip_shape: (T, 3, H, W).
        facts: What runs and how, in the words of AutoLog's configuration.
    """

    run: Run
    clip_shape: tuple[int, ...]
    facts: dict[str, Any]

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        """Logits float32 [N, K] of clips float32 [N, T, 3, H, W]; raises ArtefactError for another shape."""
        if clips.shape[1:] != self.clip_shape:
            frames, _, height, width = self.clip_shape
            raise ArtefactError(
                f"the graph takes clips of {frames} frames of {width}x{height}, got {list(clips.shape[1:])}: "
                "export with the flags that you infer with (--views, --num_segments, --test_size, ...)"
            )
        return self.run(np.ascontiguousarray(clips, np.float32))


def open_engine(name: str | None, model_dir: str | Path, precision: str | None = None, **settings: Any) -> Engine:
    """Loads the graph of an artefact folder into an engine.

    Args:
        name: A key of ENGINES; None takes Paddle for a graph of Paddle's, else ONNX Runtime.
        model_dir: Folder that `deploy.export` or `deploy.quantize` wrote.
        precision, settings: See Settings; no precision takes the artefact's.

    Raises:
        ArtefactError: The engine is not installed, the folder does not hold its graph whole, the graph belongs to
            another Paddle, or neither the engine nor this machine can do what is asked.
    """
    artefact = open_artefact(model_dir)
    asked = Settings(precision or artefact.precision, **settings)
    forms = [form for form, files in GRAPHS.items() if (artefact.directory / files[0]).is_file()]
    name = name or ("onnxruntime" if forms == ["onnx"] else "paddle")
    check_settings(name, asked)
    _check_precision(artefact, asked.precision)
    form = "onnx" if name != "paddle" else "legacy" if "legacy" in forms else "paddle"
    files = artefact.graph(form)
    if name == "paddle":
        _check_paddle(artefact, _import("paddle", asked).__version__)
    return open_graph(name, files, artefact.clip_shape, asked)


def open_graph(name: str, files: Sequence[Path], clip_shape: tuple[int, ...], settings: Settings) -> Engine:
    """Loads the files of a graph into an engine.

    Args:
        name: A key of ENGINES.
        files: Those that GRAPHS names for the format that the engine reads.
        clip_shape: (T, 3, H, W) of the graph's clips.
        settings: How to run it, as `check_settings` lets pass.

    Raises:
        ArtefactError: The engine is not installed, or cannot read the graph.
    """
    try:
        run, facts = ENGINES[name](files, settings)
    except UserError:
        raise
    except Exception as error:  # each engine has errors of its own
        raise ArtefactError(f"{files[0]} does not load in {name}: {_last_line(error)}") from error
    device = "cpu" if settings.gpu is None else "gpu"
    facts = {
        "runtime_device": device, "ir_optim": True, "enable_tensorrt": False, "precision": settings.precision,
        "enable_mkldnn": False, "cpu_math_library_num_threads": settings.num_threads, "engine": name, **facts,
    }  # fmt: skip
    return Engine(run, clip_shape, facts)


def check_settings(name: str, settings: Settings) -> None:
    """Raises ArtefactError for what an engine, or this machine, cannot do."""
    precision = settings.precision
    if name not in ENGINES:
        raise ArtefactError(f"engine must be one of {', '.join(ENGINES)}, got {name!r}")
    if precision not in PRECISIONS:
        raise ArtefactError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if settings.gpu is not None and name != "paddle":
        raise ArtefactError(f"--engine {name} computes on the processor: take --engine paddle for a GPU")
    if name == "paddle" and precision == "int8":
        raise ArtefactError("--engine paddle has no int8: take --engine onnxruntime")
    if name == "onnxruntime" and precision == "bf16":
        raise ArtefactError("--engine onnxruntime has no bf16 on processors: take --engine openvino or paddle")
    if name == "paddle" and precision == "bf16" and (settings.gpu is not None or not settings.onednn):
        raise ArtefactError("--precision bf16 of --engine paddle is oneDNN's: it needs a processor, and oneDNN on")
    if name == "paddle" and precision == "bf16" and not has_bf16():
        raise ArtefactError("--precision bf16 needs a processor with avx512_bf16 or amx_bf16: take --precision fp32")


def _check_precision(artefact: Artefact, precision: str) -> None:
    if (precision == "int8") == (artefact.precision == "int8"):
        return
    way = "make int8 with deploy.quantize" if precision == "int8" else "name the folder it was made from"
    raise ArtefactError(f"{artefact.directory} holds {artefact.precision} weights, asked for {precision}: {way}")


def _open_paddle(files: Sequence[Path], settings: Settings) -> tuple[Run, dict[str, Any]]:
    """Paddle Inference: the new IR and executor, or the old ones for a graph in the older format."""
    graph, weights = files
    paddle = _import("paddle", settings)
    if settings.tune:
        tune_mkl()
        tune_malloc()
    config = _paddle_config(paddle.inference.Config(str(graph), str(weights)), settings, new=graph.suffix == ".json")
    predictor = paddle.inference.create_predictor(config)
    source = predictor.get_input_handle(predictor.get_input_names()[0])
    result = predictor.get_output_handle(predictor.get_output_names()[0])

    def run(clips: np.ndarray) -> np.ndarray:
        source.reshape(clips.shape)
        source.copy_from_cpu(clips)
        predictor.run()
        return result.copy_to_cpu().astype(np.float32, copy=False)

    return run, {"ir_optim": config.ir_optim(), "enable_mkldnn": config.mkldnn_enabled()}


def _paddle_config(config: Any, settings: Settings, new: bool) -> Any:
    config.disable_glog_info()
    config.enable_new_ir(new)
    config.enable_new_executor(new)
    config.set_cpu_math_library_num_threads(settings.num_threads)
    if settings.gpu is not None:
        _check_gpu(settings.gpu)
        config.enable_use_gpu(2000, settings.gpu)  # MB that are reserved at once; more is taken when needed
    elif settings.onednn:
        config.enable_mkldnn()
        config.delete_pass(BROKEN_PASS)
        if settings.precision == "bf16":
            config.enable_mkldnn_bfloat16()
    else:
        config.disable_mkldnn()  # it is on unless told otherwise
    return config


def _check_paddle(artefact: Artefact, version: str) -> None:
    """Refuses a graph of another minor version: Paddle promises nothing there, and may end the process instead."""
    made_by = artefact.record["versions"]["paddlepaddle"]
    if made_by.split(".")[:2] != version.split(".")[:2]:
        raise ArtefactError(
            f"{artefact.directory} was exported by Paddle {made_by}, this is {version}: export again, or "
            f"pip install paddlepaddle=={made_by}"
        )


def _check_gpu(number: int) -> None:
    paddle = importlib.import_module("paddle")
    if not (paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > number):
        raise ArtefactError("--use_gpu: this Paddle has no GPU to use; leave it out, or install paddlepaddle-gpu")


def _open_onnxruntime(files: Sequence[Path], settings: Settings) -> tuple[Run, dict[str, Any]]:
    """ONNX Runtime on the processor."""
    onnxruntime = _import("onnxruntime", settings)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.num_threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(files[0]), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda clips: session.run(None, {name: clips})[0], {}


def _open_openvino(files: Sequence[Path], settings: Settings) -> tuple[Run, dict[str, Any]]:
    """OpenVINO on the processor; it would compute in bf16 where the processor has it, unless told otherwise."""
    openvino = _import("openvino", settings)
    core = openvino.Core()
    if settings.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ArtefactError("--precision bf16: OpenVINO has none on this processor; take --precision fp32")
    hints = {
        "INFERENCE_PRECISION_HINT": "bf16" if settings.precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": settings.num_threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(core.read_model(files[0]), "CPU", hints).create_infer_request()
    return lambda clips: request.infer([clips])[0].astype(np.float32), {}


# name -> function that loads the files of a graph: what runs it, and facts about it
ENGINES: dict[str, Callable[[Sequence[Path], Settings], tuple[Run, dict[str, Any]]]] = {
    "paddle": _open_paddle,
    "onnxruntime": _open_onnxruntime,
    "openvino": _open_openvino,
}


def _import(name: str, settings: Settings) -> ModuleType:
    """Imports a package without its remarks; raises ArtefactError with the command that installs it."""
    if name == "paddle":  # which reads it once, when it is imported
        os.environ.setdefault("OMP_NUM_THREADS", str(settings.num_threads))
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as error:
        wheel = "paddlepaddle==3.3.1" if name == "paddle" else name
        raise ArtefactError(f"--engine {name} is not installed here ({error}): pip install {wheel}") from error


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
