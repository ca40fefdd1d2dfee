"""The operators of an ONNX graph under the names of the layers whose weights they have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paddle import nn


@dataclass(frozen=True)
class Operator:
    """An operator of a graph.

    Attributes:
        kind: As ONNX calls it.
        place: The layer whose weights it has, or behind which it stands.
        axes: Of space and time that a kernel moves along; 0 where there is no kernel.
        attributes: As ONNX calls them.
    """

    kind: str
    place: str
    axes: int
    attributes: dict[str, Any]


def operators_of(path: str, model: nn.Layer) -> Iterator[Operator]:
    """The operators of an ONNX file in their order.

    Args:
        path: The file that was written of the model.
        model: Its parameters tell which layer an operator belongs to.
    """
    import onnx

    graph = onnx.load(path).graph
    names = {parameter.name: name.rpartition(".")[0] for name, parameter in model.named_parameters()}
    behind = "the input"
    for node in graph.node:
        attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        place = next((names[name] for name in node.input if name in names), "")
        yield Operator(node.op_type, place or f"behind {behind}", len(attributes.get("kernel_shape", ())), attributes)
        behind = place or behind
