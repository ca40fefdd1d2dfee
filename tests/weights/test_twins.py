"""The layout `pytorch`: a checkpoint of any family becomes a file that its twin loads, and ours again."""

import numpy as np
import paddle
import pytest
import torch

from alignment.certification.twins import create_twin
from configs import get_preset
from engine.checkpoint import pickled
from models import from_recipe
from tools import convert
from weights import read_file, translate


@pytest.mark.parametrize(
    ("preset", "options"),
    [
        ("demo_tsn", {"norm_eps": 0.001}),
        ("demo_tsm", {"shift_direction": "paddle", "shift_div": 4, "temporal_pool": True}),
        ("demo_mvf", {"mvf_share": True}),
        ("demo_tsm", {"model": "tsm_mobilenet_v2", "same_padding": True, "shift_place": "block"}),
    ],
)
def test_a_checkpoint_becomes_its_twins_and_ours_again(tmp_path, preset, options):
    paddle.seed(0)
    recipe = get_preset(preset).with_(num_classes=5, **options)
    ours = from_recipe(recipe)
    before = tmp_path / "ours" / "best.pdparams"
    before.parent.mkdir()
    before.write_bytes(pickled({name: tensor.numpy() for name, tensor in ours.state_dict().items()}))
    (before.parent / "recipe.json").write_text(recipe.to_json())
    convert.main([str(before), str(tmp_path / "twin.pth"), "--target", "pytorch"])
    twin = create_twin(recipe.network, num_classes=5, num_frames=recipe.clip.num_frames)
    twin.load_state_dict(torch.load(tmp_path / "twin.pth", weights_only=True)["state_dict"])
    clips = np.random.default_rng(0).normal(size=(2, recipe.clip.num_frames, 3, 32, 32)).astype(np.float32)
    ours.eval()
    twin.eval()
    with torch.no_grad():
        np.testing.assert_allclose(twin(torch.tensor(clips)).numpy(), ours(paddle.to_tensor(clips)).numpy(), atol=1e-4)
    after = tmp_path / "back" / "best.pdparams"
    flags = [flag for name, value in options.items() for flag in _flag(name, value)]
    convert.main([str(tmp_path / "twin.pth"), str(after), "--source", "pytorch", *flags])
    expected, found = read_file(before), read_file(after)
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def _flag(name, value):
    return [f"--{name}"] if value is True else [f"--{name}", str(value)]


def test_a_public_file_with_our_names_stays_its_authors():
    paddle.seed(0)
    arrays = {name: tensor.numpy() for name, tensor in from_recipe(get_preset("demo_mvf"), 5).state_dict().items()}
    theirs = {name.replace("._mean", ".running_mean").replace("._variance", ".running_var"): array
              for name, array in arrays.items()}  # fmt: skip
    assert translate(theirs, "k400_mvf.pth").layout == "mvfnet"
