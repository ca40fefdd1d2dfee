"""R3D of 3D-ResNets-PyTorch.

Source: kenshohara/3D-ResNets-PyTorch, `models/resnet.py`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from torch import nn

from alignment.upstream.source import Names, Settings, Source, called_by, checked_out, of_clips
from configs.networks import family_of


def build(name: str, settings: Settings, path: str) -> nn.Module:
    """Its ResNet of that depth."""
    # Its folder `models` would be found behind ours.
    with checked_out(str(Path(path) / "models"), ("resnet",), {}):
        resnet = importlib.import_module("resnet")
    depth = int(family_of(name).models[name].removeprefix("r"))
    return called_by(resnet.generate_model(depth, n_classes=settings.num_classes), of_clips)


def names(name: str) -> Names:
    """The names are ours but for the parts that hold them."""
    return (r"^(conv1|bn1|layer[1-4])\b", r"backbone.\1"), (r"^fc\b", "cls_head.new_fc")


def options(name: str) -> dict[str, Any]:
    """It has a pooled stem and no dropout."""
    return {"r3d_pooled_stem": True, "dropout": 0.0}


SOURCE = Source(
    ("r3d_r18", "r3d_r34", "r3d_r50"),
    build,
    names,
    options,
    url="https://github.com/kenshohara/3D-ResNets-PyTorch",
    marker="models/resnet2p1d.py",
)
