"""github.com/keras-team/keras: applications/mobilenet_v2.py, and the names of its first weights (2018)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from weights.layout import Kind, Layout
from weights.quirks import IMAGENET
from weights.tables import NORM, Names, Table, mobilenet


def _axes(name: str) -> tuple[int, ...]:
    return (2, 3, 0, 1) if "depthwise" in name else (3, 2, 0, 1)  # H, W, C, 1 and H, W, I, O


def _to_ours(name: str, array: np.ndarray) -> np.ndarray:
    return array.transpose(_axes(name)) if array.ndim == 4 else array


def _to_theirs(name: str, array: np.ndarray) -> np.ndarray:
    return array.transpose(np.argsort(_axes(name))) if array.ndim == 4 else array


def _spelled(name: str) -> str:
    return name.replace("/", "|")  # paths in HDF5 files, and what replaces them where a name may hold no slash


# Its words stand in the table, where a convolution's `weight` and a norm's can be told apart.
_KIND = Kind({}, _to_ours, _to_theirs, "[H, W, in, out] to [out, in, H, W]", "|moving_mean:0", spelled=_spelled)


def _rules(ours_conv: str, ours_norm: str, conv: str, norm: str) -> Table:
    words = zip(NORM, ("gamma", "beta", "moving_mean", "moving_variance"), strict=True)
    kernel = (f"{ours_conv}.weight", f"{conv}|{conv}|{'depthwise_' * ('depthwise' in conv)}kernel:0")
    return kernel, *((f"{ours_norm}.{ours}", f"{norm}|{norm}|{theirs}:0") for ours, theirs in words)


def _mobilenet(head: str, layer: Callable[[int, str], Names]) -> Table:
    """MobileNetV2, whose names of layers have changed once.

    Args:
        head: Name of the classifier.
        layer: (number of the block from 0, `expand`, `depthwise` or `project`) -> names of the layers.
    """

    def block(group: int, index: int, k: int) -> list[Names]:
        return [layer(k - 1, part) for part in ("expand", "depthwise", "project")[k == 1 :]]

    return (
        ("cls_head.new_fc.weight", f"{head}|{head}|kernel:0"),
        ("cls_head.new_fc.bias", f"{head}|{head}|bias:0"),
        *mobilenet(("Conv1", "bn_Conv1"), ("Conv_1", "Conv_1_bn"), block, _rules),
    )


def _layer_of_2018(k: int, part: str) -> Names:
    return f"mobl{k}_conv_{k}_{part}", f"bn{k}_conv_{k}_bn_{part}"


def _layer(k: int, part: str) -> Names:
    name = f"block_{k}_{part}" if k else f"expanded_conv_{part}"
    return name, f"{name}_BN"


LAYOUT = Layout(
    _KIND,
    (_mobilenet("Logits", _layer_of_2018), _mobilenet("predictions", _layer)),
    network={"norm_eps": 1e-3, "same_padding": True, "mean": (127.5,) * 3, "std": (127.5,) * 3},
    protocol=IMAGENET,
)
