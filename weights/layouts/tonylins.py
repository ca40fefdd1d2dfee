"""github.com/tonylins/pytorch-mobilenet-v2, which the TSM authors build on and their online demo is."""

from __future__ import annotations

from weights.layout import TORCH, Fields, Layout
from weights.quirks import IMAGENET, is_shifted
from weights.tables import flat_mobilenet, head


def _built_in(fields: Fields) -> Fields:
    return {"shift_direction": "online"} if is_shifted(fields) else {}


LAYOUT = Layout(
    TORCH,
    ((head("classifier"), *flat_mobilenet("")),),
    protocol=IMAGENET,
    hides=True,
    built_in=_built_in,
)
