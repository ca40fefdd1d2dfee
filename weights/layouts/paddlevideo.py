"""github.com/PaddlePaddle/PaddleVideo: modeling/backbones/resnet.py, resnet_tsm.py."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from weights.layout import PADDLE, Fields, Layout
from weights.quirks import is_shifted, like_a_resnet
from weights.tables import Rule, Table, head


def _resnet(depths: tuple[int, ...]) -> Table:
    def name(stage: int, index: int) -> str:
        if depths[stage] > 20:  # more blocks than letters
            return f"res{stage + 2}{f'b{index}' if index else 'a'}"
        return f"res{stage + 2}{chr(ord('a') + index)}"

    def layer(ours_conv: str, ours_norm: str, theirs: str) -> Table:
        return (
            (f"backbone.{ours_conv}.weight", f"backbone.{theirs}._conv.weight"),
            (f"backbone.{ours_norm}.{{leaf}}", f"backbone.{theirs}._batch_norm.{{leaf}}"),
        )

    def block(stage: int, index: int) -> Iterable[Rule]:
        ours, theirs = f"layer{stage + 1}.{index}", name(stage, index)
        for j in range(3):
            yield from layer(f"{ours}.conv{j + 1}", f"{ours}.bn{j + 1}", f"{theirs}.conv{j}")
        yield from layer(f"{ours}.downsample.0", f"{ours}.downsample.1", f"{theirs}.short")

    blocks = (block(stage, index) for stage, depth in enumerate(depths) for index in range(depth))
    return head("head.fc"), *layer("conv1", "bn1", "conv"), *chain.from_iterable(blocks)


def _follows(fields: Fields) -> Fields:
    """The `shift_div` of PaddleVideo: 1 / num_segments of the channels moves each way."""
    return {"shift_div": fields["num_segments"]} if is_shifted(fields) else {}


def _built_in(fields: Fields) -> Fields:
    fixed = {"shift_direction": "paddle", "shift_place": "blockres", "temporal_pool": False}
    return {**fixed, **_follows(fields)} if is_shifted(fields) else {}


def _refuses(fields: Fields) -> str:
    return "shifts in every block of ResNet-101, ours in every second" if fields["model"] == "tsm_r101" else ""


LAYOUT = Layout(
    PADDLE,
    (_resnet((3, 4, 6, 3)), _resnet((3, 4, 23, 3))),
    network={"shift_direction": "paddle"},
    protocol={"sampling": "mit"},
    hides=True,
    follows=_follows,
    built_in=_built_in,
    refuses=_refuses,
    refuses_file=like_a_resnet,
)
