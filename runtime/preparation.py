"""Prepares the process for Paddle: device, threads, allocator, and the vector path of Paddle's MKL on AMD.

Importing Paddle sets `OMP_NUM_THREADS=1` unless it is set already, and its MKL of 2019 takes a slow path on every
CPU that is not Intel's. Both are decided before the first operation, so `prepare` comes before any other import
of Paddle and before NumPy work of weight.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from typing import Any

from runtime import command, native
from runtime.cpu import mkl_vector_path, tune_malloc, tune_mkl, usable_cores
from runtime.errors import UserError

__all__ = ["check_precision", "mkl_vector_path", "prepare", "tune_malloc", "tune_mkl"]


def prepare(device: str = "auto", threads: int = 0, tune: bool = True) -> list[str]:
    """Sets up the process and imports Paddle.

    Args:
        device: `cpu`, `gpu`, `gpu:N` or `auto` (a GPU if this Paddle has one).
        threads: Threads of one operation; 0 takes OMP_NUM_THREADS, or else every core that this process may use,
            shared with the other processes of a run that has several.
        tune: Set the allocator and, on AMD, the MKL vector path, and let operators of ours compute where they are
            faster than Paddle's. An environment variable of the user's goes first.

    Returns:
        Lines for the plan: what was found and what was set.

    Raises:
        UserError: The device does not exist here.
    """
    cores = usable_cores()
    share = max(1, cores // int(os.environ.get("PADDLE_LOCAL_SIZE", "1")))
    count = str(threads or os.environ.get("OMP_NUM_THREADS") or share)
    os.environ["OMP_NUM_THREADS"] = count
    settings = [f"threads {count}"]
    native.refuse("" if tune else "--no_tune")
    if tune:
        settings += [tune_mkl(), tune_malloc()]
    else:
        settings.append("CPU settings as they come (--no_tune)")
    paddle = _import_paddle()
    name = _device_name(device)
    paddle.set_device(name)
    return [f"paddle {paddle.__version__} on {name}", *settings]


def check_precision(amp: str, to_static: bool = False) -> None:
    """Raises UserError if the device, or a static graph, cannot compute in the precision that the recipe asks for."""
    import paddle

    if amp != "none" and paddle.get_device() == "cpu":
        raise UserError(f"--amp {amp} needs a GPU: on CPU Paddle computes in float32 all the same; take --amp none")
    if amp != "none" and to_static:
        raise UserError(f"--to_static trains in float32: leave out --amp {amp}, or --to_static")


def _import_paddle() -> Any:
    """Imports Paddle without its remarks on OMP_NUM_THREADS, which is set on purpose, and on ccache."""
    remarks = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stderr(remarks), contextlib.redirect_stdout(remarks):
        warnings.simplefilter("ignore")
        logging.getLogger("paddle").setLevel(logging.ERROR)
        with command.signals_kept():
            import paddle
    warnings.filterwarnings("ignore", message="When training, we now always track")  # of each BatchNorm that evaluates
    warnings.filterwarnings("ignore", message="(Tensor|Value) do not have 'place' interface")  # of each to_static
    _provoke_remark_on_addition(paddle)
    return paddle


def _provoke_remark_on_addition(paddle: Any) -> None:
    """Lets Paddle's core say "static graph(PIR) not support input out tensor" where nobody reads it.

    It says so on the first addition of a process in a static graph, whatever is added, and only then.
    """
    with command.silenced(2):
        try:
            paddle.enable_static()
            with paddle.static.program_guard(paddle.static.Program()):
                number = paddle.static.data("number", [1])
                number + number
        finally:
            paddle.disable_static()


def _device_name(device: str) -> str:
    import paddle

    has_gpu = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    # The launcher of several processes gives each its own GPU.
    own = os.environ.get("FLAGS_selected_gpus", "0").split(",")[0]  # noqa: SIM112
    if device == "auto":
        return f"gpu:{own}" if has_gpu else "cpu"
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "gpu") or (index and not index.isdigit()):
        raise UserError(f"--device must be cpu, gpu, gpu:N or auto, got {device}")
    if kind == "gpu" and not has_gpu:
        raise UserError(
            f"--device {device}: this Paddle has no GPU to use; take --device cpu or install paddlepaddle-gpu"
        )
    if index and os.environ.get("PADDLE_TRAINERS_NUM", "1") != "1":
        raise UserError(f"--device {device} is one GPU for several processes: take --device gpu, each gets its own")
    return f"gpu:{own}" if device == "gpu" else device
