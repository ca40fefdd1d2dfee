"""Recipes: every number that a run depends on. Standard library only, so that ``--help`` answers at once."""

from configs.errors import UserError
from configs.presets import PRESETS, get_preset
from configs.recipe import Recipe, RecipeError

__all__ = ["PRESETS", "Recipe", "RecipeError", "UserError", "get_preset"]
