"""The three commands with weight files of other repositories, as they are."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
import torch

import predict
import train
from configs import Recipe
from models import create_model, from_recipe
from runtime import command
from tools import convert
from weights import read_file, to_layout

ROOT = Path(__file__).resolve().parents[2]


def save_as(path, net, layout):
    arrays = to_layout({name: tensor.numpy() for name, tensor in net.state_dict().items()}, layout)
    if path.suffix == ".pdparams":
        path.write_bytes(pickle.dumps(arrays))
    else:
        torch.save({"state_dict": {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}}, path)
    return str(path)


@pytest.fixture
def video(motion_videos):
    return str(next((motion_videos / "val").rglob("*.mp4")))


def small(*more):
    return ["--short_side", "36", "--crop_size", "32", "--test_size", "32", "--threads", "1", *more]


@pytest.mark.whole
def test_predict_and_test_take_a_file_of_mmaction2_as_they_take_the_converted_one(
    tmp_path, motion_videos, video, capsys
):
    net = create_model("tsm_r18", num_classes=8, num_frames=8)
    path = save_as(tmp_path / "tsm_r18_1x1x8_mine.pth", net, "mmaction2")
    convert.main([path, str(tmp_path / "ours" / "best.pdparams"), *small()[:-2]])
    capsys.readouterr()
    predict.main(["--video", video, "--pretrained", path, *small()])
    directly = capsys.readouterr().out
    predict.main(["--video", video, "--pretrained", str(tmp_path / "ours" / "best.pdparams"), "--threads", "1"])
    assert directly == capsys.readouterr().out
    assert directly.startswith("Top1 class:")
    flags = ["--dataset_root", motion_videos, "--pretrained", path, "--output_dir", tmp_path / "report", *small()]
    done = subprocess.run(
        [sys.executable, "test.py", *map(str, flags)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "tsm_r18 on" in done.stdout


def test_a_training_starts_from_them_and_takes_over_what_they_need(tmp_path, motion_videos, capsys):
    net = create_model("tsm_tiny", num_classes=400, num_frames=8, shift_direction="paddle")
    path = save_as(tmp_path / "TSM_k400.pdparams", net, "paddlevideo")
    flags = [
        "--dataset_root",
        motion_videos,
        "--output_dir",
        tmp_path / "run",
        "--preset",
        "demo_tsm",
        "--pretrained",
        path,
    ]
    flags += ["--max_epochs", 1, "--batch_size", 4, "--num_workers", 0, "--threads", 1, "--lr", 1e-6]
    flags += ["--num_segments", 8, "--clip_len", 1, "--sampling", "mit"]
    train.main(list(map(str, flags)))
    shown = capsys.readouterr().out
    assert "recipe    taken from the weights: shift_direction paddle, shift_div 8" in shown
    assert "100 tensors loaded (layout paddlevideo); 1 left as initialized: the classifier of another size" in shown
    assert "cls_head.new_fc.bias is [400] in the file and [8] in the model" in shown
    recipe = Recipe.from_json(tmp_path / "run" / "recipe.json")
    assert (recipe.network.shift_direction, recipe.network.shift_div) == ("paddle", 8)
    trained = read_file(tmp_path / "run" / "last.pdparams")
    before = net.backbone.conv1.weight.numpy()
    np.testing.assert_allclose(trained["backbone.conv1.weight"], before, atol=1e-3)
    load = from_recipe(recipe).set_state_dict({name: paddle.to_tensor(array) for name, array in trained.items()})
    assert load == ([], [])


class Attack:
    """Unpickling this creates a folder."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (os.mkdir, (str(self.trace),))


@pytest.mark.parametrize("name", ["predict", "train", "convert"])
def test_a_malicious_file_is_one_error_and_is_not_run(tmp_path, motion_videos, video, name):
    torch.save(
        {"state_dict": {"conv1.weight": torch.ones(1)}, "hook": Attack(tmp_path / "executed")}, tmp_path / "w.pth"
    )
    weights = str(tmp_path / "w.pth")
    calls = {
        "predict": lambda: predict.main(["--video", video, "--pretrained", weights]),
        "train": lambda: train.main(
            ["--dataset_root", str(motion_videos), "--pretrained", weights, "--output_dir", str(tmp_path / "run")]
        ),
        "convert": lambda: convert.main([weights, str(tmp_path / "out" / "w.pdparams")]),
    }
    with (
        pytest.raises(SystemExit, match=r"w.pth is a pickle that calls posix.mkdir; only arrays are read"),
        command.clear_errors(),
    ):
        calls[name]()
    assert not (tmp_path / "executed").exists()
