"""The converter as a command: what it writes, what it prints, what it refuses."""

import json

import numpy as np
import paddle
import pytest
import torch

from configs import Recipe
from models import create_model, from_recipe
from tools import convert
from weights import assign, read, read_file, to_layout


def model(name="tsm_tiny", num_classes=5, **options):
    return create_model(name, num_classes=num_classes, num_frames=8, **options)


def arrays_of(net):
    return {name: tensor.numpy() for name, tensor in net.state_dict().items()}


def logits(net, clips):
    net.eval()
    return net(paddle.to_tensor(clips)).numpy()


@pytest.fixture
def clips():
    return np.random.default_rng(0).normal(size=(2, 8, 3, 32, 32)).astype(np.float32)


def save_as(path, net, layout):
    arrays = to_layout(arrays_of(net), layout)
    if path.suffix == ".pdparams":
        paddle.save({name: paddle.to_tensor(array) for name, array in arrays.items()}, str(path))
    else:
        torch.save({"state_dict": {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}}, path)
    return str(path)


def test_a_file_of_the_tsm_authors_becomes_a_checkpoint_with_its_recipe(tmp_path, clips, capsys):
    net = model(num_classes=400, shift_div=4)
    path = save_as(tmp_path / "TSM_kinetics_RGB_resnet50_shift4_blockres_avg_segment16_e50.pth", net, "mit-tsm")
    convert.main([path, str(tmp_path / "tsm" / "best.pdparams"), "--sampling", "dense"])
    recipe = Recipe.from_json(tmp_path / "tsm" / "recipe.json")
    assert (recipe.network.model, recipe.network.num_classes, recipe.clip.num_segments, recipe.network.shift_div) == (
        "tsm_tiny",
        400,
        16,
        4,
    )
    assert (recipe.clip.sampling, recipe.clip.average_views, recipe.network.consensus) == ("dense", "scores", "scores")
    assert (tmp_path / "tsm" / "classes.txt").read_text().startswith("abseiling\nair drumming\n")
    again = from_recipe(recipe)
    assign(again, read(tmp_path / "tsm" / "best.pdparams"))
    np.testing.assert_array_equal(logits(again, clips), logits(net, clips))
    shown = capsys.readouterr().out
    assert "(mit-tsm) as tsm_tiny" in shown
    assert "matched               1  [out, in] to [in, out] (cls_head.new_fc.weight)" in shown
    assert "PyTorch's counter of batches" in shown


@pytest.mark.parametrize("layout", ["mit-tsm", "mmaction2", "mvfnet"])
def test_there_and_back_is_the_same_bits(tmp_path, layout):
    net = model(shift_place="block", temporal_pool=True)
    (tmp_path / "ours").mkdir()
    paddle.save(net.state_dict(), str(tmp_path / "ours" / "best.pdparams"))
    convert.main([str(tmp_path / "ours" / "best.pdparams"), str(tmp_path / "theirs.pth"), "--target", layout])
    assert torch.load(tmp_path / "theirs.pth", weights_only=True).keys() == {"state_dict"}
    convert.main([str(tmp_path / "theirs.pth"), str(tmp_path / "back" / "best.pdparams")])
    before, after = arrays_of(net), read_file(tmp_path / "back" / "best.pdparams")
    assert before.keys() == after.keys()
    for name, array in before.items():
        np.testing.assert_array_equal(array, after[name])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz", ".pdparams"])
def test_every_format_is_read_again(tmp_path, suffix):
    path = save_as(tmp_path / "mvf.pth", model("mvf_tiny"), "mvfnet")
    convert.main([path, str(tmp_path / f"out{suffix}"), "--target", "mvfnet"])
    expected, found = read_file(path), read_file(tmp_path / f"out{suffix}")
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(array, found[name])


def test_what_paddlevideo_builds_in_goes_into_the_recipe(tmp_path, clips):
    net = model(shift_direction="paddle", shift_div=16)
    path = save_as(tmp_path / "TSM_k400.pdparams", net, "paddlevideo")
    with pytest.raises(SystemExit, match="it may be tsn_tiny or tsm_tiny: add --model"), convert.command.clear_errors():
        convert.main([path, str(tmp_path / "out" / "best.pdparams")])
    convert.main([path, str(tmp_path / "out" / "best.pdparams"), "--model", "tsm_tiny", "--num_segments", "16"])
    recipe = Recipe.from_json(tmp_path / "out" / "recipe.json")
    assert (recipe.network.shift_direction, recipe.network.shift_div, recipe.clip.sampling) == ("paddle", 16, "mit")
    again = from_recipe(recipe)
    assign(again, read(tmp_path / "out" / "best.pdparams"))
    np.testing.assert_array_equal(logits(again, clips), logits(net, clips))


def test_a_part_is_left_out_only_by_name_and_the_output_lacks_it_too(tmp_path, capsys):
    image = {name: array for name, array in arrays_of(model("tsn_tiny")).items() if "cls_head" not in name}
    np.savez(tmp_path / "image.npz", **image)
    arguments = [str(tmp_path / "image.npz"), str(tmp_path / "out" / "start.pdparams"), "--model", "mvf_tiny"]
    for partial, message in (
        ([], "holds no classifier: train from it, or convert it with --partial head"),
        (["--partial", "head"], "lacks .*shift_conv.weight .* or by --partial modules"),
    ):
        with pytest.raises(SystemExit, match=message), convert.command.clear_errors():
            convert.main([*arguments, *partial])
        assert not (tmp_path / "out").exists()
    convert.main([*arguments, "--partial", "head", "modules"])
    written = read_file(tmp_path / "out" / "start.pdparams")
    assert {name.replace(".net.", ".") for name in written} == image.keys()
    shown = capsys.readouterr().out
    assert "only in the model     2  the classifier (cls_head.new_fc.weight, ...)" in shown
    assert "the temporal modules (backbone.layer1.0.conv1." in shown


def test_labels_by_name_and_from_a_file(tmp_path):
    path = save_as(tmp_path / "epoch_3.pth", model(num_classes=27), "mmaction2")
    convert.main([path, str(tmp_path / "a" / "w.pdparams"), "--labels", "jester_csv"])
    assert (tmp_path / "a" / "classes.txt").read_text().startswith("Swiping Left\n")
    (tmp_path / "mine.txt").write_text("\n".join(f"class {i}" for i in range(27)))
    convert.main([path, str(tmp_path / "b" / "w.pdparams"), "--labels", str(tmp_path / "mine.txt")])
    assert (tmp_path / "b" / "classes.txt").read_text().splitlines()[26] == "class 26"
    convert.main([path, str(tmp_path / "c" / "w.pdparams")])
    assert not (tmp_path / "c" / "classes.txt").exists()
    with pytest.raises(SystemExit, match=r"ucf101 names 101 classes where .*h has 27"), convert.command.clear_errors():
        convert.main([path, str(tmp_path / "d" / "w.pdparams"), "--labels", "ucf101"])


def ours(tmp_path, **fields):
    recipe = Recipe.of(model="tsm_tiny", num_classes=5, num_segments=8, clip_len=1).with_(**fields)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text(recipe.to_json())
    paddle.save(from_recipe(recipe).state_dict(), str(tmp_path / "run" / "best.pdparams"))
    return str(tmp_path / "run" / "best.pdparams")


@pytest.mark.parametrize(
    ("fields", "target", "message"),
    [
        ({"shift_direction": "paddle"}, "mmaction2", "shift_direction is paddle in the recipe, and mit is built into"),
        ({"norm_eps": 1e-3}, "mmaction2", "norm_eps is 0.001 in the recipe, and 1e-05 is built into mmaction2"),
        ({}, "torchvision", "torchvision shows no temporal modules: there the weights of tsm_tiny would be tsn_tiny"),
        ({}, "tonylins", "shift_direction is mit in the recipe, and online is built into tonylins"),
        ({"shift_direction": "paddle", "temporal_pool": True}, "paddlevideo", "temporal_pool is True in the recipe"),
        ({}, "paddlevideo", "shift_direction is mit in the recipe, and paddle is built into paddlevideo"),
        ({"shift_direction": "paddle", "num_segments": 4}, "paddlevideo", "shift_div is 8 .* and 4 is built into"),
        ({"model": "tsm_r101", "shift_direction": "paddle"}, "paddlevideo", "paddlevideo shifts in every block of Res"),
        ({"model": "tsn_mobilenet_v2"}, "keras", "norm_eps is 1e-05 in the recipe, and 0.001 is built into keras"),
        ({"model": "mvf_tiny"}, "mmaction2", "the layout mmaction2 has no name for backbone.layer3.0.conv1.shift_conv"),
    ],
)
def test_an_export_that_would_be_another_network_is_refused(tmp_path, fields, target, message):
    path = ours(tmp_path, **fields)
    with pytest.raises(SystemExit, match=message), convert.command.clear_errors():
        convert.main([path, str(tmp_path / "out.npz"), "--target", target])
    assert not (tmp_path / "out.npz").exists()


def test_nothing_is_overwritten(tmp_path):
    path = ours(tmp_path)
    for out, message in (("run/again.pdparams", "recipe.json exists already"), ("out.h5", "OUT must be .pdparams")):
        with pytest.raises(SystemExit, match=message), convert.command.clear_errors():
            convert.main([path, str(tmp_path / out)])
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["network"]["num_classes"] == 5
    with (
        pytest.raises(SystemExit, match=r"be .pdparams, .npz, .safetensors, .pth"),
        convert.command.clear_errors(),
    ):
        convert.main([path, str(tmp_path / "out.onnx"), "--target", "mmaction2"])


def test_a_layout_that_is_said_is_the_only_one_tried(tmp_path):
    path = save_as(tmp_path / "x.pth", model(), "mit-tsm")
    with pytest.raises(SystemExit, match=r"no known layout \(mmaction2\)"), convert.command.clear_errors():
        convert.main([path, str(tmp_path / "out" / "w.pdparams"), "--source", "mmaction2"])
