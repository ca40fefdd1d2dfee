"""From a weight file to a model ready to be used: its recipe, its weights and its class names."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from configs import Recipe, cli
from configs.presets import preset_for_model
from datasets import known_class_names, read_class_names
from models import Recognizer2D, from_recipe
from weights import LAYOUTS, CheckpointError, Coverage, Translation, assign, read


class Loaded(NamedTuple):
    """A model with weights in eval mode, the recipe it was built by, and what became of the file's tensors."""

    model: Recognizer2D
    recipe: Recipe
    coverage: Coverage


def load_recognizer(args: argparse.Namespace, source: str = "auto", partial: Collection[str] = ()) -> Loaded:
    """Builds the model that the flags ask for and loads a weight file of any known layout into it.

    Args:
        args: Of a parser with `cli.add_checkpoint_flags`. What they leave open is in `recipe.json` beside the weights,
            or, for a file of another repository, in its tensors, its layout and its name.
        source, partial: See `weights.translate` and `weights.assign`; without partial all of the file is loaded.

    Raises:
        CheckpointError: The file does not fit, or has another number of classes than the recipe.
        RecipeError: A flag, or the recipe beside the weights, holds a value that cannot be.
    """
    found = read(args.pretrained, source)
    if "model" in cli.given_fields(args):
        partial = (*partial, "marks")  # who names the model answers for its temporal modules
    recipe = _recipe_of(args, found)
    if "head" not in partial:
        recipe = recipe.with_(num_classes=_classes_of(found, recipe))
    model = from_recipe(recipe, recipe.num_classes or found.num_classes or 1)
    coverage = assign(model, found, partial)
    if coverage.unmarked:
        print(f"note: {args.pretrained}: {coverage}", file=sys.stderr)
    model.eval()
    return Loaded(model, recipe, coverage)


def adopt_network(recipe: Recipe, found: Translation, given: Collection[str]) -> tuple[Recipe, str]:
    """The recipe under which weights are the network that they were, for a run that starts from them.

    Args:
        recipe: Of the run.
        found: Its starting weights.
        given: Fields that the user has set, which are kept.

    Returns:
        The recipe, and what has changed in words; empty if nothing has.
    """
    fields = _open_ones(_network_of(found, recipe), given)
    changed = {name: value for name, value in fields.items() if getattr(recipe, name) != value}
    return recipe.with_(**changed), ", ".join(f"{name} {value}" for name, value in changed.items())


def class_names_beside(weights: str, num_classes: int, *args: Any, **options: Any) -> list[str]:
    """As `names_of_weights`, and numbers where no names are known."""
    return names_of_weights(weights, num_classes, *args, **options) or [str(label) for label in range(num_classes)]


def names_of_weights(
    weights: str, num_classes: int, of_dataset: Sequence[str] = (), names_file: str | None = None
) -> list[str]:
    """Class names from a named file, else from `classes.txt` beside the weights, else from the data set, else from the
    label list of the data set that the name of the weight file speaks of; empty if there are none.

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
    if names and len(names) != num_classes:
        raise CheckpointError(f"{source} names {len(names)} classes where {weights} has {num_classes}")
    return names or _names_by_file(Path(weights).name.lower(), num_classes)


# What file names call a data set -> its label list. Jester is not among them: its labels have two orders.
_DATASETS = {
    r"kinetics(400)?(?!\d)|k400": "kinetics400",
    r"ucf-?101": "ucf101",
    r"hmdb-?51": "hmdb51",
    r"(sth|something)(-something)?-?v2": "something_v2",
    r"(sth|something)(-something)?-?(v1)?(?!-?v2)": "something_v1",
}


def _names_by_file(file_name: str, num_classes: int) -> list[str]:
    for pattern, labels in _DATASETS.items():
        if re.search(pattern, file_name) and len(names := known_class_names(labels)) == num_classes:
            return list(names)
    return []


def _recipe_of(args: argparse.Namespace, found: Translation) -> Recipe:
    """The recipe beside the weights if there is one and the flags let it stand, else what the file itself tells."""
    given = cli.given_fields(args)
    beside = _recipe_beside(args)
    if beside:
        return cli.recipe_from_flags(args, beside)
    recipe = cli.recipe_from_flags(args, None if args.preset or "model" in given else _recipe_for(found))
    return adopt_network(recipe.with_(**_open_ones(found.protocol, given)), found, given)[0]


def _recipe_beside(args: argparse.Namespace) -> Recipe | None:
    """The recipe in the folder of the weights; None if there is none, or the flags name a preset or another model."""
    path = Path(args.pretrained).parent / "recipe.json"
    if args.preset or not path.is_file():
        return None
    recipe = Recipe.from_json(path)
    return recipe if cli.given_fields(args).get("model", recipe.model) == recipe.model else None


def _recipe_for(found: Translation) -> Recipe:
    """The recipe of the model that the tensors show: PaddleMVF's for its own model, else the nearest preset.

    Raises:
        CheckpointError: They show none of ours, or leave open which.
    """
    if not found.model:
        names = " or ".join(found.models)
        what = f"it may be {names}" if names else "its image network is none of ours"
        raise CheckpointError(f"{found.origin} ({found.layout}) does not say which model it is, {what}: add --model")
    return Recipe() if found.model == Recipe().model and found.layout == "ours" else preset_for_model(found.model)


def _network_of(found: Translation, recipe: Recipe) -> dict[str, Any]:
    """Fields of the network that belongs to the weights, as far as they concern the recipe's model.

    Raises:
        CheckpointError: The tensors leave the network open and the recipe does not say it, or it is none of ours.
    """
    fields = dict(LAYOUTS[found.layout].network)
    if found.model == recipe.model:
        fields |= found.options
        if found.one_kernel and recipe.mvf_mode != "T" and not recipe.mvf_share:
            raise CheckpointError(
                f"the tensors of {found.origin} fit --mvf_mode T and --mvf_share alike: add one of them"
            )
    if LAYOUTS[found.layout].segments_divide and recipe.model.startswith("tsm"):
        if recipe.model == "tsm_r101":
            raise CheckpointError(
                f"{found.origin}: {found.layout} shifts in every block of ResNet-101, ours in every second, as the "
                "authors do: these weights would give other scores"
            )
        fields["shift_div"] = recipe.num_segments
    return fields


def _open_ones(fields: dict[str, Any], given: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in given}


def _classes_of(found: Translation, recipe: Recipe) -> int:
    if not found.num_classes:
        raise CheckpointError(f"{found.origin} holds no classifier: train from it, or convert it with --partial head")
    if recipe.num_classes not in (0, found.num_classes):
        raise CheckpointError(
            f"{found.origin} has {found.num_classes} classes, the recipe {recipe.num_classes}: "
            "leave out --num_classes, or take the weights that belong to the recipe"
        )
    return found.num_classes
