"""A checkpoint with random weights that tell clips apart, and its artifact in every format."""

import shutil

import numpy as np
import pytest

from datasets.demo import CLASS_NAMES
from deploy import export
from deploy.formats import FORMATS


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
