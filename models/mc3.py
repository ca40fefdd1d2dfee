"""MC3: a ResNet of basic blocks, of which those of the first stage alone reach over three frames.

Source: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018, table 1;
torchvision's `mc3_18`.
"""

from __future__ import annotations

from configs.networks import MC3
from models.implementation import Arrays, Implementation, Recognition
from models.recognizer3d import Recognizer3D, with_clip_head
from models.video_resnet import DEPTHS, VideoResNet, last_reach, plain, plain_stem

STAGES = (plain(3, (1, 1, 1)), plain(1, (1, 2, 2)), plain(1, (1, 2, 2)), plain(1, (1, 2, 2)))


def build(network: MC3, num_classes: int, num_frames: int) -> Recognizer3D:
    """The network of the options."""
    backbone = VideoResNet(plain_stem(), DEPTHS[network.variant], STAGES, 0, network.norm_eps)
    return with_clip_head(backbone, network, num_classes)


def recognize(arrays: Arrays, modules_hidden: bool) -> Recognition | None:
    """The MC3 whose tensors these are, by the frames that its last kernels reach over."""
    variant, reach = last_reach(arrays)
    return Recognition(variant, {}) if reach == 1 else None


IMPLEMENTATION = Implementation(build, recognize)
