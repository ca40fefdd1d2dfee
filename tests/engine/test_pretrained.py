"""What a weight file is taken for: its recipe, its network, its class names."""

import argparse

import numpy as np
import pytest
import torch

from configs import Recipe, RecipeError, cli
from engine.pretrained import adopt_network, load_pretrained
from models import create_model
from weights import CheckpointError, assign, read, to_layout, translate


def arrays_of(net):
    return {name: tensor.numpy() for name, tensor in net.state_dict().items()}


def model(name="tsm_tiny", num_classes=5, **options):
    return create_model(name, num_classes=num_classes, num_frames=8, **options)


def save_as(path, net, layout):
    path.parent.mkdir(exist_ok=True)
    arrays = to_layout(arrays_of(net), layout)
    torch.save({"state_dict": {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}}, path)
    return path


def ours(folder, recipe):
    folder.mkdir()
    (folder / "recipe.json").write_text(recipe.to_json())
    options = {name: recipe.options()[name] for name in ("shift_direction", "shift_div", "norm_eps")}
    np.savez(folder / "best.npz", **arrays_of(model(recipe.network.model, **options)))
    return folder / "best.npz"


def flags(weights, *more):
    parser = argparse.ArgumentParser()
    cli.add_checkpoint_flags(parser)
    cli.add_beside_flags(parser)
    return parser.parse_args(["--pretrained", str(weights), *more])


def load(args):
    return load_pretrained(args.pretrained, cli.asked(args))


PADDLE = Recipe.of(model="tsm_tiny", num_segments=8, clip_len=1, shift_direction="paddle", shift_div=4, norm_eps=1e-3)


def test_a_run_that_starts_from_ours_takes_over_the_network_of_its_recipe(tmp_path):
    found = read(ours(tmp_path / "run", PADDLE))
    recipe, changes = adopt_network(Recipe.of(model="tsm_tiny"), found, ["shift_div"])
    assert (recipe.network.shift_direction, recipe.network.shift_div, recipe.network.norm_eps) == ("paddle", 8, 1e-3)
    assert "shift_direction paddle" in changes
    other, changes = adopt_network(Recipe.of(model="mvf_tiny"), found, [])
    assert other == Recipe.of(model="mvf_tiny", norm_eps=1e-3)
    assert changes == "norm_eps 0.001"


def test_a_recipe_beside_belongs_to_weights_of_ours_alone(tmp_path, capsys):
    ours(tmp_path / "run", PADDLE)
    path = save_as(tmp_path / "run" / "tsm_1x1x8_mine.pth", model(shift_div=8), "mmaction2")
    recipe = load(flags(path)).recipe
    assert (recipe.network.shift_direction, recipe.network.norm_eps) == ("mit", 1e-5)
    assert "taken as tsm_tiny of 8 x 1 frames" in capsys.readouterr().err
    assert load(flags(tmp_path / "run" / "best.npz")).recipe == PADDLE.with_(num_classes=5)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("TSM_x_RGB_resnet50_shift4_blockres_avg_segment16_e50.pth", {"shift_div": 4, "num_segments": 16}),
        ("TSM_x_RGB_resnet50_shift4_blockres_avg_segment16_e50/ckpt.best.pth", {"shift_div": 4, "num_segments": 16}),
        ("TSM_x_RGB_resnet50_shift8_blockres_avg_segment8_e100_dense.pth", {"sampling": "dense", "test_clips": 10}),
    ],
)
def test_what_the_tsm_authors_write_into_names(tmp_path, name, fields):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    recipe = load(flags(save_as(path, model(), "mit-tsm"))).recipe
    assert {field: recipe.options()[field] for field in fields} == fields
    kept = adopt_network(Recipe.of(model="tsm_tiny"), read(path), [])[0]
    assert kept.network.shift_div == fields.get("shift_div", 8)


@pytest.mark.parametrize(
    ("layout", "name", "found"),
    [
        ("mvfnet", "R50_16x4.pth", (16, 4, 1)),
        ("mvfnet", "mvf_r50_320x256_8x8.pth", (8, 8, 1)),
        ("mvfnet", "R50_224x224.pth", None),
        ("mmaction2", "tsm_r50_1x1x16_50e.pth", (1, 1, 16)),
        ("mmaction2", "tsm_8xb16-1x1x8-50e_256x256.pth", (1, 1, 8)),
        ("mmaction2", "tsm_3x224x224.pth", None),
        ("mmaction2", "tsm_0x0x0.pth", None),
        ("mmaction2", "i3d_imagenet-pretrained-r50_8xb8-32x2x1-100e_kinetics400-rgb.pth", (32, 2, 1)),
        ("mmaction2", "slowfast_r50_8xb8-8x8x1-256e_kinetics400-rgb.pth", (32, 2, 1)),
        ("mmaction2", "slowfast_r50_4x16x1_256e_kinetics400_rgb_20200704-bcde7ed7.pth", (32, 2, 1)),
    ],
)
def test_clips_in_names_are_not_sizes_of_images(layout, name, found):
    net = model("mvf_tiny" if layout == "mvfnet" else "tsm_tiny")
    protocol = translate(to_layout(arrays_of(net), layout), name).protocol
    fields = ("clip_len", "frame_interval", "num_segments")
    expected = dict(zip(fields, found, strict=True)) if found else {}
    if layout == "mvfnet":
        expected.pop("num_segments", None)
    assert {field: protocol[field] for field in fields if field in protocol} == expected


@pytest.mark.parametrize(
    ("layout", "name", "found"),
    [
        ("mmaction2", "slowfast_r50_4x16x1_256e_kinetics400_rgb_20200704-bcde7ed7.pth", (32, 2, 8)),
        ("mmaction2", "slowfast_r101_8xb8-8x8x1-256e_kinetics400-rgb_2022.pth", (32, 2, 4)),
        ("pyslowfast", "SLOWFAST_4x16_R50.pyth", (32, 2, 8)),
        ("pytorchvideo", "SLOWFAST_8x8_R50.pyth", (32, 2, 4)),
        ("pytorchvideo", "kinetics/SLOWFAST_16x8_R101_50_50/model.pyth", (64, 2, 4)),
        ("paddlevideo", "SlowFast_8x8.pdparams", (32, 2, 4)),
        ("pyslowfast", "SLOWFAST_32x2_R101_50_50.pkl", None),  # of AVA: frames of the fast pathway
        ("pyslowfast", "X3D_M.pyth", None),
    ],
)
def test_names_of_slowfast_say_the_slow_frames(layout, name, found):
    net = model("slowfast_tiny")
    translation = translate(to_layout(arrays_of(net), layout), name, layout)
    said = {**translation.protocol, **translation.options_of({})}
    fields = ("clip_len", "frame_interval", "slowfast_alpha")
    expected = dict(zip(fields, found, strict=True)) if found else {"slowfast_alpha": None}
    assert {field: said.get(field) for field in expected} == expected


@pytest.mark.parametrize(
    ("layout", "places"), [("pyslowfast", "probabilities"), ("pytorchvideo", "logits"), ("mmaction2", "all")]
)
def test_networks_over_clips_are_tested_as_their_authors_test_them(tmp_path, layout, places):
    path = save_as(tmp_path / "SLOWFAST_8x8_R50.pth", model("slowfast_tiny"), layout)
    recipe = load(flags(path)).recipe
    assert recipe.network.places == places
    assert recipe.clip.sampling == ("mmaction1" if layout == "mmaction2" else "pyslowfast")
    assert (recipe.clip.num_frames, recipe.clip.frame_interval, recipe.network.alpha) == (32, 2, 4)
    assert recipe.pixels.mean[0] == pytest.approx(123.675 if layout == "mmaction2" else 114.75)


def test_a_file_that_hides_its_shifts_asks_for_the_model(tmp_path):
    net = model("tsm_mobilenet_v2", 27, shift_direction="online")
    path = save_as(tmp_path / "mobilenetv2_jester_online.pth", net, "tonylins")
    with pytest.raises(CheckpointError, match="it may be tsn_mobilenet_v2 or tsm_mobilenet_v2: add --model"):
        load(flags(path))
    loaded = load(flags(path, "--model", "tsm_mobilenet_v2", "--shift_direction", "online"))
    assert loaded.recipe.network.shift_direction == "online"
    with pytest.raises(RecipeError, match="--shift_direction belongs to tsm models, and the model is tsn_mobilenet_v2"):
        load(flags(path, "--model", "tsn_mobilenet_v2", "--shift_direction", "online"))


def test_the_preset_is_that_of_the_data_set_in_the_name(tmp_path):
    path = save_as(tmp_path / "tsm_1x1x8_50e_sthv2.pth", model(num_classes=174), "mmaction2")
    recipe = load(flags(path)).recipe
    assert (recipe.pixels.test_crops, recipe.clip.test_clips, recipe.pixels.test_size) == ("three", 2, 256)


def test_the_norm_that_mvfnet_does_not_use_is_left_out_by_name():
    net = model("mvf_tiny", mvf_use_hs=True)
    theirs = translate(to_layout(arrays_of(net), "mvfnet"), "R50.pth")
    assert "mvf_use_hs" not in theirs.options_of({"mvf_use_hs": True})
    without = model("mvf_tiny", mvf_use_hs=False)
    coverage = assign(without, theirs)
    assert set(coverage.skipped.values()) == {
        "PyTorch's counter of batches, which Paddle does not keep",
        "MVFNet's norm, which it does not use without hard-swish",
    }


def test_a_copy_of_the_classifier_is_left_out_by_name():
    arrays = to_layout(arrays_of(model("mvf_tiny")), "mvfnet")
    arrays["cls_head.new_cls.weight"] = np.ones((5, 128, 1, 1, 1), np.float32)
    dropped = translate(arrays, "R50.pth").dropped
    assert dropped["cls_head.new_cls.weight"] == "MVFNet's copy of new_fc for fully convolutional tests"


def test_a_network_that_a_source_shifts_in_other_blocks_is_refused():
    arrays = to_layout(arrays_of(model("tsn_r101")), "paddlevideo")
    found = translate(arrays, "TSM_r101.pdparams")
    with pytest.raises(CheckpointError, match=r"TSM_r101.pdparams: paddlevideo shifts in every block of ResNet-101"):
        adopt_network(Recipe.of(model="tsm_r101"), found, [])
    assert adopt_network(Recipe.of(model="tsn_r101"), found, [])[0].network.model == "tsn_r101"


@pytest.mark.parametrize("name", ["c2d_r50.pth", "resnetaa50_a1h.pth", "timm_resnetblur50.pth", "resnet50d.pth"])
def test_a_network_that_only_looks_like_a_resnet_is_refused(name):
    arrays = to_layout(arrays_of(model("tsn_tiny")), "torchvision")
    with pytest.raises(CheckpointError, match=r"has the names of a ResNet, but a \w+ computes something else"):
        translate(arrays, name)


def test_weights_are_floats():
    arrays = arrays_of(model("tsn_tiny"))
    arrays["backbone.bn1.weight"] = arrays["backbone.bn1.weight"].astype(np.int8)
    with pytest.raises(CheckpointError, match=r"backbone.bn1.weight is of type int8, and weights are of floats"):
        translate(arrays, "x")
    arrays["backbone.bn1.weight"] = np.ones(16, np.float32)
    arrays["cls_head.new_fc.bias"] = np.float32(0)[None][0].reshape(())
    with pytest.raises(CheckpointError, match=r"new_fc.bias is \[\] in the file"):
        assign(model("tsn_tiny"), translate(arrays, "x"))
