"""github.com/facebookresearch/pytorchvideo: models/resnet.py, slowfast.py, x3d.py, head.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from weights.layout import Layout, torch_with_pointwise
from weights.layouts import pyslowfast
from weights.quirks import CLIP_IN_NAME, slowfast_alpha, slowfast_clip
from weights.tables import Names, Table, bottlenecks3d, head, layer

_LETTERS = {"conv1": "a", "conv2": "b", "conv3": "c"}


def _parts(part: str) -> Names:
    letter = _LETTERS.get(part)
    return (f"branch2.conv_{letter}", f"branch2.norm_{letter}") if letter else ("branch1_conv", "branch1_norm")


def _resnet(stages: Callable[[int], int], last: int) -> Table:
    return (
        head(f"blocks.{last}.proj"),
        *layer("backbone.conv1", "backbone.bn1", "blocks.0.conv", "blocks.0.norm"),
        *bottlenecks3d("backbone.", lambda stage: f"blocks.{stages(stage)}.res_blocks.{{j}}.", _parts),
    )


def _pathway(ours: str, number: int) -> Table:
    stem = f"blocks.0.multipathway_blocks.{number}."
    return (
        *layer(f"{ours}conv1", f"{ours}bn1", f"{stem}conv", f"{stem}norm"),
        *bottlenecks3d(ours, lambda stage: f"blocks.{stage}.multipathway_blocks.{number}.res_blocks.{{j}}.", _parts),
    )


_LATERAL, _FUSION = "backbone.lateral.{k}.", "blocks.{k}.multipathway_fusion."
_SLOWFAST = (
    head("blocks.6.proj"),
    *_pathway("backbone.slow_path.", 0),
    *_pathway("backbone.fast_path.", 1),
    *layer(f"{_LATERAL}conv", f"{_LATERAL}bn", f"{_FUSION}conv_fast_to_slow", f"{_FUSION}norm"),
)
_NORM_B = "branch2.norm_b"  # of X3D a Sequential of the norm, and of squeeze and excitation or nothing
_X3D = (
    head("blocks.5.proj"),
    ("backbone.conv1_s.weight", "blocks.0.conv.conv_t.weight"),  # the names are exchanged there
    *layer("backbone.conv1_t", "backbone.bn1", "blocks.0.conv.conv_xy", "blocks.0.norm"),
    *(
        rule
        for stage in range(1, 5)
        for rule in (
            (f"backbone.layer{stage}.{{j}}.bn2.{{leaf}}", f"blocks.{stage}.res_blocks.{{j}}.{_NORM_B}.0.{{leaf}}"),
            *(
                (
                    f"backbone.layer{stage}.{{j}}.se.fc{number}.{{leaf}}",
                    f"blocks.{stage}.res_blocks.{{j}}.{_NORM_B}.1.block.{index}.{{leaf}}",
                )
                for number, index in ((1, 0), (2, 2))
            ),
        )
    ),
    *bottlenecks3d("backbone.", lambda stage: f"blocks.{stage}.res_blocks.{{j}}.", _parts),
    *layer("backbone.conv5", "backbone.bn5", "blocks.5.pool.pre_conv", "blocks.5.pool.pre_norm"),
    ("cls_head.fc1.weight", "blocks.5.pool.post_conv.weight"),
)
_SLOW = _resnet(lambda stage: stage, 5)
_I3D = _resnet(lambda stage: stage + (stage > 1), 6)  # a pooling stands behind the first stage
_TABLES = (_X3D, _SLOWFAST, _SLOW, _I3D)


def _table_of(arrays: Mapping[str, np.ndarray]) -> int | None:
    stem = arrays.get("backbone.conv1.weight")
    return None if stem is None else _TABLES.index(_SLOW if stem.shape[2] == 1 else _I3D)


LAYOUT = Layout(
    torch_with_pointwise(r"blocks\.5\.pool\.post_conv\.weight"),
    _TABLES,
    table_of=_table_of,
    key="model_state",
    network={"i3d_stem_stride": 1, "slow_frames": "linspace", "joined_order": "slow_fast"},
    protocol={**pyslowfast.PROTOCOL, "places": "logits"},
    network_of=slowfast_alpha,
    protocol_in_name=(CLIP_IN_NAME,),
    protocol_of=slowfast_clip,
)
