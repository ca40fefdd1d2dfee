"""github.com/PaddlePaddle/PaddleVideo: modeling/backbones/resnet.py, resnet_tsm.py, resnet_slowfast.py."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from weights.layout import PADDLE, Fields, Layout
from weights.layouts import pyslowfast
from weights.quirks import is_shifted, like_a_resnet, slowfast_alpha, slowfast_clip
from weights.tables import Names, Rule, Table, head, layer


def _names(layer: str) -> Names:
    return f"{layer}._conv", f"{layer}._batch_norm"


def _resnet(depths: tuple[int, ...]) -> Table:
    def block(stage: int, index: int) -> Iterable[Rule]:
        many = depths[stage] > 20 and index > 0  # more blocks than letters
        letters = f"b{index}" if many else chr(ord("a") + index)
        ours, theirs = f"backbone.layer{stage + 1}.{index}", f"backbone.res{stage + 2}{letters}"
        for j in range(3):
            yield from layer(f"{ours}.conv{j + 1}", f"{ours}.bn{j + 1}", *_names(f"{theirs}.conv{j}"))
        yield from layer(f"{ours}.downsample.0", f"{ours}.downsample.1", *_names(f"{theirs}.short"))

    blocks = (block(stage, index) for stage, depth in enumerate(depths) for index in range(depth))
    stem = layer("backbone.conv1", "backbone.bn1", *_names("backbone.conv"))
    return head("head.fc"), *stem, *chain.from_iterable(blocks)


def _slowfast() -> Table:
    """PySlowFast's names, with a line before those of stems and lateral connections."""
    theirs = re.compile(r"(?<=\.)(?=(?:conv|bn|conv_f2s)\b)")
    stems = re.compile(r"^s\d(?:\.pathway\d_stem|_fuse)\.")
    return tuple(
        (ours, name if name.startswith("head") else f"backbone.{theirs.sub('_', name) if stems.match(name) else name}")
        for ours, name in pyslowfast.SLOWFAST
    )


def _follows(fields: Fields) -> Fields:
    """The `shift_div` of PaddleVideo: 1 / num_segments of the channels moves each way."""
    return {"shift_div": fields["num_segments"]} if is_shifted(fields) else {}


def _built_in(fields: Fields) -> Fields:
    fixed = {"shift_direction": "paddle", "shift_place": "blockres", "temporal_pool": False}
    return {**fixed, **_follows(fields)} if is_shifted(fields) else {}


def _refuses(fields: Fields) -> str:
    return "shifts in every block of ResNet-101, ours in every second" if fields["model"] == "tsm_r101" else ""


def _protocol_of(origin: str) -> Fields:
    """Its SlowFast is tested as PySlowFast's."""
    return {**pyslowfast.PROTOCOL, **slowfast_clip(origin)} if "slowfast" in Path(origin).name.lower() else {}


LAYOUT = Layout(
    PADDLE,
    (_resnet((3, 4, 6, 3)), _resnet((3, 4, 23, 3)), _slowfast()),
    network={"shift_direction": "paddle", **pyslowfast.LAYOUT.network},
    protocol={"sampling": "mit"},
    protocol_of=_protocol_of,
    network_of=slowfast_alpha,
    hides=True,
    follows=_follows,
    built_in=_built_in,
    refuses=_refuses,
    refuses_file=like_a_resnet,
)
