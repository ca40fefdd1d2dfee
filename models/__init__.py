"""Networks that map clips [N, T, 3, H, W] to logits [N, K].

A new family is its file here, with an IMPLEMENTATION, and its entry in `configs.networks.FAMILIES`.
"""

from models.backbones import BACKBONES
from models.families import compute_as_published, create_model, from_recipe, recognize
from models.implementation import Recognition
from models.recognizer import freeze_batch_norm
from models.recognizer2d import Recognizer2D

__all__ = [
    "BACKBONES",
    "Recognition",
    "Recognizer2D",
    "compute_as_published",
    "create_model",
    "freeze_batch_norm",
    "from_recipe",
    "recognize",
]
