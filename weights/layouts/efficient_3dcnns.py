"""github.com/okankop/Efficient-3DCNNs: models/c3d.py, shufflenetv2.py and mobilenetv2.py."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from weights.layout import TORCH, Fields, Layout
from weights.tables import flat_mobilenet, head, layer

_GROUPS = {"1": "a", "2": "a", "3": "ab", "4": "ab", "5": "ab"}  # a group -> its convolutions
_UNITS = {2: range(4), 3: range(4, 12), 4: range(12, 16)}  # a stage -> the numbers of its units
# Of a unit: our branch and convolution, the place of theirs, which the norm follows.
_PLACES = (("1", 1, 0), ("1", 2, 2), ("2", 1, 0), ("2", 2, 3), ("2", 3, 5))


def _convolution(group: str, index: int, letter: str) -> tuple[tuple[str, str], ...]:
    name, first = f"{group}{letter}", 3 * index  # convolution, norm, ReLU
    conv, norm = layer(
        f"backbone.conv{name}", f"backbone.bn{name}", f"group{group}.{first}", f"group{group}.{first + 1}"
    )
    return conv, (f"backbone.conv{name}.bias", f"group{group}.{first}.bias"), norm


_C3D = (
    head("fc.0"),
    *(
        rule
        for group, letters in _GROUPS.items()
        for index, letter in enumerate(letters)
        for rule in _convolution(group, index, letter)
    ),
    ("backbone.fc6.{leaf}", "fc1.0.{leaf}"),
    ("backbone.fc7.{leaf}", "fc2.0.{leaf}"),
)
_SHUFFLENET = (
    head("classifier.1"),
    *layer("backbone.conv1", "backbone.bn1", "conv1.0", "conv1.1"),
    *layer("backbone.conv5", "backbone.bn5", "conv_last.0", "conv_last.1"),
    *(
        rule
        for stage, units in _UNITS.items()
        for index, unit in enumerate(units)
        for branch, number, place in _PLACES
        for rule in layer(
            f"backbone.stage{stage}.{index}.branch{branch}.conv{number}",
            f"backbone.stage{stage}.{index}.branch{branch}.bn{number}",
            f"features.{unit}.banch{branch}.{place}",  # their spelling
            f"features.{unit}.banch{branch}.{place + 1}",
        )
    ),
)
_MOBILENET = (head("classifier.1"), *flat_mobilenet(""))

# How their code tests all its networks, on pixels from 0 to 255.
PROTOCOL: dict[str, Any] = {
    "sampling": "efficient3d", "num_segments": 1, "clip_len": 16, "frame_interval": 1, "test_clips": 1,
    "short_side": 112, "crop_size": 112, "test_size": 112, "test_crops": "center",
    "mean": (114.7748, 107.7354, 99.475), "std": (1.0, 1.0, 1.0),
}  # fmt: skip


def _protocol_of(path: str) -> Fields:
    """Every second frame of Jester, whose name its files begin with."""
    return {"frame_interval": 2} if PurePath(path).name.startswith("jester") else {}


LAYOUT = Layout(
    TORCH,
    (_C3D, _SHUFFLENET, _MOBILENET),
    prefix="module.",
    key="state_dict",
    axes=5,
    protocol=PROTOCOL,
    protocol_of=_protocol_of,
)
