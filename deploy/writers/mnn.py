"""Writes MNN's graph: ONNX, turned by MNN's converter.

Source: MNN 3.6.1, tried operator by operator. Its console script `mnnconvert` installs and runs a telemetry client; the
function of the converter itself, which is called here, does not.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.artifact import ArtifactError
from deploy.signature import Signature
from deploy.writers.converter import convert
from deploy.writers.onnx import save_onnx
from deploy.writers.operators import Operator, operators_of
from runtime.owned import temporary_folder

if TYPE_CHECKING:
    from paddle import nn


def save_mnn(model: nn.Layer, signature: Signature, stem: str) -> None:
    """Writes MNN's graph; raises ArtifactError for an operator that MNN is known to compute wrong."""
    with temporary_folder() as folder:
        source, target = Path(folder) / "graph", f"{os.path.abspath(stem)}.mnn"
        save_onnx(model, signature, str(source))
        for operator in operators_of(f"{source}.onnx", model):
            if why := refusal(operator):
                raise ArtifactError(
                    f"--formats mnn: {operator.place}: MNN converts {why}, and computes something else: "
                    "take --formats onnx, or ncnn"
                )
        convert("MNN", _call_mnn, f"{source}.onnx", target, target=target)


def refusal(operator: Operator) -> str:
    """What MNN computes wrong of an operator over clips, without a word from its converter; empty if nothing."""
    if operator.kind == "ConvTranspose" and operator.axes == 3 and operator.attributes.get("group", 1) > 1:
        return "a transposed 3-D convolution in groups"
    padding = operator.attributes.get("auto_pad", b"")
    if operator.kind in ("Conv", "MaxPool") and operator.axes == 3 and padding.startswith(b"SAME"):
        return "a padding along the frames that is not a number (SAME)"
    if operator.kind == "Conv" and operator.axes == 3 and operator.attributes.get("dilations", [1])[0] > 1:
        return "a convolution that is dilated along the frames"
    if operator.kind == "AveragePool" and operator.axes == 3 and _pads_frames(operator.attributes):
        return "an average pooling that is padded along the frames"
    if operator.kind == "MaxPool" and operator.axes == 3 and operator.attributes.get("ceil_mode", 0):
        return "a 3-D max pooling that rounds its size up (ceil_mode)"
    return ""


def _pads_frames(attributes: dict[str, Any]) -> bool:
    pads = attributes.get("pads", [0] * 6)
    return bool(pads[0] or pads[3])


def _call_mnn(source: str, target: str) -> None:
    import _tools

    os.chdir(Path(source).parent)  # where it leaves a file of its own when it dies
    # "bizCode" is a mark in the file, which the converter demands.
    _tools.mnnconvert(["", "-f", "ONNX", "--modelFile", source, "--MNNModel", target, "--bizCode", "actionalign"])
