"""Writes the static graph of a model in each format; imports Paddle when it writes, not in the converter's process."""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.artifact import ArtifactError
from deploy.formats import FORMATS, STEM, Graph
from deploy.signature import Signature
from runtime import command
from runtime.errors import UserError, last_line
from runtime.fresh_process import in_fresh_process
from runtime.owned import temporary_folder

if TYPE_CHECKING:
    from paddle import nn

OPSET = 17


def write_graph(
    form: str, model: nn.Layer, signature: Signature, folder: Path, copies: dict[int, nn.Layer] | None = None
) -> Graph:
    """Writes the graph of a model in one format.

    Args:
        form: A key of WRITERS.
        model: In eval mode; left as it is. Its `forward` takes the inputs and returns the outputs in the order of the
            signature.
        signature: What the graph takes and gives.
        folder: For the files.
        copies: What one call hands to the next: the model fused, once for all formats that share their fusions.

    Raises:
        UserError: What writes the format is not installed, or cannot write this model.
    """
    from deploy.fusions import FUSIONS, fused

    fusions, copies = FUSIONS[form], {} if copies is None else copies
    if id(fusions) not in copies:
        copies[id(fusions)] = fused(model, signature, fusions)
    try:
        WRITERS[form](copies[id(fusions)], signature, str(folder / STEM))
    except UserError:
        raise
    except Exception as error:  # Paddle has errors of its own
        raise ArtifactError(f"the graph for {form} cannot be written: {last_line(error)}") from error
    return Graph(form, folder, signature)


def save_paddle(model: nn.Layer, signature: Signature, stem: str) -> None:
    """Writes Paddle 3's graph."""
    import paddle

    specs = [paddle.static.InputSpec(list(spec.shape), spec.dtype, spec.name) for spec in signature.inputs]
    with warnings.catch_warnings(), command.signals_deferred():
        warnings.simplefilter("ignore")
        paddle.jit.save(model, stem, input_spec=signature.arguments(specs))


def save_legacy(model: nn.Layer, signature: Signature, stem: str) -> None:
    """Writes Paddle 2's graph."""
    import paddle

    with temporary_folder() as folder, paddle.pir_utils.OldIrGuard(), _old_operators():
        graph = str(Path(folder) / "graph")
        save_paddle(model, signature, graph)
        Path(f"{stem}.pdmodel").write_bytes(_as_of_paddle_2(Path(f"{graph}.pdmodel").read_bytes()))
        shutil.copy(f"{graph}.pdiparams", f"{stem}.pdiparams")


@contextlib.contextmanager
def _old_operators() -> Iterator[None]:
    """Traces by the operator itself what Paddle 3.3 traces into its new graphs alone: the sigmoid."""
    import paddle.nn.functional as F
    from paddle.base.layer_helper import LayerHelper

    def sigmoid(x):
        helper = LayerHelper("sigmoid")
        out = helper.create_variable_for_type_inference(x.dtype)
        helper.append_op(type="sigmoid", inputs={"X": x}, outputs={"Out": out})
        return out

    plain, F.sigmoid = F.sigmoid, sigmoid
    try:
        yield
    finally:
        F.sigmoid = plain


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


def save_onnx(model: nn.Layer, signature: Signature, stem: str) -> None:
    """Writes an ONNX graph: Paddle 3's, turned by paddle2onnx in a process of its own, which the converter may end."""
    if lack := FORMATS["onnx"].lack:
        raise ArtifactError(f"--formats onnx: {lack}")
    with temporary_folder() as folder:
        source, log = str(Path(folder) / "graph"), Path(folder) / "log"
        save_paddle(model, signature, source)
        log.touch()
        try:
            in_fresh_process(_call_paddle2onnx, source, f"{stem}.onnx", str(log))
            if not Path(f"{stem}.onnx").is_file():
                raise UserError("it ended without a word")
        except Exception as error:
            remarks = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise UserError(f"paddle2onnx does not convert the graph: {(remarks or [str(error)])[-1]}") from error


def _call_paddle2onnx(source: str, target: str, log: str) -> None:
    """Keeps the converter's many lines in a file, for the error that there may be."""
    remarks = os.open(log, os.O_WRONLY)
    os.dup2(remarks, 1)
    os.dup2(remarks, 2)
    import paddle2onnx

    paddle2onnx.export(f"{source}.json", f"{source}.pdiparams", target, opset_version=OPSET, optimize_tool="None")


# format -> function that writes a fused model and leaves it as it is: (model, signature, path without suffix)
WRITERS: dict[str, Callable[[nn.Layer, Signature, str], None]] = {
    "paddle": save_paddle,
    "legacy": save_legacy,
    "onnx": save_onnx,
}
