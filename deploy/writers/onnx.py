"""Writes ONNX: Paddle 3's graph, turned by paddle2onnx."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deploy.signature import Signature
from deploy.writers.converter import convert
from deploy.writers.paddle import save_paddle
from runtime.owned import temporary_folder

if TYPE_CHECKING:
    from paddle import nn

OPSET = 17


def save_onnx(model: nn.Layer, signature: Signature, stem: str) -> None:
    """Writes an ONNX graph."""
    with temporary_folder() as folder:
        source, target = str(Path(folder) / "graph"), f"{stem}.onnx"
        save_paddle(model, signature, source)
        convert("paddle2onnx", _call_paddle2onnx, source, target, target=target)


def _call_paddle2onnx(source: str, target: str) -> None:
    import paddle2onnx

    paddle2onnx.export(f"{source}.json", f"{source}.pdiparams", target, opset_version=OPSET, optimize_tool="None")
