"""Weight files of the world: read without executing anything, translated by name, loaded whole or not at all."""

from weights.choice import read
from weights.files import Arrays, read_file
from weights.layouts import LAYOUTS
from weights.loading import PARTS, Coverage, assign
from weights.pickles import CheckpointError
from weights.translation import Translation, to_layout, translate

__all__ = [
    "LAYOUTS", "PARTS", "Arrays", "CheckpointError", "Coverage", "Translation", "assign", "read", "read_file",
    "to_layout", "translate",
]  # fmt: skip
