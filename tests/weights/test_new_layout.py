"""A new layout is one file and one entry: all that deals with weights takes it from there, and names no source."""

import ast
from pathlib import Path

import numpy as np
import paddle
import pytest
import torch

from configs import Recipe
from engine.pretrained import read_pretrained
from models import create_model, from_recipe
from tests.weights import toy_layout
from tools import convert
from weights import CheckpointError, assign, read, to_layout, translate
from weights.layouts import LAYOUTS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(LAYOUTS, "toy", toy_layout.LAYOUT)


@pytest.fixture
def net():
    return create_model("tsm_tiny", num_classes=5, num_frames=4, shift_direction="online", shift_div=4)


def arrays_of(net):
    return {name: tensor.numpy() for name, tensor in net.state_dict().items()}


@pytest.fixture
def file(tmp_path, net):
    arrays = to_layout(arrays_of(net), "toy") | {"batteries.charge": np.zeros(1)}
    path = tmp_path / "toy_every4_everywhere_of4.pth"
    torch.save({"toys": {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}}, path)
    return path


def test_it_is_recognized_and_says_what_its_files_are(file):
    found = read_pretrained(str(file))
    assert (found.layout, found.models, found.num_classes) == ("toy", ("tsm_tiny",), 5)
    assert found.names["backbone.layer1.0.conv1.net.weight"] == "trunk.layer1.0.conv1.net.weight"
    assert found.dropped["batteries.charge"] == "not included"
    assert found.options_of({}) == {"shift_direction": "online", "shift_div": 4}
    assert found.protocol == {
        "short_side": 40, "crop_size": 32, "test_size": 32, "num_segments": 4, "sampling": "dense",
    }  # fmt: skip


def test_it_loads_bit_for_bit_without_what_it_calls_unused(file, net):
    target = create_model("tsm_tiny", num_classes=5, num_frames=4)
    assert len(assign(target, read(file)).loaded) == len(net.state_dict())
    for name, array in arrays_of(net).items():
        np.testing.assert_array_equal(arrays_of(target)[name], array)
    decorated = to_layout(arrays_of(net), "toy") | {"trunk.layer1.9.conv1.weight": np.zeros(3)}
    np.savez(file.with_suffix(".npz"), **decorated)
    coverage = assign(target, read(file.with_suffix(".npz")))
    assert coverage.skipped["trunk.layer1.9.conv1.weight"] == "a decoration"


def test_it_converts_to_ours_and_back(tmp_path, file, net, capsys):
    ours, back = tmp_path / "ours" / "best.pdparams", tmp_path / "back.pth"
    convert.main([str(file), str(ours)])
    recipe = Recipe.from_json(tmp_path / "ours" / "recipe.json")
    expected = {
        "model": "tsm_tiny", "shift_direction": "online", "shift_div": 4, "num_segments": 4, "sampling": "dense",
        "test_size": 32,
    }  # fmt: skip
    assert recipe.options().items() >= expected.items()
    clips = paddle.to_tensor(np.random.default_rng(0).normal(size=(2, 4, 3, 32, 32)).astype(np.float32))
    again = from_recipe(recipe)
    assign(again, read(ours))
    net.eval()
    again.eval()
    np.testing.assert_array_equal(again(clips).numpy(), net(clips).numpy())
    convert.main([str(ours), str(back), "--target", "toy"])
    assert torch.load(back, weights_only=True).keys() == {"toys"}
    theirs = {name: value.numpy() for name, value in torch.load(file, weights_only=True)["toys"].items()}
    found = {name: value.numpy() for name, value in torch.load(back, weights_only=True)["toys"].items()}
    assert theirs.keys() - found.keys() == {"batteries.charge"}
    for name, array in found.items():
        np.testing.assert_array_equal(array, theirs[name])
    assert "(toy) as tsm_tiny" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--shift_direction", "mit"], "shift_direction is mit in the recipe, and online is built into toy"),
        (["--num_segments", "8"], "toy has no network of eight frames"),
    ],
)
def test_it_refuses_what_its_code_does_not_compute(tmp_path, file, flags, message):
    with pytest.raises(SystemExit, match=message), convert.command.clear_errors():
        convert.main([str(file), str(tmp_path / "out.npz"), "--target", "toy", *flags])
    assert not (tmp_path / "out.npz").exists()
    with pytest.raises(CheckpointError, match=r"doll.pth is a doll"):
        read(file.rename(tmp_path / "doll.pth"))


def test_the_commands_offer_it(capsys):
    with pytest.raises(SystemExit):
        convert.main(["--help"])
    assert capsys.readouterr().out.count("toy") >= 3  # --source, --target, the list of layouts
    with pytest.raises(CheckpointError, match=r"--source must be one of auto, ours, .*, toy, got 'nothing'"):
        translate({}, "x", "nothing")


def test_no_file_but_its_own_names_a_source():
    """As a string on its own, which is how a branch on a source looks."""
    places = [*ROOT.glob("weights/*.py"), *ROOT.glob("engine/*.py"), ROOT / "tools/convert.py", *ROOT.glob("*.py")]
    assert len(places) > 20
    for path in places:
        strings = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
        assert not strings & LAYOUTS.keys(), f"{path.relative_to(ROOT)} names {strings & LAYOUTS.keys()}"


def test_every_source_is_one_file_and_one_entry():
    files = {path.stem for path in (ROOT / "weights/layouts").glob("*.py")} - {"__init__"}
    assert files == {name.replace("-", "_").replace(".", "_") for name in LAYOUTS.keys() - {"toy"}}
