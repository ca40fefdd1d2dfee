"""Writes the static graph of a model in each format; imports Paddle when it writes, not in the converter's process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.artifact import ArtifactError
from deploy.formats import FORMATS, STEM, Graph
from deploy.signature import Signature
from deploy.writers.mnn import save_mnn
from deploy.writers.ncnn import save_ncnn
from deploy.writers.onnx import save_onnx
from deploy.writers.paddle import save_legacy, save_paddle
from runtime.errors import UserError, last_line

if TYPE_CHECKING:
    from paddle import nn

# format -> function that writes a fused model and leaves it as it is: (model, signature, path without suffix)
WRITERS: dict[str, Callable[[nn.Layer, Signature, str], None]] = {
    "paddle": save_paddle,
    "legacy": save_legacy,
    "onnx": save_onnx,
    "mnn": save_mnn,
    "ncnn": save_ncnn,
}


def write_graph(
    form: str, model: nn.Layer, signature: Signature, folder: Path, copies: dict[Any, nn.Layer] | None = None
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
    from deploy.folding import fused
    from deploy.fusions import FUSIONS

    kind = FORMATS[form]
    if kind.lack:
        raise ArtifactError(f"--formats {form}: {kind.lack}")
    for spec in signature.inputs if kind.dtypes else ():
        if spec.dtype not in kind.dtypes:
            taken = " or ".join(kind.dtypes)
            raise ArtifactError(f"--formats {form} takes {taken} alone, and {spec.name} is {spec.dtype}")
    copies = {} if copies is None else copies
    types = {type(layer) for layer in model.sublayers(include_self=True)}
    fusions = {kind: fusion for kind, fusion in FUSIONS[form].items() if kind in types}  # that have something to do
    key = frozenset(fusions.items())
    if key not in copies:
        copies[key] = fused(model, signature, fusions)
    written = signature if kind.takes_batches else signature.with_batch(1)
    try:
        WRITERS[form](copies[key], written, str(folder / STEM))
    except UserError:
        raise
    except Exception as error:  # Paddle has errors of its own
        raise ArtifactError(f"the graph for {form} cannot be written: {last_line(error)}") from error
    return Graph(form, folder, signature)
