"""github.com/piergiaj/pytorch-i3d: pytorch_i3d.py."""

from __future__ import annotations

from weights.layout import Layout, torch_with_pointwise
from weights.tables import head

LAYOUT = Layout(
    torch_with_pointwise(r"logits\.conv3d\.weight"),
    ((head("logits.conv3d"), ("backbone.{inception}", "{inception}")),),
    network={"norm_eps": 1e-3, "mean": (127.5,) * 3, "std": (127.5,) * 3},
)
