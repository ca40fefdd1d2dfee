"""A checkpoint with random weights that tell clips apart, and its artifact in every format."""

import shutil

import numpy as np
import paddle
import pytest

from configs import get_preset
from datasets.demo import CLASS_NAMES
from deploy import export
from deploy.formats import FORMATS
from engine.checkpoint import pickled
from models import from_recipe
from models.recognizer import batch_norms


def settle(model, recipe):
    """Gives a new model statistics as after training, and a classifier that is sure of itself."""
    paddle.seed(3)
    model.train()
    for norm in batch_norms(model):
        norm._momentum = 0.0
    model(paddle.randn([2, recipe.clip.num_frames, 3, recipe.pixels.crop_size, recipe.pixels.crop_size]))
    for norm in batch_norms(model):
        norm.weight.set_value(1 + 0.2 * paddle.rand(norm.weight.shape))
        norm.bias.set_value(0.1 * paddle.randn(norm.bias.shape))
    model.cls_head.new_fc.weight.set_value(model.cls_head.new_fc.weight * 20)
    model.eval()
    return model


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory):
    """Writes a run directory: (preset, class names, **recipe fields) -> the path of its weights."""

    def make(preset, class_names=tuple(f"class_{label}" for label in range(8)), **fields):
        recipe = get_preset(preset).with_(num_classes=8, **fields)
        folder = tmp_path_factory.mktemp(recipe.network.model)
        state = settle(from_recipe(recipe), recipe).state_dict()
        arrays = {name: tensor.numpy() for name, tensor in state.items()}
        (folder / "best.pdparams").write_bytes(pickled(arrays))
        (folder / "recipe.json").write_text(recipe.to_json())
        (folder / "classes.txt").write_text("".join(f"{name}\n" for name in class_names))
        return folder / "best.pdparams"

    return make


@pytest.fixture(scope="session")
def checkpoint(make_checkpoint):
    """Weights of tsm_tiny for 8 frames of 32 pixels, with two temporal views in a test."""
    return make_checkpoint("demo_tsm", test_clips=2, sampling="mmaction0", test_size=32)


@pytest.fixture(scope="session")
def exported(checkpoint, tmp_path_factory):
    """The artifact of `checkpoint`, in every format that can be made here; not to be changed."""
    pytest.importorskip("paddle2onnx")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("artifact") / "tsm"
    export.main(["--pretrained", str(checkpoint), "--output", str(folder), "--threads", "1",
                 "--formats", *(name for name, form in FORMATS.items() if not form.lack)])  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def online_checkpoint(make_checkpoint):
    """Weights of tsm_tiny whose shift looks back alone."""
    return make_checkpoint("demo_tsm", test_size=32, shift_direction="online")


@pytest.fixture(scope="session")
def stream_artifact(online_checkpoint, tmp_path_factory):
    """In every format that can be made here; not to be changed."""
    pytest.importorskip("paddle2onnx")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("stream") / "artifact"
    export.main(["--pretrained", str(online_checkpoint), "--output", str(folder), "--stream", "--threads", "1",
                 "--formats", *(name for name, form in FORMATS.items() if not form.lack)])  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def of_the_demo_set(make_checkpoint, tmp_path_factory):
    """(weights that know the classes of `motion_videos`, their artifact with an ONNX graph); not to be changed."""
    pytest.importorskip("paddle2onnx")
    weights = make_checkpoint("demo_tsm", CLASS_NAMES)
    folder = tmp_path_factory.mktemp("artifact") / "demo"
    export.main(
        ["--pretrained", str(weights), "--output", str(folder), "--threads", "1", "--formats", "paddle", "onnx"]
    )
    return weights, folder


@pytest.fixture
def artifact(exported, tmp_path):
    """A copy of the artifact that a test may damage."""
    return shutil.copytree(exported, tmp_path / "artifact")


@pytest.fixture(scope="session")
def clips():
    """Noise, float32 [5, 8, 3, 32, 32]."""
    return np.random.default_rng(5).standard_normal((5, 8, 3, 32, 32), dtype=np.float32)
