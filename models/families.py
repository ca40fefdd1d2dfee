"""The families of networks: each is built and recognized by the file that its entry in `configs.networks` names."""

from __future__ import annotations

import importlib
from typing import Any

from paddle import nn

from configs.networks import FAMILIES, Family, Network, network_of
from configs.recipe import Recipe
from models.implementation import Arrays, Implementation, Recognition
from runtime.errors import UserError


def implementation(family: Family) -> Implementation:
    """The functions of a family."""
    found: Implementation = importlib.import_module(family.module).IMPLEMENTATION
    return found


def create_model(network: Network | str, *, num_classes: int, num_frames: int, **options: Any) -> nn.Layer:
    """Builds a network with random weights.

    Args:
        network: Options of the network, or the name of a model, such as `tsm_r50`.
        num_classes: Classes K.
        num_frames: Frames T of a view. Networks that can take any other number read T from their input.
        options: With a name: the options that differ from their defaults, by the names of their flags.

    Returns:
        A layer that maps clips float32 [N, T, 3, H, W] to logits [N, K].

    Raises:
        RecipeError: The name is unknown, or an option is out of its range.
        UserError: There is no class or no frame.
    """
    if isinstance(network, str):
        network = network_of(network, **options)
    if num_classes < 1:
        raise UserError(f"num_classes must be at least 1, got {num_classes}")
    if num_frames < 1:
        raise UserError(f"num_frames must be at least 1, got {num_frames}")
    network.check_frames(num_frames)
    return implementation(network.family).build(network, num_classes, num_frames)


def from_recipe(recipe: Recipe, num_classes: int | None = None) -> nn.Layer:
    """Builds the network of a recipe.

    Args:
        recipe: Read for its network and its number of frames.
        num_classes: Classes of the dataset, for a recipe that leaves them open with 0.

    Raises:
        UserError: Neither names the classes.
    """
    classes = num_classes or recipe.network.num_classes
    if not classes:
        raise UserError("num_classes is 0 in the recipe; set it there or pass the dataset's number to from_recipe")
    return create_model(recipe.network, num_classes=classes, num_frames=recipe.clip.num_frames)


def recognize(arrays: Arrays, modules_hidden: bool = False) -> dict[str, Recognition]:
    """The models that tensors may belong to, by name.

    Args:
        arrays: By our names.
        modules_hidden: Whether the names do not show temporal modules that may be there.
    """
    found: dict[str, Recognition] = {}
    for family in FAMILIES.values():
        recognition = implementation(family).recognize(arrays, modules_hidden)
        if recognition:
            found |= {family.model(variant): recognition for variant in (recognition.variant, *recognition.alike)}
    return found


def compute_as_published(model: nn.Layer) -> None:
    """Makes a model compute by the layers of its paper where it takes a faster way; the numbers differ by rounding.

    Layers that can do both have an attribute `as_published`.
    """
    for layer in model.sublayers():
        if hasattr(layer, "as_published"):
            layer.as_published = True
