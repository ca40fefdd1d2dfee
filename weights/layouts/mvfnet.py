"""MVFNet: github.com/whwu95/MVFNet, codes/models; its MobileNetV2 ends in a layer of its own."""

from __future__ import annotations

from collections.abc import Collection

from weights.layout import TORCH, Fields, Layout
from weights.quirks import COUNT, END, START, like_a_resnet, shifts
from weights.tables import flat_mobilenet, head

NEW_CLS = {r"cls_head\.new_cls\.\w+": "MVFNet's copy of new_fc for fully convolutional tests"}


def unused_norm(name: str, model: Collection[str]) -> str:
    """Why a tensor is not loaded: MVFNet makes a norm for every fusion, and uses it with hard-swish only."""
    layer, bn, _ = name.rpartition(".bn.")
    is_dead = bn and f"{layer}.shift_conv.weight" in model
    return "MVFNet's norm, which it does not use without hard-swish" if is_dead else ""


def _options(shown: Fields) -> Fields:
    """The options that the tensors show, without hard-swish where there is a norm, which may be unused."""
    return {name: value for name, value in shown.items() if name != "mvf_use_hs" or not value}


LAYOUT = Layout(
    TORCH,
    (
        (head("cls_head.new_fc"), *flat_mobilenet("backbone.", last="conv", first="{first}")),
        (head("cls_head.new_fc"), ("backbone.{fused}", "backbone.{fused}")),
    ),
    wraps=True,
    key="state_dict",
    left_out=NEW_CLS,
    protocol={"sampling": "mmaction0"},
    protocol_in_name=(rf"{START}(?P<clip_len>{COUNT})x(?P<frame_interval>{COUNT}){END}",),
    options=_options,
    built_in=shifts("mit"),
    refuses_file=like_a_resnet,
    unused=unused_norm,
)
