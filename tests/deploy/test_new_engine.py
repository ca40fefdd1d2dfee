"""An engine is one module and one entry: everything that chooses, checks and runs engines takes a new one as it is."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from deploy import engines, export
from deploy.engines import check_settings, open_engine, readers
from deploy.interface import Settings
from runtime.errors import UserError

pytest.importorskip("onnx")
pytest.importorskip("paddle2onnx")


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """The entry of the engine `toy`."""
    spec = importlib.util.spec_from_file_location("toy_engine", Path(__file__).with_name("toy_engine.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(engines.ENGINES, "toy", module.ENGINE)


def test_it_runs_an_artifact(exported, clips):
    engine = open_engine("toy", exported, threads=1)
    assert engine.facts["engine"] == "toy"
    expected = open_engine("paddle", exported, threads=1)(clips)
    np.testing.assert_allclose(engine(clips), expected, atol=1e-4)


def test_commands_offer_it(checkpoint, motion_videos, command, tmp_path):
    weights = shutil.copytree(checkpoint.parent, tmp_path / "run") / "best.pdparams"
    (weights.parent / "classes.txt").unlink()  # which are not those of the videos
    video = next(motion_videos.rglob("*.mp4"))
    printed, confusion = {}, {}
    for name in ("dygraph", "toy"):
        common = ("--pretrained", weights, "--engine", name, "--views", "quick", "--threads", 1)
        code, printed[name] = command("predict.py", *common, "--video", video)
        assert code == 0
        report = tmp_path / name
        code, _ = command(
            "test.py", *common, "--dataset_root", motion_videos, "--num_workers", 0, "--output_dir", report
        )
        assert code == 0
        record = json.loads((report / "test.json").read_text())
        confusion[name] = record["confusion"]
    assert record["engine"] == "toy"
    assert confusion["toy"] == confusion["dygraph"]
    lines = [[line.rpartition(" ")[0] for line in text.splitlines()] for text in printed.values()]
    assert lines[0] == lines[1]
    assert len(lines[0]) == 6  # the first class, and five with their probabilities, here without


def test_what_it_cannot_do_is_refused_by_its_data():
    with pytest.raises(UserError, match="--engine toy has no bf16: take --engine openvino or paddle"):
        check_settings("toy", Settings("bf16"))
    with pytest.raises(UserError, match="--engine toy computes on CPU: take --engine paddle for a GPU"):
        check_settings("toy", Settings(gpu=0))


def test_exports_are_checked_by_it():
    assert readers("onnx") == ["onnxruntime", "openvino", "toy"]
    assert export._checkers("onnx")[-1] == "toy"
