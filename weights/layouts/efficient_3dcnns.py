"""github.com/okankop/Efficient-3DCNNs: models/c3d.py."""

from __future__ import annotations

from weights.layout import TORCH, Layout
from weights.tables import head, layer

_GROUPS = {"1": "a", "2": "a", "3": "ab", "4": "ab", "5": "ab"}  # a group -> its convolutions


def _convolution(group: str, index: int, letter: str) -> tuple[tuple[str, str], ...]:
    name, first = f"{group}{letter}", 3 * index  # convolution, norm, ReLU
    conv, norm = layer(
        f"backbone.conv{name}", f"backbone.bn{name}", f"group{group}.{first}", f"group{group}.{first + 1}"
    )
    return conv, (f"backbone.conv{name}.bias", f"group{group}.{first}.bias"), norm


LAYOUT = Layout(
    TORCH,
    (
        (
            head("fc.0"),
            *(
                rule
                for group, letters in _GROUPS.items()
                for index, letter in enumerate(letters)
                for rule in _convolution(group, index, letter)
            ),
            ("backbone.fc6.{leaf}", "fc1.0.{leaf}"),
            ("backbone.fc7.{leaf}", "fc2.0.{leaf}"),
        ),
    ),
    prefix="module.",
    key="state_dict",
)
