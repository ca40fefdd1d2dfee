"""This repository and PaddleMVF, which is a port of MVFNet and has its habits."""

from __future__ import annotations

from weights.layout import PADDLE, Layout
from weights.layouts.mvfnet import NEW_CLS, unused_norm
from weights.tables import head

LAYOUT = Layout(
    PADDLE,
    ((head("cls_head.new_fc"), ("backbone.{any}", "backbone.{any}")),),
    wraps=True,
    has_recipe=True,
    left_out=NEW_CLS,
    unused=unused_norm,
)
