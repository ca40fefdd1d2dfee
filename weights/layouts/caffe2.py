"""github.com/facebookresearch/SlowFast: files of Caffe2 in its model zoo, by the names of its c2_model_loading.py.

A file is a pickle with the arrays under `blobs`.
"""

from __future__ import annotations

import re

import numpy as np

from weights.layout import Kind, Layout
from weights.layouts import pyslowfast
from weights.tables import Names, Table, bottlenecks3d, head, layer

_LETTERS = {"conv1": "2a", "conv2": "2b", "conv3": "2c", "downsample": "1"}
_ENDS = {"weight": "s", "bias": "b", "_mean": "rm", "_variance": "riv"}
_OURS = {theirs: ours for ours, theirs in _ENDS.items()}
_HEAD = head("pred")
_LAST_BLOCKS = ((2, 3, 5), (2, 3, 22))  # of the stages of ResNet-50 and of ResNet-101: lateral connections start there


def _spelled(name: str) -> str:
    """The last part of a name behind a point, and that of a norm in our words."""
    name = re.sub(r"_bn_(s|b|rm|riv)$", lambda match: f"_bn.{_OURS[match[1]]}", name)
    return re.sub(r"_(w|b)$", lambda match: {"w": ".weight", "b": ".bias"}[match[1]], name)


def _written(name: str) -> str:
    stem, _, leaf = name.rpartition(".")
    return f"{stem}_{_ENDS[leaf]}" if stem.endswith("_bn") else f"{stem}_{leaf[0]}"


def _to_ours(name: str, array: np.ndarray) -> np.ndarray:
    """Matrices as ours, kernels with the axes of one that some files leave out."""
    if name in ("pred_w", "lin_5_w"):
        return array.reshape(array.shape[:2]).T
    return array.reshape(*array.shape, *[1] * (5 - array.ndim)) if name.endswith("_w") else array


def _to_theirs(name: str, array: np.ndarray) -> np.ndarray:
    return array.T if name in ("pred_w", "lin_5_w") else array


def _parts(part: str) -> Names:
    return f"branch{_LETTERS[part]}", f"branch{_LETTERS[part]}_bn"


def _pathway(ours: str, start: str = "") -> Table:
    return (
        *layer(f"{ours}conv1", f"{ours}bn1", f"{start}conv1", f"{start}res_conv1_bn"),
        *bottlenecks3d(ours, lambda stage: f"{start}res{stage + 1}_{{j}}_", _parts),
    )


def _slowfast(last: tuple[int, ...]) -> Table:
    starts = ("t_pool1", *(f"t_res{stage}_{block}_branch2c_bn" for stage, block in enumerate(last, 2)))
    lateral = [
        rule
        for k, start in enumerate(starts)
        for rule in layer(
            f"backbone.lateral.{k}.conv", f"backbone.lateral.{k}.bn", f"{start}_subsample", f"{start}_subsample_bn"
        )
    ]
    return (_HEAD, *lateral, *_pathway("backbone.slow_path."), *_pathway("backbone.fast_path.", "t_"))


_X3D = (
    _HEAD,
    ("backbone.conv1_s.weight", "conv1_xy.weight"),
    *layer("backbone.conv1_t", "backbone.bn1", "conv1", "res_conv1_bn"),
    *(
        (f"backbone.layer{stage}.{{j}}.se.fc{{k}}.{{leaf}}", f"res{stage + 1}_{{j}}_branch2b_bn_fc{{k}}.{{leaf}}")
        for stage in range(1, 5)
    ),
    *bottlenecks3d("backbone.", lambda stage: f"res{stage + 1}_{{j}}_", _parts),
    *layer("backbone.conv5", "backbone.bn5", "conv_5", "conv_5_bn"),
    ("cls_head.fc1.weight", "lin_5.weight"),
)

LAYOUT = Layout(
    Kind(
        {},
        _to_ours,
        _to_theirs,
        "[out, in] to [in, out]",
        "_bn._mean",
        spelled=_spelled,
        written=_written,
    ),
    ((_HEAD, *_pathway("backbone.")), *(_slowfast(last) for last in _LAST_BLOCKS), _X3D),
    key="blobs",
    left_out={r".+_momentum": "a slot of the optimizer", "lr|model_iter": "a state of the training"},
    network=pyslowfast.LAYOUT.network,
    protocol=pyslowfast.LAYOUT.protocol,
    network_of=pyslowfast.LAYOUT.network_of,
    protocol_in_name=pyslowfast.LAYOUT.protocol_in_name,
    protocol_of=pyslowfast.LAYOUT.protocol_of,
)
