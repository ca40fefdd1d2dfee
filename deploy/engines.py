"""Inference engines behind one interface: clips in, logits out.

Each is imported when it is asked for, so that nothing but the one that is used needs to be installed.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from configs.processor import tune_malloc, tune_mkl
from deploy.artefact import GRAPHS, Artefact, ArtefactError, open_artefact

PRECISIONS = ("fp32", "bf16", "int8")
# Of oneDNN in Paddle 3.3.1: a graph in which a reshape meets a convolution over videos fails to load with it.
BROKEN_PASS = "operator_reshape_onednn_fuse_pass"
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Settings:
    """How an engine runs a graph.

    Attributes:
        precision: One of PRECISIONS; int8 belongs to artefacts that `deploy.quantize` made.
        threads: Threads of one operation; 0 takes every core that the process may use.
        onednn: Paddle's oneDNN kernels; the other engines do not ask.
        use_gpu: Compute on the first GPU; Paddle only.
    """

    precision: str = "fp32"
    threads: int = 0
    onednn: bool = True
    use_gpu: bool = False

    @property
    def num_threads(self) -> int:
        """Threads, where 0 has been replaced by what the process may use."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return self.threads or cores


@dataclass(frozen=True)
class Engine:
    """A graph that is ready to run; not to be called by two threads at once.

    Attributes:
        run: Maps clips float32 [N, T, 3, H, W] to logits float32 [N, K], for any N.
        clip_shape: (T, 3, H, W).
        facts: What runs and how, in the words of AutoLog's configuration.
    """

    run: Callable[[np.ndarray], np.ndarray]
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


def open_engine(
    name: str,
    model_dir: str | Path,
    precision: str | None = None,
    threads: int = 0,
    onednn: bool = True,
    use_gpu: bool = False,
) -> Engine:
    """Loads the graph of an artefact folder into an engine.

    Args:
        name: A key of ENGINES.
        model_dir: Folder that `deploy.export` or `deploy.quantize` wrote.
        precision, threads, onednn, use_gpu: See Settings; no precision takes the artefact's.

    Raises:
        ArtefactError: The engine is not installed, the folder does not hold its graph whole, the graph belongs to
            another Paddle, or neither the engine nor this machine can do what is asked.
    """
    if name not in ENGINES:
        raise ArtefactError(f"engine must be one of {', '.join(ENGINES)}, got {name!r}")
    artefact = open_artefact(model_dir)
    settings = Settings(precision or artefact.precision, threads, onednn, use_gpu)
    _check_precision(artefact, settings.precision)
    if use_gpu and name != "paddle":
        raise ArtefactError(f"--engine {name} computes on the processor: leave out --use_gpu, or take --engine paddle")
    return ENGINES[name](artefact, settings)


def _check_precision(artefact: Artefact, precision: str) -> None:
    if precision not in PRECISIONS:
        raise ArtefactError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if (precision == "int8") == (artefact.precision == "int8"):
        return
    way = "make int8 with deploy.quantize" if precision == "int8" else "name the folder it was made from"
    raise ArtefactError(f"{artefact.directory} holds {artefact.precision} weights, asked for {precision}: {way}")


def _open_paddle(artefact: Artefact, settings: Settings) -> Engine:
    """Paddle Inference: the new IR and executor, or the old ones for a graph in the older format."""
    form = "legacy" if (artefact.directory / GRAPHS["legacy"][0]).is_file() else "paddle"
    graph, weights = artefact.graph(form)
    if settings.precision == "int8":
        raise ArtefactError("--engine paddle has no int8: take --engine onnxruntime")
    if settings.precision == "bf16":
        _check_bf16(settings)
    os.environ.setdefault("OMP_NUM_THREADS", str(settings.num_threads))
    tune_mkl()
    tune_malloc()
    paddle = _import("paddle")
    _check_paddle(artefact, paddle.__version__)
    config = _paddle_config(paddle.inference.Config(str(graph), str(weights)), settings, new=form == "paddle")
    try:
        predictor = paddle.inference.create_predictor(config)
    except (RuntimeError, ValueError, OSError) as error:
        raise ArtefactError(f"{graph} does not load in Paddle {paddle.__version__}: {_last_line(error)}") from error
    source = predictor.get_input_handle(predictor.get_input_names()[0])
    result = predictor.get_output_handle(predictor.get_output_names()[0])

    def run(clips: np.ndarray) -> np.ndarray:
        source.reshape(clips.shape)
        source.copy_from_cpu(clips)
        predictor.run()
        return result.copy_to_cpu().astype(np.float32, copy=False)

    facts = {"ir_optim": config.ir_optim(), "enable_mkldnn": config.mkldnn_enabled()}
    return Engine(run, artefact.clip_shape, _facts("paddle", settings) | facts)


def _paddle_config(config: Any, settings: Settings, new: bool) -> Any:
    config.disable_glog_info()
    config.enable_new_ir(new)
    config.enable_new_executor(new)
    config.set_cpu_math_library_num_threads(settings.num_threads)
    if settings.use_gpu:
        _check_gpu()
        config.enable_use_gpu(2000, 0)  # MB that are reserved at once; more is taken when needed
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


def _check_gpu() -> None:
    paddle = _import("paddle")
    if not (paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count()):
        raise ArtefactError("--use_gpu: this Paddle has no GPU to use; leave it out, or install paddlepaddle-gpu")


def _check_bf16(settings: Settings) -> None:
    if settings.use_gpu or not settings.onednn:
        raise ArtefactError("--precision bf16 of --engine paddle is oneDNN's: leave out --use_gpu and --enable_mkldnn")
    flags = _CPUINFO.read_text().split() if _CPUINFO.is_file() else []
    if not {"avx512_bf16", "amx_bf16"} & set(flags):
        raise ArtefactError("--precision bf16 needs a processor with avx512_bf16 or amx_bf16: take --precision fp32")


def _open_onnxruntime(artefact: Artefact, settings: Settings) -> Engine:
    """ONNX Runtime on the processor."""
    if settings.precision == "bf16":
        raise ArtefactError("--engine onnxruntime has no bf16 on processors: take --engine openvino or paddle")
    (graph,) = artefact.graph("onnx")
    onnxruntime = _import("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.num_threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return Engine(
        lambda clips: session.run(None, {name: clips})[0], artefact.clip_shape, _facts("onnxruntime", settings)
    )


def _open_openvino(artefact: Artefact, settings: Settings) -> Engine:
    """OpenVINO on the processor; it would compute in bf16 where the processor has it, unless told otherwise."""
    (graph,) = artefact.graph("onnx")
    openvino = _import("openvino")
    core = openvino.Core()
    if settings.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ArtefactError("--precision bf16: OpenVINO has none on this processor; take --precision fp32")
    hints = {
        "INFERENCE_PRECISION_HINT": "bf16" if settings.precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": settings.num_threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(core.read_model(graph), "CPU", hints).create_infer_request()
    return Engine(
        lambda clips: request.infer([clips])[0].astype(np.float32), artefact.clip_shape, _facts("openvino", settings)
    )


# name -> function that loads an artefact
ENGINES: dict[str, Callable[[Artefact, Settings], Engine]] = {
    "paddle": _open_paddle,
    "onnxruntime": _open_onnxruntime,
    "openvino": _open_openvino,
}


def _import(name: str) -> ModuleType:
    """Imports a package without its remarks; raises ArtefactError with the command that installs it."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as error:
        wheel = "paddlepaddle==3.3.1" if name == "paddle" else name
        raise ArtefactError(f"--engine {name} is not installed here ({error}): pip install {wheel}") from error


def _facts(package: str, settings: Settings) -> dict[str, Any]:
    return {
        "runtime_device": "gpu" if settings.use_gpu else "cpu",
        "ir_optim": True,
        "enable_tensorrt": False,
        "precision": settings.precision,
        "enable_mkldnn": False,
        "cpu_math_library_num_threads": settings.num_threads,
        "engine": package,
    }


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
