"""From a checkpoint to a model ready to be used: its recipe, its weights and its class names."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from configs import Recipe, cli
from datasets import read_class_names
from engine.weight_files import CheckpointError
from engine.weights import assign, classes_in, read_named
from models import Recognizer2D, from_recipe


def load_recognizer(args: argparse.Namespace) -> tuple[Recognizer2D, Recipe]:
    """Builds the model that the flags ask for and loads all of their weight file into it, in eval mode.

    Args:
        args: Of a parser with `cli.add_checkpoint_flags`. What they leave open is in `recipe.json` beside the weights.

    Returns:
        The model, and the recipe with the number of classes that the file has.

    Raises:
        CheckpointError: The file does not fit, or has another number of classes than the recipe.
        RecipeError: A flag, or the recipe beside the weights, holds a value that cannot be.
    """
    recipe = cli.recipe_from_flags(args, _recipe_beside(args))
    arrays = read_named(args.pretrained)
    classes = classes_in(arrays, args.pretrained)
    if recipe.num_classes not in (0, classes):
        raise CheckpointError(
            f"{args.pretrained} has {classes} classes, the recipe {recipe.num_classes}: "
            "leave out --num_classes, or take the weights that belong to the recipe"
        )
    recipe = recipe.with_(num_classes=classes)
    model = from_recipe(recipe)
    assign(model, arrays, args.pretrained)
    model.eval()
    return model, recipe


def _recipe_beside(args: argparse.Namespace) -> Recipe | None:
    """The recipe in the folder of the weights; None if there is none, or the flags name a preset or another model."""
    path = Path(args.pretrained).parent / "recipe.json"
    if args.preset or not path.is_file():
        return None
    recipe = Recipe.from_json(path)
    return recipe if cli.given_fields(args).get("model", recipe.model) == recipe.model else None


def class_names_beside(
    weights: str, num_classes: int, of_dataset: Sequence[str] = (), names_file: str | None = None
) -> list[str]:
    """Class names from a named file, else from `classes.txt` beside the weights, else from the data set, else numbers.

    Raises:
        CheckpointError: The names are not as many as the classes, or not those of the data set.
    """
    beside = Path(weights).parent / "classes.txt"
    source = Path(names_file) if names_file else beside
    names = list(read_class_names(str(source))) if names_file or beside.is_file() else list(of_dataset)
    for label, (ours, theirs) in enumerate(zip(names, of_dataset, strict=False)):
        if ours != theirs:
            raise CheckpointError(
                f"class {label} is {ours} in {source} and {theirs} in the data set: take its own weights"
            )
    if not names:
        return [str(label) for label in range(num_classes)]
    if len(names) != num_classes:
        raise CheckpointError(f"{source} names {len(names)} classes where {weights} has {num_classes}")
    return names
