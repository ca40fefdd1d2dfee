"""github.com/pytorch/vision: torchvision/models/resnet.py, mobilenetv2.py, video/resnet.py."""

from collections.abc import Mapping

import numpy as np

from weights.layout import TORCH, Layout
from weights.quirks import IMAGENET, like_a_resnet
from weights.tables import PLAIN_RESNET, head, layer

_BLOCKS3D = (
    ("backbone.{block}.bn{k}.{leaf}", "{block}.conv{k}.1.{leaf}"),
    ("backbone.{block}.downsample.{k}.{leaf}", "{block}.downsample.{k}.{leaf}"),
)
_VIDEO = (
    head("fc"),
    *layer("backbone.conv1", "backbone.bn1", "stem.0", "stem.1"),
    ("backbone.{block}.conv{k}.weight", "{block}.conv{k}.0.weight"),
    *_BLOCKS3D,
)
_R2PLUS1D = (
    head("fc"),
    *layer("backbone.conv1.conv_s", "backbone.conv1.bn_s", "stem.0", "stem.1"),
    *layer("backbone.conv1.conv_t", "backbone.bn1", "stem.3", "stem.4"),
    *layer(
        "backbone.{block}.conv{k}.conv_s", "backbone.{block}.conv{k}.bn_s", "{block}.conv{k}.0.0", "{block}.conv{k}.0.1"
    ),
    ("backbone.{block}.conv{k}.conv_t.weight", "{block}.conv{k}.0.3.weight"),
    *_BLOCKS3D,
)

_TABLES = (PLAIN_RESNET, (head("classifier.1"), ("backbone.{nested}", "{nested}")), _VIDEO, _R2PLUS1D)


def _table_of(arrays: Mapping[str, np.ndarray]) -> int | None:
    stem = arrays.get("backbone.conv1.weight")
    return None if stem is None else _TABLES.index(PLAIN_RESNET if stem.ndim == 4 else _VIDEO)


LAYOUT = Layout(
    TORCH,
    _TABLES,
    table_of=_table_of,
    protocol=IMAGENET,
    refuses_file=like_a_resnet,
)
