"""C3D with norms, ShuffleNetV2 and MobileNetV2 of Efficient-3DCNNs.

Source: okankop/Efficient-3DCNNs, `models/c3d.py`, `models/shufflenetv2.py` and `models/mobilenetv2.py`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from torch import nn

from alignment.upstream.source import FLAT_MOBILENET, Names, Settings, Source, called_by, checked_out, of_clips
from configs.networks import family_of

# family -> file and class
NETWORKS = {
    "c3d": ("c3d", "C3D"),
    "shufflenet3d": ("shufflenetv2", "ShuffleNetV2"),
    "mobilenet3d": ("mobilenetv2", "MobileNetV2"),
}
MODELS = ("c3d", *family_of("shufflenet3d_x1_0").models, *family_of("mobilenet3d_x1_0").models)


def build(name: str, settings: Settings, path: str) -> nn.Module:
    """Its network, with the dropout of the options."""
    family = family_of(name)
    file, kind = NETWORKS[family.name]
    # Its folder `models` is no package, so that ours would be found first.
    with checked_out(str(Path(path) / "models"), (file,), {}):
        network = getattr(importlib.import_module(file), kind)
    if family.name == "c3d":
        model = network(settings.size, settings.num_frames, settings.num_classes)
    else:
        width = float(family.models[name].removeprefix("x").replace("_", "."))
        model = network(settings.num_classes, settings.size, width)
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = settings.network.dropout
    return called_by(model, of_clips)


def names(name: str) -> Names:
    """By the family."""
    return {"c3d": _C3D, "shufflenet3d": _SHUFFLENET, "mobilenet3d": _MOBILENET}[family_of(name).name]


def _groups() -> Names:
    """The convolutions of C3D are numbered in groups."""
    first = [(group, 0, f"{group}a") for group in range(1, 6)]
    places = [*first, *((group, 3, f"{group}b") for group in range(3, 6))]
    return (
        *((rf"^group{group}\.{place}\b", f"backbone.conv{ours}") for group, place, ours in places),
        *((rf"^group{group}\.{place + 1}\b", f"backbone.bn{ours}") for group, place, ours in places),
    )


def _units() -> Names:
    """Those of ShuffleNetV2 in units, which are counted through all stages."""
    places = (("1", 0, "conv1"), ("1", 1, "bn1"), ("1", 2, "conv2"), ("1", 3, "bn2"), ("2", 0, "conv1"),
              ("2", 1, "bn1"), ("2", 3, "conv2"), ("2", 4, "bn2"), ("2", 5, "conv3"), ("2", 6, "bn3"))  # fmt: skip
    units = [(stage, index, first + index) for stage, first, depth in ((2, 0, 4), (3, 4, 8), (4, 12, 4))
             for index in range(depth)]  # fmt: skip
    return tuple(
        (rf"^features\.{unit}\.banch{branch}\.{place}\b", f"backbone.stage{stage}.{index}.branch{branch}.{ours}")
        for stage, index, unit in units
        for branch, place, ours in places
    )


_HEAD: Names = ((r"^classifier\.0\b", "cls_head.dropout"), (r"^classifier\.1\b", "cls_head.new_fc"))
_C3D = (
    *_groups(),
    (r"^fc1\.0\b", "backbone.fc6"),
    (r"^fc1\.2\b", "backbone.dropout"),
    (r"^fc2\.0\b", "backbone.fc7"),
    (r"^fc2\.2\b", "cls_head.dropout"),
    (r"^fc\.0\b", "cls_head.new_fc"),
)
_SHUFFLENET = (
    *((rf"^{theirs}\.0\b", f"backbone.conv{ours}") for theirs, ours in (("conv1", 1), ("conv_last", 5))),
    *((rf"^{theirs}\.1\b", f"backbone.bn{ours}") for theirs, ours in (("conv1", 1), ("conv_last", 5))),
    *_units(),
    *_HEAD,
)
_MOBILENET = (*FLAT_MOBILENET, (r"^features\b", "backbone.features"), *_HEAD)


def options(name: str) -> dict[str, Any]:
    """Its C3D has norms."""
    return {"c3d_norm": True} if name == "c3d" else {}


SOURCE = Source(
    MODELS,
    build,
    names,
    options,
    url="https://github.com/okankop/Efficient-3DCNNs",
    marker="models/shufflenetv2.py",
    same_initialization=tuple(family_of("mobilenet3d_x1_0").models),
)
