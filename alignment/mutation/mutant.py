"""What a mutant is, and how one changes a live Paddle model so that copies of the model are changed too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from paddle import nn

from alignment.sides.pair import Pair
from models.temporal_module import find_layer

# (the layer, its own forward, the inputs) -> output
Rewrite = Callable[..., Any]
Target = str | type[nn.Layer]  # the path of one layer, or the kind of all that are meant


@dataclass(frozen=True)
class Mutant:
    """One realistic mistake of a port.

    Attributes:
        name: A few words.
        description: How somebody comes to make it and what it does.
        pair: A key of PAIRS, whose candidate it changes; `pipeline` for the data.
        expect: The report blames the right place if its first divergence names one of these.
        apply: Injects it into the candidate's side of a Pair, in place. The weights are the reference's already and are
            not carried over again (`carry` of the pair is off). Of the pair `pipeline` it is given a Pipeline and
            returns another.
    """

    name: str
    description: str
    pair: str
    expect: tuple[str, ...]
    apply: Callable[[Any], Any]


def override(layer: nn.Layer, **methods: Callable) -> None:
    """Gives a live layer other methods, so that copies of it have them too.

    It is the layer's class that is exchanged, for one of the same name: a function in the layer itself would keep its
    hold of this very layer when the model is copied.
    """
    cls = type(layer)
    object.__setattr__(layer, "__class__", type(cls.__name__, (cls,), methods))


def rewrite(layer: nn.Layer, forward: Rewrite) -> None:
    """Overrides a live layer's forward by one that is called with the layer, its former forward and the inputs."""
    former = type(layer).forward
    override(layer, forward=lambda self, *inputs: forward(self, partial(former, self), *inputs))


def layers_of(model: nn.Layer, target: Target) -> list[Any]:
    """The layer at a path, or all sublayers of a kind in the order of construction."""
    if isinstance(target, str):
        return [find_layer(model, target)]
    return [layer for layer in model.sublayers(include_self=True) if isinstance(layer, target)]


def changing(target: Target, change: Callable[[Any], None]) -> Callable[[Pair], None]:
    """A mutation by a change to the candidate's layers of a target."""

    def apply(pair: Pair) -> None:
        for layer in layers_of(pair.candidate, target):
            change(layer)

    return apply


def setting(target: Target, **attributes: Any) -> Callable[[Pair], None]:
    """A mutation that sets attributes."""

    def change(layer: nn.Layer) -> None:
        for name, value in attributes.items():
            setattr(layer, name, value)

    return changing(target, change)


def rewriting(target: Target, forward: Rewrite) -> Callable[[Pair], None]:
    """A mutation that rewrites a forward."""
    return changing(target, lambda layer: rewrite(layer, forward))
