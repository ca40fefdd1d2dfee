"""paddle.vision.models, which keeps torchvision's names."""

from dataclasses import replace

from weights.layout import PADDLE
from weights.layouts import torchvision

LAYOUT = replace(torchvision.LAYOUT, kind=PADDLE)
