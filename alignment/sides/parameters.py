"""What the parameters of a layer are in the form that both sides share: names and layouts of Paddle, fused ones split.

PyTorch's attention keeps queries, keys and values in one matrix, Paddle's in three; its Linear is the transposed of
Paddle's. Each side is taken apart by the rules for its own layers, and what results has the same names on both sides.
Weights, gradients, the optimizer's slots and the audit of constants all go through `parts`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

STATISTICS = {"running_mean": "_mean", "running_var": "_variance"}
COUNTER = "num_batches_tracked"  # PyTorch counts batches for a rule that needs no momentum; Paddle has no such rule


@dataclass(frozen=True)
class Rule:
    r"""What one parameter of a layer becomes.

    Attributes:
        into: Names of its parts, from the layer on, with the groups of the pattern as `\1`; none if another name of
            the layer stands for the same tensor.
        axis: Along which the parts lie one after the other, all of one size, in Paddle's layout.
        transposed: Whether Paddle stores it the other way round.
        matrix: Whether it is a kernel of 1x1x1 that the other side has as a matrix: its axes of one are left out, which
            comes before `transposed`.
    """

    into: tuple[str, ...] = ()
    axis: int = -1
    transposed: bool = False
    matrix: bool = False


# Patterns of names from the layer on, of a parameter or of the path of a layer, -> what it becomes.
Rules = Mapping[str, Rule]
Layers = Mapping[Any, Rules]  # classes of either framework, or (framework, name) of one -> its rules
NO_LAYERS: Layers = MappingProxyType({})
Steps = tuple[tuple[Rule, int], ...]  # rules applied one after the other, and which of the parts was taken

_SCALE: Rules = {"weight": Rule(("scale",))}
# Paddle's cells hold the weights. The layer's own names for them are dropped: with `proj_size` they are the wrong ones.
_CELLS: Rules = {
    r"(weight|bias)_(ih|hh)_l.*": Rule(),
    r"(\d+)\.cell(?:_fw)?\.(weight|bias)_(ih|hh)": Rule((r"\2_\3_l\1",)),
    r"(\d+)\.cell_bw\.(weight|bias)_(ih|hh)": Rule((r"\2_\3_l\1_reverse",)),
    r"(\d+)\.cell(?:_fw)?\.weight_ho": Rule((r"weight_hr_l\1",), transposed=True),
    r"(\d+)\.cell_bw\.weight_ho": Rule((r"weight_hr_l\1_reverse",), transposed=True),
}
LAYERS: Layers = {
    ("torch", "Module"): {COUNTER: Rule(), **{name: Rule((ours,)) for name, ours in STATISTICS.items()}},
    ("torch", "Linear"): {"weight": Rule(("weight",), transposed=True)},
    ("torch", "InstanceNorm1d"): _SCALE,
    ("torch", "InstanceNorm2d"): _SCALE,
    ("torch", "InstanceNorm3d"): _SCALE,
    ("torch", "PReLU"): {"weight": Rule(("_weight",))},
    ("torch", "MultiheadAttention"): {
        "in_proj_(weight|bias)": Rule((r"q_proj.\1", r"k_proj.\1", r"v_proj.\1"), transposed=True),
        "([qkv])_proj_weight": Rule((r"\1_proj.weight",), transposed=True),
    },
    ("torch", "TransformerDecoderLayer"): {r"multihead_attn\b(.*)": Rule((r"cross_attn\1",))},
    ("paddle", "LSTM"): _CELLS,
    ("paddle", "GRU"): _CELLS,
    ("paddle", "SimpleRNN"): _CELLS,
}


class Part(NamedTuple):
    """A whole tensor of a model or a piece of it.

    Attributes:
        name: In the form that both sides share.
        own: The tensor's name in the model.
        tensor: The tensor itself.
        key: What tells the pieces of one tensor apart; empty for a whole one.
        view: Makes of an array in the model's layout a view of the piece in Paddle's.
    """

    name: str
    own: str
    tensor: Any
    key: tuple[tuple[int, int, int], ...]
    view: Callable[[np.ndarray], np.ndarray]


def rules_of(layers_by_path: Iterable[tuple[str, Any]], layers: Layers) -> dict[str, Rules]:
    """The rules of the layers that have any, by path.

    Args:
        layers_by_path: The layers of a model, itself as "".
        layers: The caller's rules, which come before `LAYERS`.
    """
    by_class: dict[type, Rules] = {}
    found = {}
    for path, layer in layers_by_path:
        cls = type(layer)
        if cls not in by_class:
            by_class[cls] = _rules_of_class(cls, layers)
        if by_class[cls]:
            found[path] = by_class[cls]
    return found


def parts(tensors: Mapping[str, Any], rules: Mapping[str, Rules]) -> Iterator[Part]:
    """What tensors of a model, by name, are in the form that both sides share, by the rules of its layers."""
    for own, tensor in tensors.items():
        for name, steps in _split(own, rules):
            key = tuple((rule.axis, len(rule.into), i) for rule, i in steps if len(rule.into) > 1)
            yield Part(name, own, tensor, key, partial(_view, steps))


def shared_path(path: str, rules: Mapping[str, Rules]) -> str:
    """The path of a layer in the form that both sides share; its own where a rule takes the layer apart."""
    found = _split(path, rules)
    return found[0][0] if len(found) == 1 else path


def _rules_of_class(cls: type, layers: Layers) -> Rules:
    """The rules of a class and of those that it inherits from, the nearest first, the caller's before ours."""
    found: dict[str, Rule] = {}
    for table in (layers, LAYERS):
        for parent in cls.__mro__:
            for key in (parent, (parent.__module__.partition(".")[0], parent.__name__)):
                for pattern, rule in table.get(key, {}).items():
                    found.setdefault(pattern, rule)
    return found


def _split(own: str, rules: Mapping[str, Rules]) -> list[tuple[str, Steps]]:
    """Names of the parts of a tensor, each with the rules that led to it.

    The rules of the layer that holds the tensor come first, those of the layers around it apply to what they give.
    """
    found: list[tuple[str, Steps]] = [(own, ())]
    owner = own
    while owner:
        owner = owner.rpartition(".")[0]
        if owner in rules:
            found = [part for name, steps in found for part in _applied(owner, name, steps, rules[owner])]
    return found


def _applied(owner: str, name: str, steps: Steps, rules: Rules) -> list[tuple[str, Steps]]:
    prefix = f"{owner}." if owner else ""
    for pattern, rule in rules.items():
        match = _matched(pattern, name.removeprefix(prefix))
        if match:
            return [(prefix + match.expand(new), (*steps, (rule, i))) for i, new in enumerate(rule.into)]
    return [(name, steps)]


_matched = functools.lru_cache(1 << 14)(re.fullmatch)  # of the few names that tensors have in their layers


def _view(steps: Steps, array: np.ndarray) -> np.ndarray:
    for rule, index in steps:
        array = array[:, :, 0, 0, 0] if rule.matrix else array
        array = array.T if rule.transposed else array
        if len(rule.into) > 1:
            array = np.split(array, len(rule.into), rule.axis)[index]
    return array
