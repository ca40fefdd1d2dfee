"""What the results of a comparison may depend on besides the two models."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

VARIABLES = re.compile(r"(FLAGS|MKL|OMP|KMP|ONEDNN|DNNL|CUBLAS|CUDA|CUDNN|NVIDIA|MALLOC)_")
CPU_FLAGS = ("avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile")
PADDLE_FLAGS = ("FLAGS_paddle_num_threads", "FLAGS_cudnn_deterministic", "FLAGS_use_accuracy_compatible_kernel")


def environment() -> dict[str, str]:
    """What results may depend on: date, versions, CPU, threads, settings. No path of this machine is in it."""
    import paddle
    import torch

    flags: dict[str, Any] = {}
    for flag in PADDLE_FLAGS:
        with contextlib.suppress(ValueError):  # which of them this Paddle knows depends on its version
            flags |= paddle.get_flags(flag)
    name, reported = cpu(CPU_FLAGS)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": name,
        "cpu flags": " ".join(reported) or "unknown",
        "cores": str(cores),
        "paddle": paddle.__version__,
        "paddle device": paddle.get_device(),
        "torch": torch.__version__,
        "torch threads": str(torch.get_num_threads()),
        "torch deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "numpy": np.__version__,
        "opencv": _version("opencv-python", "opencv-python-headless"),
        "OMP_NUM_THREADS": "not set",
        **_variables(),
        **{name: str(value) for name, value in sorted(flags.items())},  # as they are now, not as they were at the start
    }


def _commit() -> str:
    """The commit of this checkout, with `-dirty` if files were changed since."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return "unknown"
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def cpu(flags: Sequence[str]) -> tuple[str, list[str]]:
    """The CPU's name, and which of these flags it reports."""
    path = Path("/proc/cpuinfo")
    info = path.read_text(encoding="utf-8") if path.exists() else ""
    model = re.search(r"model name\s*: (.*)", info)
    found = re.search(r"flags\s*: (.*)", info)
    reported = found.group(1).split() if found else []
    name = model.group(1).strip() if model else platform.processor() or platform.machine()
    return name, [flag for flag in flags if flag in reported]


def _version(*distributions: str) -> str:
    """The version of whichever of several distributions is installed."""
    found = (one.version for name in distributions for one in importlib.metadata.distributions(name=name))
    return next(found, "not installed")


def _variables() -> dict[str, str]:
    """The environment variables that decide how the frameworks compute; a path is only said to be one."""
    chosen = {name: value for name, value in sorted(os.environ.items()) if VARIABLES.match(name)}
    return {name: "(a path)" if "/" in value or "\\" in value else value for name, value in chosen.items()}
