"""I3D on Inception-v1, as piergiaj ported it from DeepMind's code, which no Python of today runs (TensorFlow 1).

Source: piergiaj/pytorch-i3d, `pytorch_i3d.py`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alignment.upstream.source import Names, Settings, Source, as_linear, called_by, checked_out, of_clips


def build(name: str, settings: Settings, path: str) -> nn.Module:
    """Its InceptionI3d, which needs frames of more than 192 pixels."""
    with checked_out(path, ("pytorch_i3d",), {}):
        module = importlib.import_module("pytorch_i3d")
        model = module.InceptionI3d(settings.num_classes, dropout_keep_prob=settings.network.dropout)
    for layer in model.modules():
        if isinstance(layer, module.Unit3D):
            layer.conv3d.__class__ = PaddedBefore
            layer.conv3d.padding = "same"
        if isinstance(layer, module.MaxPool3dSamePadding):
            layer.__class__ = type("Outside", (Outside, module.MaxPool3dSamePadding), {})
        if isinstance(layer, nn.BatchNorm3d):
            layer.momentum = 0.1  # its statistics move by 0.01
    as_linear(model.logits.conv3d)
    return called_by(model, _mean_over_places)


class PaddedBefore(nn.Conv3d):
    """Its convolution, which says what the unit around it does: pad SAME."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps padded [N, C, T, H, W] to the windows' sums."""
        return F.conv3d(x, self.weight, self.bias, self.stride)


class Outside(nn.MaxPool3d):
    """Its pooling, but what is outside of a clip is below 0.

    Its zeros there take the gradient of a window that is 0 throughout, as behind a ReLU many are. The outputs are the
    same, and so is the gradient of every weight: a ReLU lets nothing through where it gives 0.
    """

    compute_pad: Callable[[int, int], int]

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, C, T, H, W] to the windows' maxima."""
        pads: list[int] = []
        for axis in (2, 1, 0):
            total = self.compute_pad(axis, x.shape[2 + axis])
            pads += [total // 2, total - total // 2]
        return F.max_pool3d(F.pad(x, pads, value=-1.0), self.kernel_size, self.stride)


def _mean_over_places(model: Any, clips: Tensor) -> Tensor:
    """DeepMind's `evaluate_sample.py` averages its logits over the frames that are left."""
    return torch.mean(of_clips(model, clips), 2)


def names(name: str) -> Names:
    """Our names are its names; its dropout keeps axes of one."""
    return (
        (r"^(logits|dropout)(\.conv3d)?$", r"\1\2 of [N, C, 1, 1, 1]"),
        (r"^logits\.conv3d\.(weight|bias)$", r"cls_head.new_fc.\1"),
        (r"^(Conv3d|Mixed)_", r"backbone.\1_"),
    )


def options(name: str) -> dict[str, Any]:
    """Its norms have weights. It has dropout where ours has another order of axes."""
    return {"i3d_norm_weight": True, "dropout": 0.0}


SOURCE = Source(
    ("i3d_inception",),
    build,
    names,
    options,
    url="https://github.com/piergiaj/pytorch-i3d",
    marker="pytorch_i3d.py",
)
