"""Reads every hyper-parameter off live models of both frameworks and compares them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from alignment.audit.vocabulary import find_kind, read_constants
from alignment.sides.pair import Sides
from alignment.sides.parameters import NO_LAYERS, Layers, Part, parts, rules_of, shared_path
from alignment.sides.state import all_layers, is_torch
from alignment.verdicts.record import Record, exact, missing

Rename = Callable[[str], str]
DIGITS = 9  # significant digits that count, as 1 - 0.9 is 0.09999999999999998


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
        return {path: _read_layer(layer, is_torch(model)) for path, layer in all_layers(model)}


def compare_models(reference: Any, candidate: Any, rename: Rename = str, layers: Layers = NO_LAYERS) -> list[Record]:
    """Compares the constants of all layers, and which parameters train, of which type and shared with which.

    A layer with parameters that only one side has is a failure; one without may be a function on the other side.
    Layers of classes outside the vocabulary are compared if both have the same name, by the attributes both have.

    Args:
        reference, candidate: torch.nn.Module and paddle.nn.Layer, in any combination.
        rename: Turns a path of the reference into the candidate's.
        layers: Rules for layers that `parameters.LAYERS` does not know.

    Returns:
        Records of kind `constant`, named in the reference's paths such as `backbone.bn1.eps`.
    """
    theirs, ours = layer_constants(reference), layer_constants(candidate)
    rules = rules_of(all_layers(reference), layers)
    twins = {path: _twin(path, shared_path(path, rules), layer, rename, ours) for path, layer in theirs.items()}
    unpaired = _unpaired(reference, candidate, rename, layers)
    taken = {twins[path] for path, layer in theirs.items() if layer.parameters}
    records = []
    for path, layer in theirs.items():
        twin = ours.get(twins[path])
        if twin is None and path in unpaired.reference:
            records.append(missing(path, "constant", "candidate"))
        elif twin is not None and (layer.parameters or twins[path] not in taken):
            records += _compare_layers(path, layer, twin)
    extra = [path for path in ours if path not in twins.values() and path in unpaired.candidate]
    records += [missing(path, "constant", "reference") for path in extra]
    return records + _compare_parameters(reference, candidate, rename, layers)


def _twin(path: str, shared: str, layer: LayerConstants, rename: Rename, candidate: dict[str, Any]) -> str:
    """The candidate's path of a layer, whose path in the form of both sides is given too: where its parameters go.

    That may not be where its output is: a norm with an activation in it has the output of a Sequential of both.
    """
    for name in layer.parameters if path else ():
        owner = rename(_join(path, name)).rpartition(".")[0]
        if owner in candidate:
            return owner
    return rename(shared) if path else path


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


def named_parameters(model: Any) -> dict[str, Any]:
    """All parameters by name, a shared one under each of its names."""
    return {
        _join(path, name): parameter
        for path, layer in all_layers(model)
        for name, parameter in layer._parameters.items()
        if parameter is not None
    }


@contextlib.contextmanager
def in_training(model: Any) -> Iterator[None]:
    modes = [(layer, layer.training) for _, layer in all_layers(model)]
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


def _compare_parameters(reference: Any, candidate: Any, rename: Rename, layers: Layers) -> list[Record]:
    with in_training(reference), in_training(candidate):
        twins = parameter_twins(reference, candidate, rename, layers)
        records = []
        for name, (left, right) in twins.items():
            sides = left.tensor, right.tensor
            records.append(exact(_join(name, "trainable"), "constant", *map(trains, sides)))
            records.append(exact(_join(name, "dtype"), "constant", *map(_dtype, sides)))
    return records + _compare_sharing(twins)


def parameter_twins(
    reference: Any, candidate: Any, rename: Rename = str, layers: Layers = NO_LAYERS
) -> dict[str, tuple[Part, Part]]:
    """The parameters that both sides have, or parts of them, by the reference's names; a part by its shared one."""
    ours = {part.name: part for part in _parameter_parts(candidate, layers)}
    twins = {}
    for part in _parameter_parts(reference, layers):
        for twin in (rename(part.name), rename(part.own)):  # rules may be written for either form
            if twin in ours:
                twins[part.name if part.key else part.own] = part, ours[twin]
                break
    return twins


def _parameter_parts(model: Any, layers: Layers) -> Iterator[Part]:
    return parts(named_parameters(model), rules_of(all_layers(model), layers))


def _unpaired(reference: Any, candidate: Any, rename: Rename, layers: Layers) -> Sides:
    """Paths of the layers of each side with a parameter that the other does not have, not even in other layers."""
    twins = parameter_twins(reference, candidate, rename, layers).values()
    theirs, ours = ({sides[i].name for sides in twins} for i in (0, 1))
    left, right = _parameter_parts(reference, layers), _parameter_parts(candidate, layers)
    return Sides(
        {part.own.rpartition(".")[0] for part in left if part.name not in theirs},
        {part.own.rpartition(".")[0] for part in right if part.name not in ours},
    )


def trains(parameter: Any) -> bool:
    return parameter.requires_grad if is_torch(parameter) else not parameter.stop_gradient


def _dtype(tensor: Any) -> str:
    return str(tensor.dtype).rpartition(".")[2]


def _compare_sharing(twins: dict[str, tuple[Part, Part]]) -> list[Record]:
    """One record for each parameter that has several names on either side."""
    left = _sharers({name: theirs for name, (theirs, _) in twins.items()})
    right = _sharers({name: ours for name, (_, ours) in twins.items()})
    return [
        exact(_join(name, "shared_with"), "constant", left[name], right[name])
        for name in twins
        if left[name] or right[name]
    ]


def _sharers(found: dict[str, Part]) -> dict[str, tuple[str, ...]]:
    """For each name the others whose tensor starts at the same place of memory."""
    groups: dict[tuple, list[str]] = {}
    for name, part in found.items():
        groups.setdefault((part.tensor.data_ptr() or id(part.tensor), part.key), []).append(name)
    return {name: tuple(other for other in group if other != name) for group in groups.values() for name in group}
