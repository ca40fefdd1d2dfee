"""I3D on a ResNet: every other block convolves over three frames.

Source: Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017; Wang et al., "Non-local Neural Networks",
CVPR 2018, section 4 (on a ResNet). The temporal kernels are those that mmaction2 and PySlowFast share; mmaction2's
network halves the frames in the stem and in the pooling behind it, PySlowFast's does not, and their weights have the
same names and shapes.
"""

from __future__ import annotations

from configs.networks import I3D
from models.implementation import Arrays, Implementation, Recognition
from models.recognizer3d import Recognizer3D, with_clip_head
from models.resnet3d import ResNet3D, Temporal, depth_of, frames_of

_ONE, _THREE = (1, 1), (3, 1)
_STEM = 5
_STAGES = ((_THREE,), (_THREE, _ONE), (_THREE, _ONE), (_ONE, _THREE))
_HEAVY = "_heavy"


def build(network: I3D, num_classes: int, num_frames: int) -> Recognizer3D:
    """The network of the options."""
    heavy = network.variant.endswith(_HEAVY)
    stages = ((_THREE,),) * len(_STAGES) if heavy else _STAGES
    temporal = Temporal(_STEM, network.stem_stride, stages, halves=True)
    variant = network.variant.removesuffix(_HEAVY)
    backbone = ResNet3D(variant, temporal, norm_eps=network.norm_eps, zero_init=False)
    return with_clip_head(backbone, network, num_classes)


def recognize(arrays: Arrays, modules_hidden: bool) -> Recognition | None:
    """The I3D whose tensors these are, by the frames that its kernels reach over."""
    depth, frames = depth_of(arrays), frames_of(arrays)
    if not depth or frames.get("conv1") != _STEM:
        return None
    heavy = frames.get("layer2.1.conv1") == _THREE[0]
    if heavy:
        return Recognition(depth + _HEAVY, {"i3d_stem_stride": 1}) if depth == "r50" else None
    question = (
        "fit an I3D whose stem halves the frames and one whose stem does not: add --i3d_stem_stride 2 (mmaction2) "
    )
    question += "or 1 (PySlowFast, PyTorchVideo)"
    return Recognition(depth, {}, question, {"i3d_stem_stride": (1, 2)})


IMPLEMENTATION = Implementation(build, recognize)
