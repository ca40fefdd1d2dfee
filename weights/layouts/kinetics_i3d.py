"""github.com/google-deepmind/kinetics-i3d: i3d.py, by the names of its TensorFlow variables."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from weights.layout import Kind, Layout
from weights.tables import Table

# Our names of the branches' units -> theirs.
UNITS = {
    "b0": "Branch_0|Conv3d_0a_1x1",
    "b1a": "Branch_1|Conv3d_0a_1x1",
    "b1b": "Branch_1|Conv3d_0b_3x3",
    "b2a": "Branch_2|Conv3d_0a_1x1",
    "b2b": "Branch_2|Conv3d_0b_3x3",
    "b3b": "Branch_3|Conv3d_0b_1x1",
}
# Of what the authors feed their network: 2 * x / 255 - 1, crops of 224.
INPUT = {"norm_eps": 1e-3, "mean": (127.5,) * 3, "std": (127.5,) * 3}
_OTHERS = {r"(?:.*[|/])?Momentum": "a slot of the optimizer", "global_step": "the counter of steps"}


def inception(units: list[tuple[str, str]], kernel: str, norm: Mapping[str, str], classifier: Table) -> Table:
    """The network, of units that are a convolution and a norm without a weight.

    Args:
        units: Our name of a unit, theirs; the first that fits counts.
        kernel: Template of their name of a unit's kernel, with `{0}` for the unit.
        norm: Our last part of a norm's name -> template of theirs.
        classifier: Its rules.
    """
    rules = [(f"backbone.{ours}.conv3d.weight", kernel.format(theirs)) for ours, theirs in units]
    rules += [
        (f"backbone.{ours}.bn.{leaf}", name.format(theirs)) for ours, theirs in units for leaf, name in norm.items()
    ]
    return (*classifier, *rules)


def kernels_to_ours(name: str, array: np.ndarray) -> np.ndarray:
    """[T, H, W, in, out] to [out, in, T, H, W], or to [in, out] for the classifier; norms lose axes of 1."""
    if "Logits" in name:
        return array.reshape(array.shape[-2:]) if array.ndim == 5 else array
    return (
        array.reshape(-1)
        if array.shape[:-1] == (1,) * 4
        else array.transpose(4, 3, 0, 1, 2)
        if array.ndim == 5
        else array
    )


def ones_for_weights(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The norms' weights, which the network has not."""
    biases = {name: array for name, array in arrays.items() if name.endswith(".bn.bias")}
    return {f"{name.removesuffix('bias')}weight": np.ones_like(array) for name, array in biases.items()}


def _spelled(name: str) -> str:
    return re.sub(r"^(?:RGB|Flow)\|inception_i3d\|", "", name.replace("/", "|"))


def written(name: str) -> str:
    """A name with the separator of its authors' files."""
    return name.replace("|", "/")


def _to_theirs(name: str, array: np.ndarray) -> np.ndarray:
    if "Logits" in name:
        return array[None, None, None] if array.ndim == 2 else array
    return array.transpose(2, 3, 4, 1, 0) if array.ndim == 5 else array.reshape(1, 1, 1, 1, -1)


_ODD = ("Mixed_5b.b2b", "Mixed_5b|Branch_2|Conv3d_0a_3x3")  # their name of this one unit
_UNITS = [_ODD, *((f"{{mixed}}.{ours}", f"{{mixed}}|{theirs}") for ours, theirs in UNITS.items()), ("{unit}", "{unit}")]
_NORM = {"bias": "beta", "_mean": "moving_mean", "_variance": "moving_variance"}
_LOGITS = "Logits|Conv3d_0c_1x1|conv_3d|"
LAYOUT = Layout(
    Kind(
        {},
        kernels_to_ours,
        _to_theirs,
        "[T, H, W, in, out] to [out, in, T, H, W]",
        "|moving_mean",
        spelled=_spelled,
        written=written,
    ),
    (
        inception(
            _UNITS,
            "{0}|conv_3d|w",
            {ours: f"{{0}}|batch_norm|{theirs}" for ours, theirs in _NORM.items()},
            (("cls_head.new_fc.weight", f"{_LOGITS}w"), ("cls_head.new_fc.bias", f"{_LOGITS}b")),
        ),
    ),
    prefix="RGB/inception_i3d/",
    left_out=_OTHERS,
    network=INPUT,
    implied=ones_for_weights,
)
