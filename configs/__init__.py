"""Recipes: every number that a run depends on. Standard library only, so that ``--help`` answers at once."""

from configs.options import RecipeError
from configs.presets import PRESETS, get_preset
from configs.recipe import Clip, Pixels, Recipe, Training

__all__ = ["PRESETS", "Clip", "Pixels", "Recipe", "RecipeError", "Training", "get_preset"]
