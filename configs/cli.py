"""Command-line flags made from the recipe's fields, and the way from parsed flags to a recipe."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Iterable
from typing import Any

from configs.presets import PRESETS, get_preset, preset_for_model
from configs.recipe import FIELDS, Recipe, RecipeError
from runtime import command

VIEWS = {"full": "test", "quick": "val"}  # --views -> mode of the data set
# Each group of flags begins at the field named here and ends before the next group's.
GROUPS = {"model": "model", "frames": "split", "pixels": "short_side", "optimization": "max_epochs"}


def add_recipe_flags(parser: argparse.ArgumentParser, groups: tuple[str, ...] = tuple(GROUPS)) -> None:
    """Adds one flag for each recipe field of the groups; a flag that is not given leaves no attribute behind."""
    parser.add_argument("--preset", choices=sorted(PRESETS), metavar="NAME", help=f"recipe: {', '.join(PRESETS)}")
    for group in groups:
        section = parser.add_argument_group(group)
        for name in _fields_of(group):
            _add_flag(section, name)


def recipe_from_flags(args: argparse.Namespace, base: Recipe | None = None) -> Recipe:
    """The recipe that the flags ask for: base or preset or the model's nearest preset, then each flag that was given.

    Raises:
        RecipeError: A value is out of its range.
    """
    given = given_fields(args)
    if args.preset:
        base = get_preset(args.preset)
    elif base is None:
        base = preset_for_model(given["model"]) if "model" in given else Recipe()
    epochs = given.get("max_epochs", base.max_epochs)
    if "warmup_epochs" not in given and base.schedule == "cosine" and base.warmup_epochs >= epochs:
        # A run that is shorter than the warm-up of its recipe warms up for the same part of it.
        given["warmup_epochs"] = base.warmup_epochs * epochs / base.max_epochs
    recipe = base.with_(**given)
    _require_modules(recipe, given)
    return recipe


# Beginning of a field's name -> the family of models that has what it sets.
MODULES = {"shift_": "tsm", "temporal_pool": "tsm", "mvf_": "mvf"}


def _require_modules(recipe: Recipe, given: Collection[str]) -> None:
    """Raises RecipeError for a flag of a temporal module that the model does not have."""
    for name in given:
        family = next((family for start, family in MODULES.items() if name.startswith(start)), "")
        if family and not recipe.model.startswith(f"{family}_"):
            raise RecipeError(f"--{name} belongs to {family} models, and the model is {recipe.model}: add --model")


def given_fields(args: argparse.Namespace) -> dict[str, Any]:
    """The recipe fields that stood on the command line."""
    return {name: value for name, value in vars(args).items() if name in FIELDS}


def add_device_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what prepares the process: device, threads, and the switch of the processor settings."""
    section = parser.add_argument_group("process")
    section.add_argument("--device", default="auto", help="cpu, gpu, gpu:N, or auto (default)")
    section.add_argument(
        "--threads", type=command.count, default=0, help="threads of one operation; 0: OMP_NUM_THREADS, or all cores"
    )
    section.add_argument(
        "--no_tune", action="store_true", help="leave the allocator and the MKL vector path as they come"
    )


def add_checkpoint_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what every command that uses a checkpoint has: weights, views, process, and the recipe's flags that fit."""
    section = parser.add_argument_group("checkpoint")
    section.add_argument("--pretrained", required=True, help="weights; recipe.json and classes.txt are read beside")
    section.add_argument(
        "--views", choices=tuple(VIEWS), default="full", help="the recipe's test views, or one centre view"
    )
    add_device_flags(parser)
    add_recipe_flags(parser, ("model", "frames", "pixels"))


def add_engine_flags(parser: argparse.ArgumentParser, engines: Iterable[str], precisions: Iterable[str]) -> None:
    """Adds what chooses the engine of a command that computes from a checkpoint.

    Args:
        parser: Of the command.
        engines: Those of deploy, beside which the model itself may compute.
        precisions: In which they compute.
    """
    section = parser.add_argument_group("engine")
    section.add_argument(
        "--engine", choices=("auto", "dygraph", *engines), default="auto",
        help="what computes: the model itself (dygraph), or an engine from its graph; auto (default): Paddle Inference "
        "for many views on CPU, else dygraph",
    )  # fmt: skip
    section.add_argument("--precision", choices=tuple(precisions), default="fp32", help="of the engine (default: fp32)")
    section.add_argument(
        "--views_per_pass", type=command.count, default=0, help="views in one forward pass; 0: 64 frames"
    )


def _fields_of(group: str) -> list[str]:
    starts, names = list(GROUPS.values()), list(FIELDS)
    position = starts.index(GROUPS[group])
    end = names.index(starts[position + 1]) if position + 1 < len(starts) else len(names)
    return names[names.index(starts[position]) : end]


def _add_flag(section: argparse._ArgumentGroup, name: str) -> None:
    field = FIELDS[name]
    common: dict[str, Any] = {"default": argparse.SUPPRESS, "help": field.metadata["help"]}
    if isinstance(field.default, bool):
        section.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, **common)
    else:
        choices = field.metadata["choices"]
        section.add_argument(f"--{name}", type=_parser_of(name), choices=choices, metavar=name.upper(), **common)
        if choices:
            section._group_actions[-1].metavar = "|".join(choices)


def _parser_of(name: str) -> Callable[[str], Any]:
    default = FIELDS[name].default
    if name == "flip_pairs":
        return _pairs
    if isinstance(default, tuple):
        return _numbers(type(default[0]) if default else int)
    return type(default)


def _pairs(text: str) -> tuple[tuple[int, int], ...]:
    pairs = (pair.split("-") for pair in text.split(",") if pair)
    return tuple((int(left), int(right)) for left, right in pairs)


def _numbers(kind: type) -> Callable[[str], tuple[Any, ...]]:
    def numbers(text: str) -> tuple[Any, ...]:
        return tuple(kind(part) for part in text.split(",") if part)

    return numbers
