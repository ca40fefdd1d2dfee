"""github.com/huggingface/pytorch-image-models: timm/models/efficientnet.py; its ResNet has torchvision's names."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from weights.layout import TORCH, Layout
from weights.quirks import IMAGENET, like_a_resnet
from weights.tables import MOBILENET_BLOCKS, PLAIN_RESNET, Rule, Table, head


def _mobilenet() -> Table:
    def block(group: int, index: int, k: int) -> Iterable[Rule]:
        ours, theirs = f"backbone.features.{k}.conv", f"blocks.{group}.{index}"
        convs = ("conv_dw", "conv_pw") if k == 1 else ("conv_pw", "conv_dw", "conv_pwl")
        last = len(convs) - 1
        for j, conv in enumerate(convs):
            yield f"{ours}.{j if j == last else f'{j}.0'}.weight", f"{theirs}.{conv}.weight"
            yield f"{ours}.{j + 1 if j == last else f'{j}.1'}.{{leaf}}", f"{theirs}.bn{j + 1}.{{leaf}}"

    return (
        head("classifier"),
        ("backbone.features.0.0.weight", "conv_stem.weight"),
        ("backbone.features.0.1.{leaf}", "bn1.{leaf}"),
        ("backbone.features.18.0.weight", "conv_head.weight"),
        ("backbone.features.18.1.{leaf}", "bn2.{leaf}"),
        *chain.from_iterable(block(*position) for position in MOBILENET_BLOCKS),
    )


LAYOUT = Layout(TORCH, (_mobilenet(), PLAIN_RESNET), protocol=IMAGENET, refuses_file=like_a_resnet)
