"""github.com/huggingface/pytorch-image-models: timm/models/efficientnet.py; its ResNet has torchvision's names."""

from __future__ import annotations

from weights.layout import TORCH, Layout
from weights.quirks import IMAGENET, like_a_resnet
from weights.tables import PLAIN_RESNET, Names, head, mobilenet


def _block(group: int, index: int, k: int) -> list[Names]:
    stem, convs = f"blocks.{group}.{index}", ("dw", "pw") if k == 1 else ("pw", "dw", "pwl")
    return [(f"{stem}.conv_{conv}", f"{stem}.bn{j}") for j, conv in enumerate(convs, 1)]


_MOBILENET = (head("classifier"), *mobilenet(("conv_stem", "bn1"), ("conv_head", "bn2"), _block))

LAYOUT = Layout(TORCH, (_MOBILENET, PLAIN_RESNET), protocol=IMAGENET, refuses_file=like_a_resnet)
