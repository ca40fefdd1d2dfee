"""Reads every hyper-parameter off live models of both frameworks and compares them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from alignment.audit.vocabulary import find_kind, read_constants
from alignment.sides.state import is_torch
from alignment.verdicts.record import Record, exact, missing

Rename = Callable[[str], str]
DIGITS = 9  # significant digits that count, as 1 - 0.9 is 0.09999999999999998
# Paddle's names of tensors that PyTorch calls `weight`, by kind of layer.
WEIGHT_NAMES = {"InstanceNorm": "scale", "PReLU": "_weight"}


class LayerConstants(NamedTuple):
    """What there is to know of one layer.

    Attributes:
        kind: The vocabulary's name, or the name of a class that is not in it.
        values: The constants; of a class that is not in the vocabulary, its public attributes of simple types.
        known: Whether the vocabulary has the kind.
        parameters: Names of the layer's own parameters.
        cls: Name of its class.
    """

    kind: str
    values: dict[str, Any]
    known: bool
    parameters: tuple[str, ...]
    cls: str


def layer_constants(model: Any) -> dict[str, LayerConstants]:
    """The constants of every layer, by path in the order of construction; the model itself is the path "".

    They are read as they are after `model.train()`; the layers are in their former modes afterwards.

    Args:
        model: torch.nn.Module or paddle.nn.Layer.
    """
    with in_training(model):
        return {path: _read_layer(layer, is_torch(model)) for path, layer in named_layers(model)}


def compare_models(reference: Any, candidate: Any, rename: Rename = str) -> list[Record]:
    """Compares the constants of all layers, and which parameters train, of which type and shared with which.

    A layer with parameters that only one side has is a failure; one without may be a function on the other side.
    Layers of classes outside the vocabulary are compared if both have the same name, by the attributes both have.

    Args:
        reference, candidate: torch.nn.Module and paddle.nn.Layer, in any combination.
        rename: Turns a path of the reference into the candidate's.

    Returns:
        Records of kind `constant`, named in the reference's paths such as `backbone.bn1.eps`.
    """
    theirs, ours = layer_constants(reference), layer_constants(candidate)
    twins = {path: _twin(path, layer, rename, ours) for path, layer in theirs.items()}
    taken = {twins[path] for path, layer in theirs.items() if layer.parameters}
    records = []
    for path, layer in theirs.items():
        twin = ours.get(twins[path])
        if twin is None and layer.parameters:
            records.append(missing(path, "constant", "candidate"))
        elif twin is not None and (layer.parameters or twins[path] not in taken):
            records += _compare_layers(path, layer, twin)
    extra = [path for path in ours if path not in twins.values() and ours[path].parameters]
    records += [missing(path, "constant", "reference") for path in extra]
    return records + _compare_parameters(reference, candidate, rename)


def _twin(path: str, layer: LayerConstants, rename: Rename, candidate: dict[str, Any]) -> str:
    """The candidate's path of a layer: where its parameters go.

    That may not be where its output is: a norm with an activation in it has the output of a Sequential of both.
    """
    for name in layer.parameters if path else ():
        owner = rename(_join(path, name)).rpartition(".")[0]
        if owner in candidate:
            return owner
    return rename(path) if path else path


def _compare_layers(path: str, reference: LayerConstants, candidate: LayerConstants) -> list[Record]:
    if reference.known != candidate.known:
        return []
    if reference.kind.lower() != candidate.kind.lower():
        comparable = reference.known and not _may_differ(reference, candidate)
        return [exact(_join(path, "class"), "constant", reference.cls, candidate.cls)] if comparable else []
    records = [exact(_join(path, "class"), "constant", reference.kind, reference.kind)] if reference.known else []
    return records + [
        exact(_join(path, constant), "constant", value, candidate.values[constant])
        for constant, value in reference.values.items()
        if constant in candidate.values
    ]


def _may_differ(*layers: LayerConstants) -> bool:
    """Whether none does anything, like Identity and a Dropout of 0, or one is a container, compared by its content."""
    idle = [
        layer.kind == "Identity" or layer.values.get("p") == 0 or layer.values.get("length") == 0 for layer in layers
    ]
    return all(idle) or any(layer.kind == "Container" and layer.values["length"] for layer in layers)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def named_layers(model: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All layers by path, one that is used in two places under both."""
    yield path, model
    children = model._modules if is_torch(model) else model._sub_layers
    for name, child in children.items():
        if child is not None:
            yield from named_layers(child, _join(path, name))


def named_parameters(model: Any) -> dict[str, Any]:
    """All parameters by name, a shared one under each of its names."""
    return {
        _join(path, name): parameter
        for path, layer in named_layers(model)
        for name, parameter in layer._parameters.items()
        if parameter is not None
    }


@contextlib.contextmanager
def in_training(model: Any) -> Iterator[None]:
    modes = [(layer, layer.training) for _, layer in named_layers(model)]
    model.train()
    try:
        yield
    finally:
        for layer, mode in modes:
            layer.training = mode


def _read_layer(layer: Any, torch: bool) -> LayerConstants:
    found = find_kind(layer)
    parameters = tuple(name for name, parameter in layer._parameters.items() if parameter is not None)
    if found:
        kind, cls = found
        values = {name: plain_value(value) for name, value in read_constants(kind, layer, torch).items()}
        return LayerConstants(kind.name, values, True, parameters, cls)
    name = type(layer).__name__
    return LayerConstants(name, _public_attributes(layer, torch), False, parameters, name)


def _public_attributes(layer: Any, torch: bool) -> dict[str, Any]:
    """Numbers, words and lists of them; the mode of the layer counts only where no layer is inside."""
    has_children = bool(layer._modules if torch else layer._sub_layers)
    return {
        name: plain_value(value)
        for name, value in vars(layer).items()
        if not name.startswith("_") and _is_simple(value) and not (name == "training" and has_children)
    }


def _is_simple(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_simple(item) for item in value)
    return value is None or isinstance(value, int | float | str)


def plain_value(value: Any) -> Any:
    """A value that compares and prints the same from both frameworks."""
    if isinstance(value, list | tuple):
        return tuple(plain_value(item) for item in value)
    if value is None or isinstance(value, bool | int | str):
        return value
    number = float(value)
    return float(f"{number:.{DIGITS}g}") if math.isfinite(number) else number


def _compare_parameters(reference: Any, candidate: Any, rename: Rename) -> list[Record]:
    with in_training(reference), in_training(candidate):
        theirs, ours = named_parameters(reference), named_parameters(candidate)
        twins = parameter_twins(reference, ours, rename)
        records = []
        for name, twin in twins.items():
            left, right = theirs[name], ours[twin]
            records.append(exact(_join(name, "trainable"), "constant", trains(left), trains(right)))
            records.append(exact(_join(name, "dtype"), "constant", _dtype(left), _dtype(right)))
    return records + _compare_sharing(theirs, ours, twins)


def parameter_twins(reference: Any, ours: dict[str, Any], rename: Rename) -> dict[str, str]:
    """Names of the reference's parameters and the candidate's, of those that both have."""
    twins = {}
    for path, layer in named_layers(reference):
        kind = find_kind(layer)
        for name in layer._parameters:
            twin = rename(_join(path, name))
            if twin not in ours and kind and name == "weight":
                twin = twin.removesuffix(name) + WEIGHT_NAMES.get(kind[0].name, name)
            if twin in ours and layer._parameters[name] is not None:
                twins[_join(path, name)] = twin
    return twins


def trains(parameter: Any) -> bool:
    return parameter.requires_grad if is_torch(parameter) else not parameter.stop_gradient


def _dtype(tensor: Any) -> str:
    return str(tensor.dtype).rpartition(".")[2]


def _compare_sharing(theirs: dict[str, Any], ours: dict[str, Any], twins: dict[str, str]) -> list[Record]:
    """One record for each parameter that has several names on either side."""
    left = _sharers({name: theirs[name] for name in twins})
    right = _sharers({name: ours[twin] for name, twin in twins.items()})
    return [
        exact(_join(name, "shared_with"), "constant", left[name], right[name])
        for name in twins
        if left[name] or right[name]
    ]


def _sharers(parameters: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """For each name the others whose tensor starts at the same place of memory."""
    groups: dict[int, list[str]] = {}
    for name, parameter in parameters.items():
        groups.setdefault(parameter.data_ptr() or id(parameter), []).append(name)
    return {name: tuple(other for other in group if other != name) for group in groups.values() for name in group}
