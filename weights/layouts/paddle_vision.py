"""paddle.vision.models, which keeps torchvision's names."""

from __future__ import annotations

from weights.layout import PADDLE, Layout
from weights.quirks import IMAGENET, like_a_resnet
from weights.tables import PLAIN_RESNET, head, nested_mobilenet

LAYOUT = Layout(
    PADDLE,
    (PLAIN_RESNET, (head("classifier.1"), *nested_mobilenet())),
    protocol=IMAGENET,
    refuses_file=like_a_resnet,
)
