"""R3D: a ResNet whose blocks all reach over three frames.

Source: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018, table 1, and
torchvision's `r3d_18`; Hara et al., "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?", CVPR
2018, table 1, and 3D-ResNets-PyTorch's `models/resnet.py`, for the pooled stem.
"""

from __future__ import annotations

from paddle import nn

from configs.networks import R3D
from models.implementation import Arrays, Implementation, Recognition
from models.recognizer3d import Recognizer3D, with_clip_head
from models.resnet3d import EXPANSION, Bottleneck3D, Triple, conv3d, depth_of, frames_of
from models.video_resnet import BASIC, DEPTHS, WIDTH, BasicBlock3D, Convs, VideoResNet, last_reach, plain, plain_stem

STAGES = (plain(3, (1, 1, 1)), plain(3, (2, 2, 2)), plain(3, (2, 2, 2)), plain(3, (2, 2, 2)))
POOLED_STEM = 7  # frames that it reaches over


def _bottleneck(channels: int, width: int, stride: Triple, made: Convs, norm_eps: float) -> nn.Layer:
    return Bottleneck3D(channels, width, stride, (1, 3), norm_eps, zero_init=False)


def build(network: R3D, num_classes: int, num_frames: int) -> Recognizer3D:
    """The network of the options."""
    pooled = network.r3d_pooled_stem
    stem = conv3d(3, WIDTH, (POOLED_STEM, 7, 7), (1, 2, 2)) if pooled else plain_stem()
    block, expansion = (BasicBlock3D, 1) if network.variant in BASIC else (_bottleneck, EXPANSION)
    depths, pool = DEPTHS[network.variant], 3 if pooled else 0
    backbone = VideoResNet(stem, depths, STAGES, pool, network.norm_eps, block, expansion)
    return with_clip_head(backbone, network, num_classes)


def recognize(arrays: Arrays, modules_hidden: bool) -> Recognition | None:
    """The R3D whose tensors these are, by the frames that its kernels reach over."""
    variant, reach = last_reach(arrays)
    if not variant and (variant := depth_of(arrays)) in DEPTHS:
        frames = frames_of(arrays)
        reach = frames.get("layer1.0.conv2", 0) * (frames.get("layer4.0.conv1") == 1)
    stem = arrays.get("backbone.conv1.weight")
    if variant not in DEPTHS or reach != 3 or stem is None:
        return None
    return Recognition(variant, {"r3d_pooled_stem": stem.shape[2] == POOLED_STEM})


IMPLEMENTATION = Implementation(build, recognize)
