"""Writes ONNX: Paddle 3's graph, turned by paddle2onnx."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deploy.signature import Signature
from deploy.writers.converter import convert
from deploy.writers.paddle import save_paddle
from runtime.errors import UserError
from runtime.owned import temporary_folder

if TYPE_CHECKING:
    from paddle import nn

OPSET = 17
PADS = ("1.pad", "1.pad3d")  # operators in Paddle's JSON


def save_onnx(model: nn.Layer, signature: Signature, stem: str) -> None:
    """Writes an ONNX graph."""
    with temporary_folder() as folder:
        source, target = str(Path(folder) / "graph"), f"{stem}.onnx"
        save_paddle(model, signature, source)
        convert("paddle2onnx", _call_paddle2onnx, source, target, target=target)
        values = _pad_values(json.loads(Path(f"{source}.json").read_text(encoding="utf-8")))
        if values:
            _mend_pads(target, values)


def _pad_values(content: Any) -> list[float]:
    """What the paddings of Paddle's graph fill with, in its order."""
    if isinstance(content, list):
        return [value for item in content for value in _pad_values(item)]
    if not isinstance(content, dict):
        return []
    if content.get("#") in PADS:
        return [item["AT"]["D"] for item in content["A"] if item["N"] == "pad_value"]
    return [value for item in content.values() for value in _pad_values(item)]


def _mend_pads(path: str, values: list[float]) -> None:
    """Writes what paddings fill with, of which paddle2onnx 2.1.0 takes other bytes."""
    import onnx

    model = onnx.load(path)
    pads = [node for node in model.graph.node if node.op_type == "Pad"]
    if len(pads) != len(values):
        raise UserError(f"paddle2onnx has made {len(pads)} paddings of {len(values)}")
    constants = {node.output[0]: node for node in model.graph.node if node.op_type == "Constant"}
    for node, value in zip(pads, values, strict=True):
        tensor = onnx.numpy_helper.from_array(np.asarray(value, np.float32), node.input[2])
        constants[node.input[2]].attribute[0].t.CopyFrom(tensor)
    onnx.save(model, path)


def _call_paddle2onnx(source: str, target: str) -> None:
    import paddle2onnx

    paddle2onnx.export(f"{source}.json", f"{source}.pdiparams", target, opset_version=OPSET, optimize_tool="None")
