"""Image networks of timm, whose logits are averaged over the frames.

Source: huggingface/pytorch-image-models, `timm/models/{resnet,efficientnet,_efficientnet_blocks}.py`,
`timm/layers/norm_act.py`.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from alignment.upstream.source import Names, Settings, Source, averaged_over_frames, block_names, called_by, installed
from alignment.upstream.torchvision import NETWORKS as TORCHVISION_NETWORKS
from alignment.upstream.torchvision import torchvision

NETWORKS = {**TORCHVISION_NETWORKS, "tsn_mobilenet_v2": "mobilenetv2_100"}


def build(name: str, settings: Settings, path: str) -> nn.Module:
    """Its image network."""
    torchvision()  # which timm imports
    model = installed("timm").create_model(
        NETWORKS[name], num_classes=settings.num_classes, drop_rate=settings.network.dropout
    )
    return called_by(model, averaged_over_frames)


def names(name: str) -> Names:
    """Its ResNets have our names. In its MobileNetV2 a norm and its activation are one layer, of two paths in ours."""
    if not name.endswith("mobilenet_v2"):
        return ((r"^(conv1|bn1|layer\d)\b", r"backbone.\1"), (r"^fc\b", "cls_head.new_fc"))
    return (
        (r"^classifier\b", "cls_head.new_fc"),
        (r"^conv_stem\b", "backbone.features.0.0"),
        *_norm("^bn1", "backbone.features.0.1", "backbone.features.0.2"),
        (r"^conv_head\b", "backbone.features.18.0"),
        *_norm("^bn2", "backbone.features.18.1", "backbone.features.18.2"),
        *block_names(r"^blocks\.", 0),
        (r"features\.1\.conv_dw\b", "features.1.conv.0.0"),
        *_norm(r"features\.1\.bn1", "features.1.conv.0.1", "features.1.conv.0.2"),
        (r"features\.1\.conv_pw\b", "features.1.conv.1"),
        *_norm(r"features\.1\.bn2", "features.1.conv.2", "nothing"),
        (r"\.conv_pw\b", ".conv.0.0"),
        *_norm(r"\.bn1", ".conv.0.1", ".conv.0.2"),
        (r"\.conv_dw\b", ".conv.1.0"),
        *_norm(r"\.bn2", ".conv.1.1", ".conv.1.2"),
        (r"\.conv_pwl\b", ".conv.2"),
        *_norm(r"\.bn3", ".conv.3", ".nothing"),
    )


def _norm(theirs: str, norm: str, activation: str) -> Names:
    """Rules for a norm that holds its activation; the norm's own output is that of the idle dropout between the two."""
    tensors = r"(weight|bias|_mean|_variance|running_\w+)"
    return (
        (rf"{theirs}\.{tensors}$", rf"{norm}.\1"),
        (rf"{theirs}\.drop$", norm),
        (rf"{theirs}\.act$", activation),
    )


def options(name: str) -> dict[str, Any]:
    """It drops out by a function, which no comparison can give its draws."""
    return {"consensus": "scores", "dropout": 0.0}


SOURCE = Source(tuple(NETWORKS), build, names, options)
