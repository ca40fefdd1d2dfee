"""Writes ncnn's graph: ONNX of one clip, turned by pnnx.

Source: ncnn's tools/pnnx (`onnx2ncnn` is kept for old graphs alone). pnnx ends with 0 whatever happens: that all
operators are ncnn's is read from what it wrote.
"""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.signature import Signature
from deploy.writers.converter import convert
from deploy.writers.onnx import save_onnx
from runtime.errors import UserError
from runtime.owned import temporary_folder

if TYPE_CHECKING:
    from paddle import nn


def save_ncnn(model: nn.Layer, signature: Signature, stem: str) -> None:
    """Writes ncnn's graph of a signature whose sizes are all known."""
    shapes = ",".join(f"[{','.join(map(str, spec.shape))}]f32" for spec in signature.inputs)
    with temporary_folder() as folder:
        source = Path(folder) / "graph"
        save_onnx(model, signature, str(source))
        targets = [f"{stem}.ncnn.param", f"{stem}.ncnn.bin"]
        convert("pnnx", _call_pnnx, str(source), shapes, *targets, target=targets[0])
    _check_operators(Path(targets[0]).read_text(encoding="utf-8"))


def _check_operators(param: str) -> None:
    """Raises UserError for what pnnx has left of other graphs: it has a dot in its name, as no layer of ncnn has."""
    kinds = [line.split()[0] for line in param.splitlines()[2:] if line.strip()]
    foreign = sorted({kind for kind in kinds if "." in kind or "::" in kind})
    if foreign:
        raise UserError(f"ncnn has no {', '.join(foreign)}: take --formats onnx, or mnn")


def _call_pnnx(source: str, shapes: str, param: str, binary: str) -> None:
    found = importlib.util.find_spec("pnnx")  # to import it would import PyTorch
    program = Path(str(found and found.origin)).with_name("pnnx")
    # The others of its files are PyTorch's.
    others = [f"{name}={source}.{name}" for name in ("pnnxparam", "pnnxbin", "pnnxpy", "pnnxonnx", "ncnnpy")]
    arguments = [f"inputshape={shapes}", "fp16=0", f"ncnnparam={param}", f"ncnnbin={binary}", *others]
    subprocess.run([str(program), f"{source}.onnx", *arguments], check=True)
