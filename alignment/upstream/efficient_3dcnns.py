"""C3D with norms of Efficient-3DCNNs.

Source: okankop/Efficient-3DCNNs, `models/c3d.py`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from torch import nn

from alignment.upstream.source import Names, Settings, Source, called_by, checked_out, of_clips


def build(name: str, settings: Settings, path: str) -> nn.Module:
    """Its C3D, with the dropout of the options."""
    # Its folder `models` is no package, so that ours would be found first.
    with checked_out(str(Path(path) / "models"), ("c3d",), {}):
        c3d = importlib.import_module("c3d").C3D
    model = c3d(settings.size, settings.num_frames, settings.num_classes)
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = settings.network.dropout
    return called_by(model, of_clips)


def names(name: str) -> Names:
    """Its convolutions are numbered in groups."""
    first = [(group, 0, f"{group}a") for group in range(1, 6)]
    places = [*first, *((group, 3, f"{group}b") for group in range(3, 6))]
    return (
        *((rf"^group{group}\.{place}\b", f"backbone.conv{ours}") for group, place, ours in places),
        *((rf"^group{group}\.{place + 1}\b", f"backbone.bn{ours}") for group, place, ours in places),
        (r"^fc1\.0\b", "backbone.fc6"),
        (r"^fc1\.2\b", "backbone.dropout"),
        (r"^fc2\.0\b", "backbone.fc7"),
        (r"^fc2\.2\b", "cls_head.dropout"),
        (r"^fc\.0\b", "cls_head.new_fc"),
    )


def options(name: str) -> dict[str, Any]:
    """It has norms."""
    return {"c3d_norm": True}


SOURCE = Source(
    ("c3d",),
    build,
    names,
    options,
    url="https://github.com/okankop/Efficient-3DCNNs",
    marker="models/c3d.py",
)
