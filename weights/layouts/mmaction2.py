"""github.com/open-mmlab/mmaction2, 0.x and 1.x: models/backbones/resnet.py, resnet_tsm.py, mobilenet_v2_tsm.py."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from weights.layout import TORCH, Layout
from weights.quirks import COUNT, END, START, dense_in_name, like_a_resnet, shifts
from weights.tables import MOBILENET_BLOCKS, Rule, Table, head


def _conv_module(ours_conv: str, ours_norm: str, theirs: str) -> Table:
    """MMCV's ConvModule: `conv` and `bn` in one."""
    return (f"{ours_conv}.weight", f"{theirs}.conv.weight"), (f"{ours_norm}.{{leaf}}", f"{theirs}.bn.{{leaf}}")


_RESNET = (
    head("cls_head.fc_cls"),
    *_conv_module("backbone.conv1", "backbone.bn1", "backbone.conv1"),
    *_conv_module("backbone.{block}.downsample.0", "backbone.{block}.downsample.1", "backbone.{block}.downsample"),
    ("backbone.{block}.conv{k}.{net}weight", "backbone.{block}.conv{k}.conv.{net}weight"),
    ("backbone.{block}.bn{k}.{leaf}", "backbone.{block}.conv{k}.bn.{leaf}"),
)


def _mobilenet(shifted: bool) -> Table:
    def block(group: int, index: int, k: int) -> Iterable[Rule]:
        ours, theirs = f"backbone.features.{k}.conv", f"backbone.layer{group + 1}.{index}.conv"
        if k == 1:
            yield from _conv_module(f"{ours}.0.0", f"{ours}.0.1", f"{theirs}.0")
            yield from _conv_module(f"{ours}.1", f"{ours}.2", f"{theirs}.1")
            return
        net = "net." if shifted and index > 0 else ""  # blocks that keep their input's shape are shifted
        yield f"{ours}.0.0.{net}weight", f"{theirs}.0.{net}conv.weight"  # it wraps the norm too, which changes nothing
        yield f"{ours}.0.1.{{leaf}}", f"{theirs}.0.{net}bn.{{leaf}}"
        yield from _conv_module(f"{ours}.1.0", f"{ours}.1.1", f"{theirs}.1")
        yield from _conv_module(f"{ours}.2", f"{ours}.3", f"{theirs}.2")

    return (
        head("cls_head.fc_cls"),
        *_conv_module("backbone.features.0.0", "backbone.features.0.1", "backbone.conv1"),
        *_conv_module("backbone.features.18.0", "backbone.features.18.1", "backbone.conv2"),
        *chain.from_iterable(block(*position) for position in MOBILENET_BLOCKS),
    )


LAYOUT = Layout(
    TORCH,
    (_mobilenet(shifted=False), _mobilenet(shifted=True), _RESNET),
    wraps=True,
    key="state_dict",
    protocol_in_name=(
        rf"{START}(?P<clip_len>{COUNT})x(?P<frame_interval>{COUNT})x(?P<num_segments>{COUNT}){END}",
    ),
    protocol_of=dense_in_name,
    built_in=shifts("mit"),
    refuses_file=like_a_resnet,
)  # fmt: skip
