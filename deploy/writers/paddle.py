"""Writes the graphs of Paddle 3 and of Paddle 2."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.signature import Signature
from runtime import command
from runtime.owned import temporary_folder

if TYPE_CHECKING:
    from paddle import nn


def save_paddle(model: nn.Layer, signature: Signature, stem: str) -> None:
    """Writes Paddle 3's graph."""
    import paddle

    import deploy
    from models.tracing import trace_as_written

    trace_as_written(deploy)
    specs = [paddle.static.InputSpec(list(spec.shape), spec.dtype, spec.name) for spec in signature.inputs]
    with warnings.catch_warnings(), command.signals_deferred():
        warnings.simplefilter("ignore")
        paddle.jit.save(model, stem, input_spec=signature.arguments(specs))


def save_legacy(model: nn.Layer, signature: Signature, stem: str) -> None:
    """Writes Paddle 2's graph."""
    import paddle

    from models.tracing import old_operators

    with temporary_folder() as folder, paddle.pir_utils.OldIrGuard(), old_operators():
        graph = str(Path(folder) / "graph")
        save_paddle(model, signature, graph)
        Path(f"{stem}.pdmodel").write_bytes(_as_of_paddle_2(Path(f"{graph}.pdmodel").read_bytes()))
        shutil.copy(f"{graph}.pdiparams", f"{stem}.pdiparams")


def _as_of_paddle_2(program: bytes) -> bytes:
    """A graph without the lines of code that made each operator, which hold paths, and with the 6 of each relu6.

    Paddle 3 leaves out that attribute; Paddle Lite does not convert an operator that lacks it.
    """
    from paddle.base.proto import framework_pb2

    description = framework_pb2.ProgramDesc()
    description.ParseFromString(program)
    for operator in (operator for block in description.blocks for operator in block.ops):
        kept = [attribute for attribute in operator.attrs if attribute.name != "op_callstack"]
        del operator.attrs[:]
        operator.attrs.extend(kept)
        if operator.type == "relu6" and not any(attribute.name == "threshold" for attribute in kept):
            operator.attrs.add(name="threshold", type=framework_pb2.AttrType.Value("FLOAT"), f=6.0)
    return description.SerializeToString()
