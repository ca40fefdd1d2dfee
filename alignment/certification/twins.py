"""Builds the PyTorch twin of a network of ours; PyTorch alone is imported."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from alignment.sides.pair import IncomparableError
from configs.networks import Network, network_of
from configs.options import fields_of


def create_twin(network: Network | str, *, num_classes: int, num_frames: int, **options: Any) -> nn.Module:
    """The PyTorch twin that `models.create_model` has for these arguments, with random weights.

    Raises:
        RecipeError: The name is unknown, or an option is out of its range.
        IncomparableError: The family has no twin.
    """
    if isinstance(network, str):
        network = network_of(network, **options)
    module = f"alignment.reference.{network.family.module.rpartition('.')[2]}"
    try:
        build = importlib.import_module(module).build
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise IncomparableError(f"{network.model} has no PyTorch twin: there is no {module}") from error
    own = fields_of(type(network)).items()
    values = {flag: getattr(network, f.name) for flag, f in own if flag not in ("model", "num_classes")}
    twin: nn.Module = build(network.variant, num_classes, num_frames, **values)
    return twin
