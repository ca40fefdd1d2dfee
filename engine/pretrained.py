"""From a weight file to a model ready to be used: its recipe and its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from paddle import nn

from configs import PRESETS, Recipe
from configs.cli import Asked
from configs.networks import family_of
from configs.presets import preset_for_model
from configs.recipe import known_options
from models import Recognition, from_recipe, recognize
from runtime.command import say
from runtime.errors import UserError
from tasks.class_names import dataset_in_name
from weights import LAYOUTS, CheckpointError, Coverage, Translation, assign, read

# label list -> beginning of the names of its presets, where that is another
PRESET_OF = {"something_v1": "sthv1", "something_v2": "sthv2"}


class Loaded(NamedTuple):
    """A model with weights in eval mode, the recipe it was built by, and what became of the file's tensors."""

    model: nn.Layer
    recipe: Recipe
    coverage: Coverage


def load_pretrained(
    weights: str, asked: Asked | None = None, source: str = "auto", partial: Collection[str] = (), which: str = "auto"
) -> Loaded:
    """Builds the model that weights belong to and loads them, from a file of any known layout.

    Args:
        weights: The file.
        asked: What is asked of the recipe. What it leaves open is in `recipe.json` beside the weights, or, for a file
            of another repository, in its tensors, its layout and its name.
        source: See `weights.translate`.
        partial: See `weights.assign`; without it all of the file is loaded.
        which: See `weights.read`.

    Raises:
        CheckpointError: The file does not fit, or has another number of classes than the recipe.
        RecipeError: What is asked, or the recipe beside the weights, holds a value that cannot be.
    """
    asked = asked or Asked()
    found = read_pretrained(weights, source, which)
    if "model" in asked.options:
        partial = (*partial, "marks")  # who names the model answers for its temporal modules
    recipe = _recipe_of(found, asked)
    if "head" not in partial:
        recipe = recipe.with_(num_classes=_classes_of(found, recipe))
    model = from_recipe(recipe, recipe.network.num_classes or found.num_classes or 1)
    coverage = assign(model, found, partial)
    if found.classifier in coverage.loaded:
        recipe = recipe.with_(num_classes=found.num_classes)
    if not LAYOUTS[found.layout].has_recipe or coverage.unmarked or found.taken:
        say(f"note: {weights}: {coverage}; {_assumed(recipe, found)}", error=True)
    model.eval()
    return Loaded(model, recipe, coverage)


def read_pretrained(weights: str, source: str = "auto", which: str = "auto") -> Translation:
    """Reads a weight file of any known layout and says which models it looks like, see `weights.read`."""
    found = read(weights, source, which)
    return dataclasses.replace(found, models=tuple(_recognized(found)))


def _assumed(recipe: Recipe, found: Translation) -> str:
    """What a file of another repository is taken for, of which it may say little: flags change it."""
    network, clip, pixels = recipe.network, recipe.clip, recipe.pixels
    shown = {name for recognition in _recognized(found).values() for name in recognition.options}
    values = recipe.options()
    assumed = "".join(f", {name} {values[name]}" for name in network.own_options() if name not in shown)
    return (
        f"taken as {network.model} of {clip.test_num_segments} x {clip.frames_per_segment} frames, interval "
        f"{clip.frame_interval}, sampling {clip.sampling}{assumed}, "
        f"{clip.test_clips} x {pixels.test_crops} views of {pixels.test_size}"
    )


def adopt_network(recipe: Recipe, found: Translation, given: Collection[str]) -> tuple[Recipe, str]:
    """The recipe under which weights are the network that they were, for a run that starts from them.

    Args:
        recipe: Of the run.
        found: Its starting weights.
        given: Options that the user has set, which are kept.

    Returns:
        The recipe, and what has changed in words; empty if nothing has.
    """
    options, values = _open_ones(_network_of(found, recipe), given), recipe.options()
    changed = {name: value for name, value in options.items() if values[name] != value}
    return recipe.with_(**changed), ", ".join(f"{name} {value}" for name, value in changed.items())


def _recipe_of(found: Translation, asked: Asked) -> Recipe:
    """The recipe beside weights of ours if what is asked lets it stand, else what the file itself tells."""
    beside = recipe_beside(found.origin) if LAYOUTS[found.layout].has_recipe else None
    if beside and not asked.preset and asked.options.get("model", beside.network.model) == beside.network.model:
        return asked.recipe(beside)
    recipe = asked.recipe(None if asked.preset or "model" in asked.options else _recipe_for(found))
    return adopt_network(recipe.with_(**_open_ones(found.protocol, asked.options)), found, asked.options)[0]


def recipe_beside(weights: str) -> Recipe | None:
    """The recipe in the folder of weights of ours, if there is one."""
    path = Path(weights).parent / "recipe.json"
    return Recipe.from_json(path) if path.is_file() else None


def _recognized(found: Translation) -> dict[str, Recognition]:
    """The models that weights may belong to, by name."""
    try:
        return recognize(found.arrays, modules_hidden=LAYOUTS[found.layout].hides)
    except UserError as error:
        raise CheckpointError(f"{found.origin}: {error}") from error


def recognition_as(found: Translation, model: str) -> Recognition | None:
    """What the tensors show of a model; None if they may be of one that they show something else of."""
    recognized = _recognized(found)
    return recognized[model] if model in recognized and len({id(one) for one in recognized.values()}) == 1 else None


def _recipe_for(found: Translation) -> Recipe:
    """The recipe of the model that the tensors show: PaddleMVF's for its own model, else the nearest preset.

    Raises:
        CheckpointError: They show none of ours, or leave open which.
    """
    models = list(_recognized(found))
    if len(models) != 1:
        what = f"it may be {' or '.join(models)}" if models else "its network is none of ours"
        raise CheckpointError(f"{found.origin} ({found.layout}) does not say which model it is, {what}: add --model")
    (model,) = models
    if model == Recipe().network.model and LAYOUTS[found.layout].has_recipe:
        return Recipe()
    labels = dataset_in_name(found.origin)
    preset = PRESETS.get(f"{PRESET_OF.get(labels, labels)}_{family_of(model).name}_r50")
    return preset().with_(model=model, num_classes=0, flip_pairs=()) if preset else preset_for_model(model)


def _network_of(found: Translation, recipe: Recipe) -> dict[str, Any]:
    """Options of the network that belongs to the weights, as far as they concern the recipe's model.

    Raises:
        CheckpointError: The tensors leave the network open and the recipe does not say it, or it is none of ours.
    """
    layout, network = LAYOUTS[found.layout], recipe.network
    options = {**layout.network}
    beside = recipe_beside(found.origin) if layout.has_recipe else None
    if beside:
        names = [name for name, option in known_options().items() if option.metadata["of_weights"]]
        if beside.network.model == network.model:
            names += network.own_options()
        values = beside.options()
        options |= {name: values[name] for name in names if name in values}
    recognition = recognition_as(found, network.model)
    if recognition:
        options |= found.options_of(recognition.options)
        values = {**recipe.options(), **options}
        answered = any(values[name] in answers for name, answers in recognition.answers.items())
        if recognition.open_question and not beside and not answered:
            raise CheckpointError(f"the tensors of {found.origin} {recognition.open_question}")
    if network.model in _recognized(found):
        if why := layout.refuses(recipe.options()):
            raise CheckpointError(f"{found.origin}: {found.layout} {why}: these weights would give other scores")
        for name, value in layout.follows(recipe.options()).items():
            options.setdefault(name, value)
    return {name: value for name, value in options.items() if network.family.may_have(name)}


def _open_ones(options: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in given}


def _classes_of(found: Translation, recipe: Recipe) -> int:
    if not found.num_classes:
        raise CheckpointError(f"{found.origin} holds no classifier: train from it, or convert it with --partial head")
    if recipe.network.num_classes not in (0, found.num_classes):
        raise CheckpointError(
            f"{found.origin} has {found.num_classes} classes, the recipe {recipe.network.num_classes}: "
            "leave out --num_classes, or take the weights that belong to the recipe"
        )
    return found.num_classes
