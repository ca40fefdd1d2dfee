"""github.com/tonylins/pytorch-mobilenet-v2, which the TSM authors build on and their online demo is."""

from weights.layout import TORCH, Layout
from weights.quirks import IMAGENET, shifts
from weights.tables import flat_mobilenet, head

LAYOUT = Layout(
    TORCH,
    ((head("classifier"), *flat_mobilenet("")),),
    hides=True,
    protocol=IMAGENET,
    built_in=shifts("online"),
)
