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


def rewrite(layer: nn.Layer, forward: Rewrite) -> None:
    """Gives a live layer another forward, called with the layer, its former forward and the inputs.

    It is the layer's class that is exchanged, for one of the same name: a function in the layer itself would keep its
    hold of this very layer when the model is copied.
    """
    cls = type(layer)

    def replaced(self: nn.Layer, *inputs: Any) -> Any:
        return forward(self, partial(cls.forward, self), *inputs)

    _exchange_class(layer, {"forward": replaced})


def override(layer: nn.Layer, **methods: Callable) -> None:
    """Gives a live layer other methods, so that copies of it have them too."""
    _exchange_class(layer, methods)


def _exchange_class(layer: nn.Layer, members: dict[str, Any]) -> None:
    cls = type(layer)
    object.__setattr__(layer, "__class__", type(cls.__name__, (cls,), members))


def layers_of(model: nn.Layer, kind: type[nn.Layer] | tuple[type[nn.Layer], ...]) -> list[nn.Layer]:
    """All sublayers of a kind, in the order of construction."""
    return [layer for layer in model.sublayers() if isinstance(layer, kind)]


def setting(path: str, **attributes: Any) -> Callable[[Pair], None]:
    """A mutation that sets attributes of one layer."""

    def apply(pair: Pair) -> None:
        for name, value in attributes.items():
            setattr(find_layer(pair.candidate, path), name, value)

    return apply


def setting_all(kind: type[nn.Layer] | tuple[type[nn.Layer], ...], **attributes: Any) -> Callable[[Pair], None]:
    """A mutation that sets attributes of all layers of a kind."""

    def apply(pair: Pair) -> None:
        for layer in layers_of(pair.candidate, kind):
            for name, value in attributes.items():
                setattr(layer, name, value)

    return apply


def rewriting(path: str, forward: Rewrite) -> Callable[[Pair], None]:
    """A mutation that rewrites the forward of one layer."""
    return lambda pair: rewrite(find_layer(pair.candidate, path), forward)


def rewriting_all(kind: type[nn.Layer] | tuple[type[nn.Layer], ...], forward: Rewrite) -> Callable[[Pair], None]:
    """A mutation that rewrites the forward of all layers of a kind."""

    def apply(pair: Pair) -> None:
        for layer in layers_of(pair.candidate, kind):
            rewrite(layer, forward)

    return apply
