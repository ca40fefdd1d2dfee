"""github.com/xuduo35/unet_mxnet2ncnn: the portrait UNet of MXNet, by the names of its training's symbol.

MXNet's BatchNorm has an epsilon of 1e-3 and, unless it is told otherwise, a weight of 1, whatever the file says. The
pixels are B, G, R from 0 to 1.
"""

from __future__ import annotations

import re

import numpy as np

from weights.layout import Kind, Layout
from weights.tables import Table, head

_ENDS = {"weight": "gamma", "bias": "beta", "_mean": "moving_mean", "_variance": "moving_var"}  # of a norm
_OURS = {theirs: ours for ours, theirs in _ENDS.items()}
_FIRST = "conv1_1_weight"


def _spelled(name: str) -> str:
    """Without what MXNet puts before it, and the last part, in our words, behind a point."""
    name = re.sub(r"^(?:arg|aux):", "", name)
    name = re.sub(rf"_({'|'.join(_OURS)})$", lambda match: f".{_OURS[match[1]]}", name)
    return re.sub(r"_(weight|bias)$", r".\1", name)


def _written(name: str) -> str:
    stem, _, leaf = name.rpartition(".")
    end = _ENDS[leaf] if stem.startswith("bn") else leaf
    return f"{'aux' if end.startswith('moving') else 'arg'}:{stem}_{end}"


def _to_ours(name: str, array: np.ndarray) -> np.ndarray:
    if name.endswith("_gamma"):
        return np.ones_like(array)
    return array[:, ::-1] if name.endswith(_FIRST) else array


def _to_theirs(name: str, array: np.ndarray) -> np.ndarray:
    return array[:, ::-1] if name.endswith(_FIRST) else array


def _levels() -> Table:
    """Levels 1 to 5 going down, and 6 to 10 coming up again."""
    rules: list[tuple[str, str]] = []
    for number in range(1, 11):
        level = number if number <= 5 else 11 - number
        ours = f"backbone.enc{level}" if number <= 5 else f"backbone.decoder.dec{level}"
        rules += [(f"{ours}.{part}{{j}}.{{leaf}}", f"{part}{number}_{{j}}.{{leaf}}") for part in ("conv", "bn")]
        if number > 5:
            rules.append((f"backbone.decoder.up{level}.conv.weight", f"trans_conv{number}.weight"))
    return tuple(rules)


LAYOUT = Layout(
    Kind(
        {},
        _to_ours,
        _to_theirs,
        "channels B, G, R to R, G, B; a norm's weight to 1",
        "._variance",
        spelled=_spelled,
        written=_written,
    ),
    ((head("conv11_1"), *_levels()),),
    network={"norm_eps": 1e-3, "mean": (0.0,) * 3, "std": (255.0,) * 3},
    protocol={"padding": "zero"},
)
