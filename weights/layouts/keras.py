"""github.com/keras-team/keras: applications/mobilenet_v2.py, and the names of its first weights (2018)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain

import numpy as np

from weights.layout import Kind, Layout
from weights.quirks import IMAGENET
from weights.tables import MOBILENET_BLOCKS, NORM, Rule, Table


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


def _mobilenet(conv: Callable[[int, str], str], norm: Callable[[int, str], str], head: str) -> Table:
    """MobileNetV2, whose names of layers have changed once.

    Args:
        conv, norm: (number of the block from 0, `expand`, `depthwise` or `project`) -> name of the layer.
        head: Name of the classifier.
    """

    def convolution(ours: str, theirs: str) -> Rule:
        return f"{ours}.weight", f"{theirs}|{theirs}|{'depthwise_' * ('depthwise' in theirs)}kernel:0"

    def statistics(ours: str, theirs: str) -> Iterable[Rule]:
        words = ("gamma", "beta", "moving_mean", "moving_variance")
        return ((f"{ours}.{a}", f"{theirs}|{theirs}|{b}:0") for a, b in zip(NORM, words, strict=True))

    def block(k: int) -> Iterable[Rule]:
        ours = f"backbone.features.{k}.conv"
        parts = ("depthwise", "project") if k == 1 else ("expand", "depthwise", "project")
        last = len(parts) - 1
        for j, part in enumerate(parts):
            yield convolution(f"{ours}.{j if j == last else f'{j}.0'}", conv(k - 1, part))
            yield from statistics(f"{ours}.{j + 1 if j == last else f'{j}.1'}", norm(k - 1, part))

    return (
        ("cls_head.new_fc.weight", f"{head}|{head}|kernel:0"),
        ("cls_head.new_fc.bias", f"{head}|{head}|bias:0"),
        convolution("backbone.features.0.0", "Conv1"),
        *statistics("backbone.features.0.1", "bn_Conv1"),
        convolution("backbone.features.18.0", "Conv_1"),
        *statistics("backbone.features.18.1", "Conv_1_bn"),
        *chain.from_iterable(block(k) for _, _, k in MOBILENET_BLOCKS),
    )


def _block_name(k: int) -> str:
    return f"block_{k}" if k else "expanded_conv"


LAYOUT = Layout(
    _KIND,
    (
        _mobilenet(
            lambda k, part: f"mobl{k}_conv_{k}_{part}",
            lambda k, part: f"bn{k}_conv_{k}_bn_{part}",
            "Logits",
        ),
        _mobilenet(
            lambda k, part: f"{_block_name(k)}_{part}",
            lambda k, part: f"{_block_name(k)}_{part}_BN",
            "predictions",
        ),
    ),
    network={"norm_eps": 1e-3, "same_padding": True, "mean": (127.5,) * 3, "std": (127.5,) * 3},
    protocol=IMAGENET,
)
