"""Operators of our own for CPU, in C++, where Paddle's are slow; each computes as Paddle's does, but for rounding.

Not Paddle's custom operators: a PyLayer hands over the memory of its tensors, so that nothing depends on Paddle's
headers and a compiler is done in 2 s. Where there is none, Paddle computes all by itself.
"""

from __future__ import annotations

import ctypes
import math
from pathlib import Path
from typing import Any

import paddle

from runtime import native

SOURCES = tuple(sorted(Path(__file__).parent.glob("*.[ch]*")))
OPENMP = next((Path(paddle.__file__).parent / "libs").glob("libiomp5.*"), None)
# The library of Paddle's matrix products, where it has this one; with another, dense convolutions are Paddle's.
MKL = next((Path(paddle.__file__).parent / "libs").glob("libmklml_intel.so"), None)
TYPES = {paddle.float32: "float", paddle.float64: "double"}


def _library() -> tuple[ctypes.CDLL | None, str]:
    return native.library(SOURCES, OPENMP)


def plan_line() -> str:
    """What computes convolutions and BatchNorm, for the plan of a run."""
    library, word = _library() if paddle.get_device() == "cpu" else (None, "this is no CPU")
    convolution = "convolution" if MKL else "depthwise convolution"
    return f"our own for {convolution} and BatchNorm, by {word}" if library else f"Paddle's alone: {word}"


def serve(x: paddle.Tensor, *parameters: paddle.Tensor | None) -> bool:
    """Whether the operators compute this: dense numbers of one type that they know on CPU, and no graph."""
    return (
        paddle.in_dynamic_mode()
        and x.dtype in TYPES
        and x.place.is_cpu_place()
        and all(other is not None and other.dtype == x.dtype for other in parameters)
        and x.size > 0
        and _library()[0] is not None
    )


def is_plain(layer: paddle.nn.Layer, kind: type[paddle.nn.Layer]) -> bool:
    """Whether a layer is of just this class, and nobody watches or changes what goes in and comes out of it."""
    return type(layer) is kind and not (
        layer._forward_pre_hooks or layer._forward_post_hooks or "forward" in vars(layer)
    )


def call(name: str, dtype: paddle.dtype, *arguments: paddle.Tensor | ctypes.Array[Any] | float | None) -> None:
    """Calls an operator of the library with the memory of tensors, which must be dense, and with numbers."""
    library = _library()[0]
    assert library is not None  # as `serve` has said
    getattr(library, f"{name}_{TYPES[dtype]}")(*map(_handed_over, arguments))


def _handed_over(argument: paddle.Tensor | ctypes.Array[Any] | float | None) -> object:
    if isinstance(argument, paddle.Tensor):
        assert argument.is_contiguous()
        return ctypes.c_void_p(argument.data_ptr())
    return ctypes.c_double(argument) if isinstance(argument, float) else argument


def integers(*values: int) -> ctypes.Array[Any]:
    """int64 values, as the structures of the C++ files hold them."""
    return (ctypes.c_int64 * len(values))(*values)


def planes_of(x: paddle.Tensor) -> ctypes.Array[Any]:
    """The structure of `planes.h` for maps [N, C, ...]."""
    images, channels, *sides = x.shape
    return integers(images, channels, math.prod(sides))
