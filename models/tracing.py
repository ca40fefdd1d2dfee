"""How Paddle traces networks into static graphs: as Python runs them.

Paddle rewrites the source of each function that it traces, so that conditions and loops over tensors become operators
of the graph. The networks here have none: what they decide, they decide by shapes and settings that are known. For a
SlowFast that rewriting is most of the time of an export.
"""

from __future__ import annotations

from types import ModuleType

import paddle


def trace_as_written(*packages: ModuleType) -> None:
    """Lets Paddle trace the functions of `models`, and of these packages, without rewriting them, in this process.

    Networks that a user has elsewhere are rewritten as ever.
    """
    import models

    paddle.jit.ignore_module([models, *packages])
