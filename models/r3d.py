"""R3D: a ResNet of basic blocks that all reach over three frames.

Source: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018, table 1;
torchvision's `r3d_18`.
"""

from __future__ import annotations

from configs.networks import R3D
from models.implementation import Arrays, Implementation, Recognition
from models.recognizer3d import Recognizer3D, with_clip_head
from models.video_resnet import DEPTHS, VideoResNet, last_reach, plain, plain_stem

STAGES = (plain(3, (1, 1, 1)), plain(3, (2, 2, 2)), plain(3, (2, 2, 2)), plain(3, (2, 2, 2)))


def build(network: R3D, num_classes: int, num_frames: int) -> Recognizer3D:
    """The network of the options."""
    backbone = VideoResNet(plain_stem(), DEPTHS[network.variant], STAGES, False, network.norm_eps)
    return with_clip_head(backbone, network, num_classes)


def recognize(arrays: Arrays, modules_hidden: bool) -> Recognition | None:
    """The R3D whose tensors these are, by the frames that its last kernels reach over."""
    variant, reach = last_reach(arrays)
    return Recognition(variant, {}) if reach == 3 else None


IMPLEMENTATION = Implementation(build, recognize)
