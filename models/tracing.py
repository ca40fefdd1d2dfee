"""How Paddle traces networks into static graphs: as Python runs them.

Paddle rewrites the source of each function that it traces, so that conditions and loops over tensors become operators
of the graph. The networks here have none: what they decide, they decide by shapes and settings that are known. For a
SlowFast that rewriting is most of the time of an export.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import ModuleType

import paddle
import paddle.nn.functional as F
from paddle.base.layer_helper import LayerHelper


def trace_as_written(*packages: ModuleType) -> None:
    """Lets Paddle trace the functions of `models`, and of these packages, without rewriting them, in this process.

    Networks that a user has elsewhere are rewritten as ever.
    """
    import models

    paddle.jit.ignore_module([models, *packages])


@contextlib.contextmanager
def old_operators() -> Iterator[None]:
    """Traces by the operator itself what Paddle 3.3 traces into its new graphs alone: the sigmoid."""

    def sigmoid(x: paddle.Tensor) -> paddle.Tensor:
        helper = LayerHelper("sigmoid")
        out = helper.create_variable_for_type_inference(x.dtype)
        helper.append_op(type="sigmoid", inputs={"X": x}, outputs={"Out": out})
        return out

    plain, F.sigmoid = F.sigmoid, sigmoid
    try:
        yield
    finally:
        F.sigmoid = plain
