"""How the authors of each layout name their layers, as tables for the plain networks.

Source: state dicts of torchvision 0.28, timm 1.0 (`mobilenetv2_100`), mmaction2 1.2 (`models/backbones`), and the code
of mit-han-lab/temporal-shift-module (`ops/models.py`, `ops/temporal_shift.py`, `online_demo/mobilenet_v2_tsm.py`),
whwu95/MVFNet (`codes/models`), PaddlePaddle/PaddleVideo (`paddlevideo/modeling/backbones`); keras-team/keras
(`applications/mobilenet_v2.py`), whose weight file of 2018 has other names.
"""

from dataclasses import replace

import numpy as np

from tests.weights.plain_networks import MobileNetNames, PaddleVideoNames, ResNetNames


def as_paddle_sees(eps):
    """Paddle's operators take epsilon as a float."""
    return float(np.float32(eps))


def torchvision_resnet(prefix, fc):
    parts = (("conv1{net}", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))
    block = prefix + "layer{stage}{pool}.{i}{net}."
    return ResNetNames((prefix + "conv1", prefix + "bn1"), block, parts, ("downsample.0", "downsample.1"), fc)


def torchvision_mobilenet(prefix, fc):
    parts = (("0.0{net}", "0.1"), ("1.0", "1.1"), ("2", "3"))
    plain = (("0.0", "0.1"), ("1", "2"))
    ends = ((f"{prefix}features.{k}.0", f"{prefix}features.{k}.1") for k in (0, 18))
    return MobileNetNames(*ends, prefix + "features.{k}.conv.", parts, plain, fc)


def flat_mobilenet(prefix, fc, last="features.18"):
    parts = (("0{net}", "1"), ("3", "4"), ("6", "7"))
    plain = (("0", "1"), ("3", "4"))
    ends = ((f"{prefix}{end}.0", f"{prefix}{end}.1") for end in ("features.0", last))
    return MobileNetNames(*ends, prefix + "features.{k}.conv.", parts, plain, fc)


def without_marks(names):
    """A file that does not say what is wrapped."""
    return replace(names, parts=tuple((a.replace("{net}", ""), b.replace("{net}", "")) for a, b in names.parts))


OURS, OURS_MOBILE = (
    torchvision_resnet("backbone.", "cls_head.new_fc"),
    torchvision_mobilenet("backbone.", "cls_head.new_fc"),
)
TORCHVISION, TORCHVISION_MOBILE = torchvision_resnet("", "fc"), torchvision_mobilenet("", "classifier.1")
TIMM_MOBILE = MobileNetNames(
    ("conv_stem", "bn1"),
    ("conv_head", "bn2"),
    "blocks.{group0}.{i}.",
    (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")),
    (("conv_dw", "bn1"), ("conv_pw", "bn2")),
    "classifier",
)
MIT, MIT_MOBILE = torchvision_resnet("base_model.", "new_fc"), flat_mobilenet("base_model.", "new_fc")
TONYLINS = without_marks(flat_mobilenet("", "classifier"))
MVFNET_MOBILE = flat_mobilenet("backbone.", "cls_head.new_fc", last="conv")
MMACTION2 = ResNetNames(
    ("backbone.conv1.conv", "backbone.conv1.bn"),
    "backbone.layer{stage}{pool}.{i}{net}.",
    (("conv1.conv{net}", "conv1.bn"), ("conv2.conv", "conv2.bn"), ("conv3.conv", "conv3.bn")),
    ("downsample.conv", "downsample.bn"),
    "cls_head.fc_cls",
)
MMACTION2_MOBILE = MobileNetNames(
    ("backbone.conv1.conv", "backbone.conv1.bn"),
    ("backbone.conv2.conv", "backbone.conv2.bn"),
    "backbone.layer{group}.{i}.conv.",
    (("0{net}.conv", "0{net}.bn"), ("1.conv", "1.bn"), ("2.conv", "2.bn")),
    (("0.conv", "0.bn"), ("1.conv", "1.bn")),
    "cls_head.fc_cls",
)
PADDLEVIDEO = PaddleVideoNames(
    ("backbone.conv._conv", "backbone.conv._batch_norm"),
    "backbone.{block}.",
    tuple((f"conv{k}._conv", f"conv{k}._batch_norm") for k in range(3)),
    ("short._conv", "short._batch_norm"),
    "head.fc",
)
KERAS_PARTS = ("expand", "depthwise", "project")
KERAS_2018 = MobileNetNames(
    ("Conv1", "bn_Conv1"),
    ("Conv_1", "Conv_1_bn"),
    "",
    tuple((f"mobl{{k0}}_conv_{{k0}}_{part}", f"bn{{k0}}_conv_{{k0}}_bn_{part}") for part in KERAS_PARTS),
    tuple((f"mobl0_conv_0_{part}", f"bn0_conv_0_bn_{part}") for part in KERAS_PARTS[1:]),
    "Logits",
)
KERAS_TODAY = replace(
    KERAS_2018,
    parts=tuple((f"block_{{k0}}_{part}", f"block_{{k0}}_{part}_BN") for part in KERAS_PARTS),
    plain=tuple((f"expanded_conv_{part}", f"expanded_conv_{part}_BN") for part in KERAS_PARTS[1:]),
    fc="predictions",
)
