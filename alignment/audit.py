"""Reads every hyper-parameter off live models and optimizers of both frameworks and compares them."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from alignment.compare import Record, exact, missing
from alignment.pair import Optimization
from alignment.vocabulary import find_kind, read_constants
from alignment.weights import is_torch

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
    with _training(model):
        return {path: _read_layer(layer, is_torch(model)) for path, layer in _layers(model)}


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
        comparable = reference.known and not _both_idle(reference, candidate) and not _holds(reference, candidate)
        return [exact(_join(path, "class"), "constant", reference.cls, candidate.cls)] if comparable else []
    records = [exact(_join(path, "class"), "constant", reference.kind, reference.kind)] if reference.known else []
    shared = [constant for constant in reference.values if constant in candidate.values]
    return records + [
        exact(_join(path, constant), "constant", reference.values[constant], candidate.values[constant])
        for constant in shared
    ]


def _both_idle(*layers: LayerConstants) -> bool:
    """Whether none of the layers does anything, like Identity and a Dropout of 0."""
    return all(
        layer.kind == "Identity" or layer.values.get("p") == 0 or layer.values.get("length") == 0 for layer in layers
    )


def _holds(*layers: LayerConstants) -> bool:
    """Whether one of them is a container, whose content is compared by itself."""
    return any(layer.kind == "Container" and layer.values["length"] for layer in layers)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _layers(model: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All layers by path, one that is used in two places under both."""
    yield path, model
    children = model._modules if is_torch(model) else model._sub_layers
    for name, child in children.items():
        if child is not None:
            yield from _layers(child, _join(path, name))


def _parameters(model: Any) -> dict[str, Any]:
    """All parameters by name, a shared one under each of its names."""
    return {
        _join(path, name): parameter
        for path, layer in _layers(model)
        for name, parameter in layer._parameters.items()
        if parameter is not None
    }


@contextlib.contextmanager
def _training(model: Any) -> Iterator[None]:
    modes = [(layer, layer.training) for _, layer in _layers(model)]
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
        values = {name: _plain(value) for name, value in read_constants(kind, layer, torch).items()}
        return LayerConstants(kind.name, values, True, parameters, cls)
    name = type(layer).__name__
    return LayerConstants(name, _public_attributes(layer, torch), False, parameters, name)


def _public_attributes(layer: Any, torch: bool) -> dict[str, Any]:
    """Numbers, words and lists of them; the mode of the layer counts only where no layer is inside."""
    has_children = bool(layer._modules if torch else layer._sub_layers)
    return {
        name: _plain(value)
        for name, value in vars(layer).items()
        if not name.startswith("_") and _is_simple(value) and not (name == "training" and has_children)
    }


def _is_simple(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_simple(item) for item in value)
    return value is None or isinstance(value, int | float | str)


def _plain(value: Any) -> Any:
    """A value that compares and prints the same from both frameworks."""
    if isinstance(value, list | tuple):
        return tuple(_plain(item) for item in value)
    if value is None or isinstance(value, bool | int | str):
        return value
    number = float(value)
    return float(f"{number:.{DIGITS}g}") if math.isfinite(number) else number


def _compare_parameters(reference: Any, candidate: Any, rename: Rename) -> list[Record]:
    with _training(reference), _training(candidate):
        theirs, ours = _parameters(reference), _parameters(candidate)
        twins = _parameter_twins(reference, ours, rename)
        records = []
        for name, twin in twins.items():
            left, right = theirs[name], ours[twin]
            records.append(exact(_join(name, "trainable"), "constant", _trains(left), _trains(right)))
            records.append(exact(_join(name, "dtype"), "constant", _dtype(left), _dtype(right)))
    return records + _compare_sharing(theirs, ours, twins)


def _parameter_twins(reference: Any, ours: dict[str, Any], rename: Rename) -> dict[str, str]:
    """Names of the reference's parameters and the candidate's, of those that both have."""
    twins = {}
    for path, layer in _layers(reference):
        kind = find_kind(layer)
        for name in layer._parameters:
            twin = rename(_join(path, name))
            if twin not in ours and kind and name == "weight":
                twin = twin.removesuffix(name) + WEIGHT_NAMES.get(kind[0].name, name)
            if twin in ours and layer._parameters[name] is not None:
                twins[_join(path, name)] = twin
    return twins


def _trains(parameter: Any) -> bool:
    return parameter.requires_grad if is_torch_tensor(parameter) else not parameter.stop_gradient


def is_torch_tensor(tensor: Any) -> bool:
    """Whether a tensor is of PyTorch rather than of Paddle."""
    return type(tensor).__module__.partition(".")[0] == "torch"


def _dtype(tensor: Any) -> str:
    return str(tensor.dtype).rpartition(".")[2]


def _compare_sharing(theirs: dict[str, Any], ours: dict[str, Any], twins: dict[str, str]) -> list[Record]:
    """One record for each parameter that has several names on either side."""
    back = {twin: name for name, twin in twins.items()}
    left = _sharers({name: theirs[name] for name in twins})
    right = _sharers({name: ours[twin] for twin, name in back.items()})
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


# class in lower case -> common name, and constants by their names in PyTorch's groups
TORCH_OPTIMIZERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "sgd": ("SGD", ("momentum", "nesterov", "dampening", "maximize")),
    "adam": ("Adam", ("betas", "eps", "amsgrad", "maximize")),
    "adamw": ("AdamW", ("betas", "eps", "amsgrad", "maximize")),
    "rmsprop": ("RMSprop", ("alpha", "eps", "momentum", "centered", "maximize")),
}
_MOMENTS: dict[str, tuple[str, ...]] = {"betas": ("beta1", "beta2"), "eps": ("epsilon",), "amsgrad": ("amsgrad",)}
_ROOT_MEAN_SQUARE: dict[str, tuple[str, ...]] = {
    "alpha": ("rho",),
    "eps": ("epsilon",),
    "momentum": ("momentum",),
    "centered": ("centered",),
}
# the same, with the names of Paddle's settings
PADDLE_OPTIMIZERS: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": ("momentum",), "nesterov": ("use_nesterov",)}),
    "adam": ("Adam", _MOMENTS),
    "adamw": ("AdamW", _MOMENTS),
    "rmsprop": ("RMSprop", _ROOT_MEAN_SQUARE),
}
# what Paddle's optimizers do not offer
PADDLE_FIXED: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0, "nesterov": False, "dampening": 0, "maximize": False},
    "momentum": {"dampening": 0, "maximize": False},
}
CLIPS = {
    "ClipGradByGlobalNorm": "norm of all gradients",
    "ClipGradByNorm": "norm of each gradient",
    "ClipGradByValue": "value",
}


def optimizer_constants(optimization: Optimization | Any, model: Any, step: int = 0) -> dict[str, dict[str, Any]]:
    """What an optimizer does to each parameter of a model.

    Args:
        optimization: Or a bare optimizer of either framework.
        model: torch.nn.Module or paddle.nn.Layer of the same framework.
        step: Whose learning rate is read, where there is a function of the step.

    Returns:
        Under `optimizer`: `class`, its constants in PyTorch's names, `lr` (the rate of most parameters), `clip` and
        `clip_norm`, and `strangers`, the number of tensors that it holds but the model does not. Under the name of
        each parameter: `optimized`, whether it is held and trains; if so its own `lr` and `weight_decay`, and where
        there is clipping `clipped`.
    """
    optimization = _wrapped(optimization)
    read = _read_torch if is_torch(optimization.optimizer) else _read_paddle
    with _training(model):
        parameters = _parameters(model)
        constants, held = read(optimization, step)
        found = {
            name: {"optimized": True, **held[id(parameter)]}
            if id(parameter) in held and _trains(parameter)
            else {"optimized": False}
            for name, parameter in parameters.items()
        }
    rates = Counter(one["lr"] for one in found.values() if one["optimized"])
    constants["lr"] = rates.most_common(1)[0][0] if rates else None
    constants["strangers"] = len(held.keys() - {id(parameter) for parameter in parameters.values()})
    return {"optimizer": constants, **found}


def compare_optimizers(
    reference: Optimization | Any,
    candidate: Optimization | Any,
    reference_model: Any,
    candidate_model: Any,
    rename: Rename = str,
) -> list[Record]:
    """Compares two optimizers and what they do to each parameter that both models have.

    Returns:
        Records of kind `constant` such as `optimizer.momentum` and `backbone.bn1.weight.weight_decay`; rates are those
        of the first step at which the reference's is not 0. Of optimizers of two kinds only what both have is compared.
    """
    step = _first_step(_wrapped(reference))
    theirs = optimizer_constants(reference, reference_model, step)
    ours = optimizer_constants(candidate, candidate_model, step)
    twins = {"optimizer": "optimizer", **_parameter_twins(reference_model, _parameters(candidate_model), rename)}
    return [
        exact(f"{name}.{constant}", "constant", theirs[name][constant], ours[twin][constant])
        for name, twin in twins.items()
        for constant in theirs[name]
        if constant in ours[twin]
    ]


def _wrapped(optimization: Optimization | Any) -> Optimization:
    return optimization if isinstance(optimization, Optimization) else Optimization(optimization)


def _first_step(optimization: Optimization) -> int:
    """The first step that moves anything: warm-up from 0 would make all rates equal."""
    rate = optimization.rate
    return next((step for step in range(optimization.steps) if rate(step)), 0) if rate else 0


def _read_torch(optimization: Optimization, step: int) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    """Constants of the optimizer, and of each tensor by its id."""
    optimizer = optimization.optimizer
    groups = optimizer.param_groups
    word = type(optimizer).__name__.lower()
    if word == "adam" and groups[0].get("decoupled_weight_decay"):
        word = "adamw"
    name, settings = TORCH_OPTIMIZERS.get(word, (type(optimizer).__name__, ()))
    constants: dict[str, Any] = {"class": name}
    for setting in settings:
        constants[setting] = _agreed([_plain(group.get(setting, False)) for group in groups])
    limit = optimization.clip_norm
    constants["clip"] = CLIPS["ClipGradByGlobalNorm"] if limit else None
    constants["clip_norm"] = _plain(limit) if limit else None
    held: dict[int, dict[str, Any]] = {}
    for group in groups:
        rate = optimization.rate(step) * group.get("factor", 1) if optimization.rate else group["lr"]
        entry = {
            "lr": _plain(float(rate)),
            "weight_decay": _plain(group.get("weight_decay", 0)),
            **({"clipped": True} if limit else {}),
        }
        held |= {id(parameter): entry for parameter in group["params"]}
    return constants, held


def _read_paddle(optimization: Optimization, step: int) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    """Constants of the optimizer, and of each tensor by its id."""
    optimizer = optimization.optimizer
    groups = _paddle_groups(optimizer)
    word = type(optimizer).__name__.lower()
    name, settings = PADDLE_OPTIMIZERS.get(word, (type(optimizer).__name__, {}))
    constants: dict[str, Any] = {"class": name, **PADDLE_FIXED.get(word, {"maximize": False})}
    for constant, names in settings.items():
        values = [tuple(_setting(optimizer, group, name) for name in names) for group in groups]
        constants[constant] = _agreed([_plain(value if len(value) > 1 else value[0]) for value in values])
    clips = [group.get("grad_clip", optimizer._grad_clip) for group in groups]
    constants["clip"] = _agreed([_clip_rule(clip, len(groups)) for clip in clips])
    constants["clip_norm"] = _agreed([_clip_limit(clip) for clip in clips])
    rate = optimization.rate(step) if optimization.rate else optimizer.get_lr()
    held: dict[int, dict[str, Any]] = {}
    for group, clip in zip(groups, clips, strict=True):
        for parameter in group["params"]:
            held[id(parameter)] = {
                "lr": _plain(float(rate) * float(_paddle_factor(optimizer, parameter))),
                "weight_decay": _paddle_decay(optimizer, group, parameter),
                **({"clipped": parameter.need_clip} if clip is not None else {}),
            }
    return constants, held


def _paddle_groups(optimizer: Any) -> list[dict[str, Any]]:
    """The optimizer's groups; a flat list of parameters is one without settings of its own."""
    groups = list(optimizer._param_groups)
    return groups if groups and isinstance(groups[0], dict) else [{"params": groups}]


def _setting(optimizer: Any, group: dict[str, Any], name: str) -> Any:
    """A setting as the update uses it: with groups, the optimizer's attribute is only what the last step left."""
    if name in group:
        return group[name]
    defaults = optimizer._default_dict if len(group) > 1 else {}
    return defaults.get(name, getattr(optimizer, f"_{name}"))


def _agreed(values: list[Any]) -> Any:
    """The value that all groups have, or all values that occur."""
    distinct = list(dict.fromkeys(values))
    return distinct[0] if len(distinct) == 1 else tuple(distinct)


def _clip_rule(clip: Any, num_groups: int) -> str | None:
    if clip is None:
        return None
    name = next((cls.__name__ for cls in type(clip).__mro__ if cls.__name__ in CLIPS), type(clip).__name__)
    # Paddle 3.3.1 takes the norm of each group by itself.
    return "norm of each group" if name == "ClipGradByGlobalNorm" and num_groups > 1 else CLIPS.get(name, name)


def _clip_limit(clip: Any) -> Any:
    if clip is None:
        return None
    return _plain(clip.clip_norm if hasattr(clip, "clip_norm") else (clip.min, clip.max))


def _paddle_factor(optimizer: Any, parameter: Any) -> float:
    """The parameter's part of the learning rate; groups have written theirs into it."""
    ratio = getattr(optimizer, "_lr_ratio", None)
    return parameter.optimize_attr.get("learning_rate", 1.0) * (ratio(parameter) if ratio else 1.0)


def _paddle_decay(optimizer: Any, group: dict[str, Any], parameter: Any) -> Any:
    """The coefficient of the decay; anything but one L2 or decoupled term is described in words."""
    coupled = _describe(parameter.regularizer)
    if type(optimizer).__name__ == "AdamW":
        chosen = optimizer._apply_decay_param_fun
        decoupled = _setting(optimizer, group, "weight_decay") if chosen is None or chosen(parameter.name) else 0.0
        return f"{_plain(decoupled)} decoupled and {coupled} coupled" if coupled else _plain(decoupled)
    if parameter.regularizer is not None:
        return coupled
    if type(optimizer).__name__ == "Momentum":
        method = _setting(optimizer, group, "regularization_method")
        if method == "l2_decay":
            return _plain(_setting(optimizer, group, "regularization_coeff"))
    return _describe(optimizer.regularization)


def _describe(regularizer: Any) -> Any:
    if regularizer is None or not regularizer._coeff:
        return 0
    coefficient = _plain(regularizer._coeff)
    return coefficient if type(regularizer).__name__ == "L2Decay" else f"{type(regularizer).__name__} {coefficient}"
