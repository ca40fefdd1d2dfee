"""Reads every hyper-parameter off live optimizers of both frameworks and compares them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from alignment.audit.layers import Rename, in_training, named_parameters, parameter_twins, plain_value, trains
from alignment.sides.pair import Optimization
from alignment.sides.parameters import NO_LAYERS, Layers
from alignment.sides.state import is_torch
from alignment.verdicts.record import Record, exact

# class in lower case -> common name, and constants by their names in PyTorch's groups
TORCH_OPTIMIZERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "sgd": ("SGD", ("momentum", "nesterov", "dampening", "maximize")),
    "adam": ("Adam", ("betas", "eps", "amsgrad", "maximize")),
    "adamw": ("AdamW", ("betas", "eps", "amsgrad", "maximize")),
    "rmsprop": ("RMSprop", ("alpha", "eps", "momentum", "centered", "maximize")),
}
_MOMENTS: dict[str, tuple[str, ...]] = {"betas": ("beta1", "beta2"), "eps": ("epsilon",), "amsgrad": ("amsgrad",)}
# the same, with the names of Paddle's settings
PADDLE_OPTIMIZERS: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": ("momentum",), "nesterov": ("use_nesterov",)}),
    "adam": ("Adam", _MOMENTS),
    "adamw": ("AdamW", _MOMENTS),
    "rmsprop": (
        "RMSprop",
        {"alpha": ("rho",), "eps": ("epsilon",), "momentum": ("momentum",), "centered": ("centered",)},
    ),
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
    with in_training(model):
        parameters = named_parameters(model)
        constants, held = read(optimization, step)
        found = {
            name: {"optimized": True, **held[id(parameter)]}
            if id(parameter) in held and trains(parameter)
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
    layers: Layers = NO_LAYERS,
) -> list[Record]:
    """Compares two optimizers and what they do to each parameter that both models have.

    Returns:
        Records of kind `constant` such as `optimizer.momentum` and `backbone.bn1.weight.weight_decay`; rates are those
        of the first step at which the reference's is not 0. Of optimizers of two kinds only what both have is compared.
    """
    step = _first_step(_wrapped(reference))
    theirs = optimizer_constants(reference, reference_model, step)
    ours = optimizer_constants(candidate, candidate_model, step)
    parameters = parameter_twins(reference_model, candidate_model, rename, layers)
    twins = {name: (theirs[left.own], ours[right.own]) for name, (left, right) in parameters.items()}
    return [
        exact(f"{name}.{constant}", "constant", value, right[constant])
        for name, (left, right) in {"optimizer": (theirs["optimizer"], ours["optimizer"]), **twins}.items()
        for constant, value in left.items()
        if constant in right
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
        constants[setting] = _agreed([plain_value(group.get(setting, False)) for group in groups])
    limit = optimization.clip_norm
    constants["clip"] = CLIPS["ClipGradByGlobalNorm"] if limit else None
    constants["clip_norm"] = plain_value(limit) if limit else None
    held: dict[int, dict[str, Any]] = {}
    for group in groups:
        rate = optimization.rate(step) * group.get("factor", 1) if optimization.rate else group["lr"]
        entry = {
            "lr": plain_value(float(rate)),
            "weight_decay": plain_value(group.get("weight_decay", 0)),
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
        constants[constant] = _agreed([plain_value(value if len(value) > 1 else value[0]) for value in values])
    clips = [group.get("grad_clip", optimizer._grad_clip) for group in groups]
    constants["clip"] = _agreed([_clip_rule(clip, len(groups)) for clip in clips])
    constants["clip_norm"] = _agreed([_clip_limit(clip) for clip in clips])
    rate = optimization.rate(step) if optimization.rate else optimizer.get_lr()
    held: dict[int, dict[str, Any]] = {}
    for group, clip in zip(groups, clips, strict=True):
        for parameter in group["params"]:
            held[id(parameter)] = {
                "lr": plain_value(float(rate) * float(_paddle_factor(optimizer, parameter))),
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
    return plain_value(clip.clip_norm if hasattr(clip, "clip_norm") else (clip.min, clip.max))


def _paddle_factor(optimizer: Any, parameter: Any) -> float:
    """The parameter's factor of the learning rate; groups have written theirs into it."""
    ratio = getattr(optimizer, "_lr_ratio", None)
    return parameter.optimize_attr.get("learning_rate", 1.0) * (ratio(parameter) if ratio else 1.0)


def _paddle_decay(optimizer: Any, group: dict[str, Any], parameter: Any) -> Any:
    """The coefficient of the decay; anything but one L2 or decoupled term is described in words."""
    coupled = _describe(parameter.regularizer)
    if type(optimizer).__name__ == "AdamW":
        chosen = optimizer._apply_decay_param_fun
        decoupled = _setting(optimizer, group, "weight_decay") if chosen is None or chosen(parameter.name) else 0.0
        return f"{plain_value(decoupled)} decoupled and {coupled} coupled" if coupled else plain_value(decoupled)
    if parameter.regularizer is not None:
        return coupled
    is_momentum = type(optimizer).__name__ == "Momentum"
    if is_momentum and _setting(optimizer, group, "regularization_method") == "l2_decay":
        return plain_value(_setting(optimizer, group, "regularization_coeff"))
    return _describe(optimizer.regularization)


def _describe(regularizer: Any) -> Any:
    if regularizer is None or not regularizer._coeff:
        return 0
    coefficient = plain_value(regularizer._coeff)
    return coefficient if type(regularizer).__name__ == "L2Decay" else f"{type(regularizer).__name__} {coefficient}"
