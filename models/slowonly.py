"""SlowOnly: a ResNet that reaches over frames in its last two stages alone, and never strides over them.

Source: Feichtenhofer et al., "SlowFast Networks for Video Recognition", ICCV 2019, table 1 and section 4.1.
"""

from __future__ import annotations

from configs.networks import SlowOnly
from models.implementation import Arrays, Implementation, Recognition
from models.recognizer3d import Recognizer3D, with_clip_head
from models.resnet3d import ResNet3D, Temporal, depth_of, frames_of

TEMPORAL = Temporal(1, 1, (((1, 1),), ((1, 1),), ((3, 1),), ((3, 1),)), halves=False)


def build(network: SlowOnly, num_classes: int, num_frames: int) -> Recognizer3D:
    """The network of the options."""
    backbone = ResNet3D(network.variant, TEMPORAL, norm_eps=network.norm_eps)
    return with_clip_head(backbone, network, num_classes)


def recognize(arrays: Arrays, modules_hidden: bool) -> Recognition | None:
    """The SlowOnly whose tensors these are, by the frames that its kernels reach over."""
    depth, frames = depth_of(arrays), frames_of(arrays)
    fits = depth and frames.get("conv1") == 1 and frames["layer2.0.conv1"] == 1 and frames["layer3.0.conv1"] == 3
    return Recognition(depth, {}) if fits else None


IMPLEMENTATION = Implementation(build, recognize)
