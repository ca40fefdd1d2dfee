"""Recipes: every number that a run depends on. Standard library only, so that ``--help`` answers at once."""

from configs.presets import PRESETS, get_preset
from configs.recipe import Recipe, RecipeError
from runtime.errors import UserError

__all__ = ["PRESETS", "Recipe", "RecipeError", "UserError", "get_preset"]
