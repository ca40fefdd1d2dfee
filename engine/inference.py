"""From a weight file to a model ready to be used: its recipe, its weights and its class names."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from configs import Recipe, cli
from configs.presets import PRESETS, preset_for_model
from datasets import KNOWN_LABELS, known_class_names, plain_name, read_class_names
from models import Recognizer2D, from_recipe
from weights import LAYOUTS, CheckpointError, Coverage, Translation, assign, read

# Recipe fields that decide what numbers weights turn pixels into: those of any network, and those of its modules.
PIXELS = ("norm_eps", "same_padding", "mean", "std")
NETWORK = (
    "shift_div", "shift_place", "shift_direction", "temporal_pool", "mvf_mode", "mvf_alpha", "mvf_share", "mvf_use_hs",
    "mvf_stages",
)  # fmt: skip


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
    if "cls_head.new_fc.bias" in coverage.loaded:
        recipe = recipe.with_(num_classes=found.num_classes)
    if found.layout != "ours" or coverage.unmarked:
        print(f"note: {args.pretrained}: {coverage}; {_assumed(recipe)}", file=sys.stderr)
    model.eval()
    return Loaded(model, recipe, coverage)


def _assumed(recipe: Recipe) -> str:
    """What a file of another repository is taken for, of which it may say little: flags change it."""
    shift = f", shift_div {recipe.shift_div}, shift_direction {recipe.shift_direction}"
    return (
        f"taken as {recipe.model} of {recipe.test_num_segments} x {recipe.clip_len} frames, interval "
        f"{recipe.frame_interval}, sampling {recipe.sampling}{shift if recipe.model.startswith('tsm') else ''}, "
        f"{recipe.test_clips} x {recipe.test_crops} views of {recipe.test_size}"
    )


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


def class_names_beside(
    weights: str, num_classes: int, of_dataset: Sequence[str] = (), names: str | None = None
) -> list[str]:
    """As `names_of_weights`, and numbers where no names are known."""
    return names_of_weights(weights, num_classes, of_dataset, names) or [str(i) for i in range(num_classes)]


def names_of_weights(
    weights: str, num_classes: int, of_dataset: Sequence[str] = (), names: str | None = None
) -> list[str]:
    """Class names of weights; empty if none are known.

    Args:
        weights: Their file.
        num_classes: Classes that they tell apart.
        of_dataset: Names of the data set that they are tested on.
        names: A file of names, or one of `datasets.KNOWN_LABELS`.

    Returns:
        The names that `names` says, else those of `classes.txt` beside the weights, else of the data set that the name
        of the file speaks of, else of the data set that they are tested on.

    Raises:
        CheckpointError: The names are not as many as the classes, or not those of the data set.
    """
    source, found = _names_by(weights, num_classes, names)
    for label, (ours, theirs) in enumerate(zip(found, of_dataset, strict=False)):
        if plain_name(ours) != plain_name(theirs):
            raise CheckpointError(
                f"class {label} is {ours} in {source} and {theirs} in the data set: take its own weights, or list its "
                "videos in the order of these"
            )
    found = found or list(of_dataset)
    if found and len(found) != num_classes:
        raise CheckpointError(f"{source} names {len(found)} classes where {weights} has {num_classes}")
    return found


def _names_by(weights: str, num_classes: int, names: str | None) -> tuple[str, list[str]]:
    """Where the names come from, and the names."""
    beside = Path(weights).parent / "classes.txt"
    if names in KNOWN_LABELS:
        return f"the list {names}", list(known_class_names(names))
    if names:
        return names, list(read_class_names(names))
    labels = _dataset_of(weights)
    known = list(known_class_names(labels)) if labels in KNOWN_LABELS else []
    known = known if len(known) == num_classes else []
    if beside.is_file():
        found = list(read_class_names(str(beside)))
        if known and list(map(plain_name, found)) != list(map(plain_name, known)):
            raise CheckpointError(
                f"{beside} has other names than {labels}, of which the name of {weights} speaks: which?"
            )
        return str(beside), found
    return f"the list {labels}, of which the file name speaks", known


# What file names call a data set -> its label list. Jester's labels have two orders, so that it has no one list here.
_DATASETS = {
    r"kinetics[-_]?(400)?(?!\d)|k400": "kinetics400",
    r"ucf[-_]?101": "ucf101",
    r"hmdb[-_]?51": "hmdb51",
    r"(sth|something)([-_]?something)?[-_]?v2": "something_v2",
    r"(sth|something)([-_]?something)?[-_]?v1|tsm_something_rgb": "something_v1",
    r"jester": "jester",
}
# label list -> beginning of the names of its presets, where that is another
_PRESET_OF = {"something_v1": "sthv1", "something_v2": "sthv2"}


def _dataset_of(weights: str) -> str:
    """Label list of the data set that the name of a file speaks of; empty if it speaks of none."""
    name = Path(weights).name.lower()
    return next((labels for pattern, labels in _DATASETS.items() if re.search(pattern, name)), "")


def _recipe_of(args: argparse.Namespace, found: Translation) -> Recipe:
    """The recipe beside weights of ours if the flags let it stand, else what the file itself tells."""
    given = cli.given_fields(args)
    beside = recipe_beside(args.pretrained) if found.layout == "ours" else None
    if beside and not args.preset and given.get("model", beside.model) == beside.model:
        return cli.recipe_from_flags(args, beside)
    recipe = cli.recipe_from_flags(args, None if args.preset or "model" in given else _recipe_for(found))
    return adopt_network(recipe.with_(**_open_ones(found.protocol, given)), found, given)[0]


def recipe_beside(weights: str) -> Recipe | None:
    """The recipe in the folder of weights of ours, if there is one."""
    path = Path(weights).parent / "recipe.json"
    return Recipe.from_json(path) if path.is_file() else None


def _recipe_for(found: Translation) -> Recipe:
    """The recipe of the model that the tensors show: PaddleMVF's for its own model, else the nearest preset.

    Raises:
        CheckpointError: They show none of ours, or leave open which.
    """
    if not found.model:
        names = " or ".join(found.models)
        what = f"it may be {names}" if names else "its image network is none of ours"
        raise CheckpointError(f"{found.origin} ({found.layout}) does not say which model it is, {what}: add --model")
    if found.model == Recipe().model and found.layout == "ours":
        return Recipe()
    labels = _dataset_of(found.origin)
    preset = PRESETS.get(f"{_PRESET_OF.get(labels, labels)}_{found.model.partition('_')[0]}_r50")
    return preset().with_(model=found.model, num_classes=0, flip_pairs=()) if preset else preset_for_model(found.model)


def _network_of(found: Translation, recipe: Recipe) -> dict[str, Any]:
    """Fields of the network that belongs to the weights, as far as they concern the recipe's model.

    Raises:
        CheckpointError: The tensors leave the network open and the recipe does not say it, or it is none of ours.
    """
    fields = dict(LAYOUTS[found.layout].network)
    beside = recipe_beside(found.origin) if found.layout == "ours" else None
    if beside:
        names = PIXELS + (NETWORK if beside.model == recipe.model else ())
        fields |= {name: getattr(beside, name) for name in names}
    if found.model == recipe.model:
        fields |= found.options
        if found.one_kernel and not beside and recipe.mvf_mode != "T" and not recipe.mvf_share:
            raise CheckpointError(
                f"the tensors of {found.origin} fit --mvf_mode T and --mvf_share alike: add one of them"
            )
    if LAYOUTS[found.layout].segments_divide and recipe.model.startswith("tsm"):
        if recipe.model == "tsm_r101":
            raise CheckpointError(
                f"{found.origin}: {found.layout} shifts in every block of ResNet-101, ours in every second, as the "
                "authors do: these weights would give other scores"
            )
        fields.setdefault("shift_div", recipe.num_segments)
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
