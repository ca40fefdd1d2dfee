"""github.com/pytorch/vision: torchvision/models/resnet.py, mobilenetv2.py."""

from weights.layout import TORCH, Layout
from weights.quirks import IMAGENET, like_a_resnet
from weights.tables import PLAIN_RESNET, head

LAYOUT = Layout(
    TORCH,
    (PLAIN_RESNET, (head("classifier.1"), ("backbone.{nested}", "{nested}"))),
    protocol=IMAGENET,
    refuses_file=like_a_resnet,
)
