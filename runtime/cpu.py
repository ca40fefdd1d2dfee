"""Settings of the process that make Paddle fast on CPU: the allocator, and the vector path of its MKL on AMD.

Both are decided before the first operation. Paddle's MKL of 2019 takes a slow path on every CPU that is not Intel's.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc malloc.h
_CPUINFO = Path("/proc/cpuinfo")


def mkl_vector_path(cpuinfo: str) -> str | None:
    """The value of `MKL_DEBUG_CPU_TYPE` for this CPU, or None where the default is right.

    Args:
        cpuinfo: Text of /proc/cpuinfo.

    Returns:
        "7" (AVX-512) or "5" (AVX2) on AMD, by the flags that the CPU reports; None on any other vendor.
    """
    fields = dict(line.split(":", 1) for line in cpuinfo.split("\n\n")[0].splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = set(fields.get("flags", "").split())
    if fields.get("vendor_id") != "AuthenticAMD":
        return None
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags:
        return "7"
    return "5" if {"avx2", "fma"} <= flags else None


def has_bf16() -> bool:
    """Whether this CPU multiplies in bfloat16."""
    return _CPUINFO.is_file() and bool({"avx512_bf16", "amx_bf16"} & set(_CPUINFO.read_text().split()))


def tune_mkl() -> str:
    """Sets the MKL vector path by vendor and flags, unless the environment does; returns a line for the plan."""
    if "MKL_DEBUG_CPU_TYPE" in os.environ:
        return f"MKL_DEBUG_CPU_TYPE={os.environ['MKL_DEBUG_CPU_TYPE']} (from the environment)"
    path = mkl_vector_path(_CPUINFO.read_text()) if _CPUINFO.exists() else None
    if path is None:
        return "MKL vector path as it comes"
    os.environ["MKL_DEBUG_CPU_TYPE"] = path
    return f"MKL_DEBUG_CPU_TYPE={path} ({'AVX-512' if path == '7' else 'AVX2'} on AMD)"


def tune_malloc() -> str:
    """Lets malloc keep freed blocks, as page faults cost more than an element-wise operation.

    Returns a line for the plan.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return "allocator as it comes (no glibc)"
    libc = ctypes.CDLL("libc.so.6")
    kept = [libc.mallopt(name, 2**31 - 1) for name in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD)]
    return "malloc keeps freed blocks" if all(kept) else "malloc refused its settings"
