"""Takes out of the biases of an int8 graph what the rounding of its kernels adds to the mean of each output channel.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2;
the mean of each input is that of clips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deploy.engines import import_quietly


def correct_biases(source: str, target: str, clips: Sequence[np.ndarray]) -> None:
    """Changes the int8 graph in its file.

    Args:
        source: The ONNX graph in fp32 that it was made of; its operators have the same names.
        target: The int8 graph (QDQ), whose biases are int32.
        clips: What the means are drawn from, each float32 [1, T, 3, H, W].
    """
    onnx = import_quietly("onnx")
    exact, rounded = onnx.load(source), onnx.load(target)
    kernels = {tensor.name: tensor for tensor in exact.graph.initializer}
    values = {tensor.name: tensor for tensor in rounded.graph.initializer}
    writers = {name: node for node in rounded.graph.node for name in node.output}
    before = {node.name: node for node in exact.graph.node}
    convolutions = [node for node in rounded.graph.node if node.op_type == "Conv" and len(node.input) > 2]
    convolutions = [node for node in convolutions if {node.input[1], node.input[2]} <= writers.keys()]  # those in int8
    read = [before[node.name].input for node in convolutions]
    means = _means(exact, {tensor: len(kernels[kernel].dims) for tensor, kernel, *_ in read}, clips)

    def numbers(name: str) -> np.ndarray:
        return onnx.numpy_helper.to_array(values[name]).astype(np.float64)

    for node in convolutions:
        kernel, bias = writers[node.input[1]].input, writers[node.input[2]].input  # of their DequantizeLinear
        wanted = onnx.numpy_helper.to_array(kernels[before[node.name].input[1]]).astype(np.float64)
        shape = (-1, *[1] * (wanted.ndim - 1))
        zero = numbers(kernel[2]).reshape(shape) if len(kernel) > 2 else 0.0
        error = (numbers(kernel[0]) - zero) * numbers(kernel[1]).reshape(shape) - wanted
        moved = _moved(error, means[before[node.name].input[0]])
        corrected = np.round(numbers(bias[0]) - moved / numbers(bias[1])).astype(np.int32)
        values[bias[0]].CopyFrom(onnx.numpy_helper.from_array(corrected, bias[0]))
    onnx.save(rounded, target)


def _moved(error: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """How far an error of a kernel, [C', C / groups, ...], moves the mean of each output, for the inputs' means [C]."""
    by_input = error.reshape(*error.shape[:2], -1).sum(axis=2)  # [C', C / groups]
    groups = len(mean) // by_input.shape[1]
    return np.einsum("goi,gi->go", by_input.reshape(groups, -1, by_input.shape[1]), mean.reshape(groups, -1)).ravel()


def _means(model: Any, ranks: Mapping[str, int], clips: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """The mean of each channel [C] of tensors [N, C, ...] of a graph over clips; the graph loses its own outputs.

    The graph takes them itself: what all convolutions of a clip read would not fit the memory of every machine.
    """
    onnx, runtime = import_quietly("onnx"), import_quietly("onnxruntime")
    del model.graph.output[:]
    for name, rank in ranks.items():
        axes = [0, *range(2, rank)]
        model.graph.node.append(onnx.helper.make_node("ReduceMean", [name], [f"mean of {name}"], axes=axes, keepdims=0))
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(f"mean of {name}"))
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = [session.run(None, {session.get_inputs()[0].name: clip}) for clip in clips]
    return {name: np.mean(means, axis=0) for name, means in zip(ranks, zip(*found, strict=True), strict=True)}
