"""This repository, whose families say the names of their tensors, and PaddleMVF, a port of MVFNet with its habits."""

from __future__ import annotations

import re

from configs.networks import FAMILIES
from weights.layout import PADDLE, Layout
from weights.layouts.mvfnet import NEW_CLS, unused_norm


def keeps(name: str) -> bool:
    """Whether a family of ours has tensors of that name."""
    return any(re.fullmatch(family.tensors, name) for family in FAMILIES.values())


LAYOUT = Layout(PADDLE, ((),), wraps=True, keeps=keeps, has_recipe=True, left_out=NEW_CLS, unused=unused_norm)
