"""Engines agree with the model, and say in one line what they cannot do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest

from configs import cli
from deploy.artifact import write_record
from deploy.engines import ENGINES, open_engine
from deploy.interface import Settings
from engine.pretrained import load_pretrained
from runtime import cpu
from runtime.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def logits(checkpoint, clips):
    """Of the clips, by dygraph, float32 [5, 8]."""
    import argparse

    parser = argparse.ArgumentParser()
    cli.add_checkpoint_flags(parser)
    cli.add_beside_flags(parser)
    model = load_pretrained(str(checkpoint)).model
    with paddle.no_grad():
        return model(paddle.to_tensor(clips)).numpy()


@pytest.mark.parametrize("name", ENGINES)
def test_engine_agrees_with_dygraph_in_any_batch(name, exported, clips, logits):
    pytest.importorskip(ENGINES[name].package)
    engine = open_engine(name, exported, threads=1)
    for batch in (1, 2, 5, 1):
        found = engine(clips[:batch])
        assert found.dtype == np.float32
        assert np.abs(found - logits[:batch]).max() < 1e-4
        assert (found.argmax(axis=1) == logits[:batch].argmax(axis=1)).all()
    assert np.ptp(logits, axis=0).max() > 0.1


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("folder", [".", "legacy"])
def test_paddle_runs_both_formats_with_onednn_and_really_without(folder, onednn, exported, clips, logits):
    engine = open_engine("paddle", exported / folder, threads=1, onednn=onednn)
    assert engine.facts["enable_mkldnn"] is onednn
    assert np.abs(engine(clips) - logits).max() < 1e-4


@pytest.mark.parametrize("name", ["paddle", "openvino"])
def test_bf16_is_computed_only_when_asked_for(name, exported, clips, logits):
    pytest.importorskip(name)
    try:
        engine = open_engine(name, exported, precision="bf16", threads=1)
    except UserError as error:
        pytest.skip(str(error))
    error = np.abs(engine(clips) - logits).max()
    assert 1e-4 < error < 0.1 * np.abs(logits).max()
    assert engine.facts["precision"] == "bf16"


def test_bf16_needs_a_cpu_that_has_it(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("flags : fpu avx2 avx512f\n")
    with pytest.raises(UserError, match="needs a CPU with avx512_bf16"):
        open_engine("paddle", exported, precision="bf16")


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_an_engine_that_is_not_installed_names_the_command(name, exported, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"--engine {name} is not installed here .*pip install {name}"):
        open_engine(name, exported)


def with_version(artifact, distribution, version):
    record = json.loads((artifact / "export.json").read_text())
    record["versions"][distribution] = version
    (artifact / "export.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("name", "title", "distribution"), [("paddle", "Paddle", "paddlepaddle"), ("mnn", "MNN", "MNN"), ("ncnn",) * 3]
)
def test_a_graph_of_a_later_version_is_refused(name, title, distribution, artifact):
    pytest.importorskip(ENGINES[name].package)
    with_version(artifact, distribution, "9.9.0")
    way = rf"exported by {title} 9\.9\.0, this is .*pip install {distribution}==9\.9\.0"
    with pytest.raises(UserError, match=way):
        open_engine(name, artifact)


def test_a_graph_of_an_earlier_version_is_read_where_the_engine_promises_it(artifact, clips):
    pytest.importorskip("MNN")
    with_version(artifact, "MNN", "3.5.0")
    with_version(artifact, "paddlepaddle", "3.0.0")
    assert open_engine("mnn", artifact, threads=1)(clips).shape[0] == len(clips)
    with pytest.raises(UserError, match=r"exported by Paddle 3\.0\.0"):
        open_engine("paddle", artifact)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("paddle", "inference.pdiparams"),
        ("onnxruntime", "inference.onnx"),
        ("paddle", "recipe.json"),
        ("paddle", "classes.txt"),
    ],
)
def test_a_truncated_file_is_named(name, file, artifact):
    data = (artifact / file).read_bytes()
    (artifact / file).write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=rf"{file} \(\d+ bytes\) is truncated or was changed"):
        open_engine(name, artifact)


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("paddle", "inference.pdiparams", "has no inference.pdiparams: export it with --formats paddle"),
        ("onnxruntime", "inference.onnx", "has no inference.onnx: export it with --formats onnx"),
        ("paddle", "export.json", "has no export.json: make it with python -m deploy.export"),
    ],
)
def test_a_missing_file_is_named(name, file, message, artifact):
    (artifact / file).unlink()
    with pytest.raises(UserError, match=message):
        open_engine(name, artifact)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"version": 2}', "is damaged"),
        ('{"version": 99}', "has version 99"),
    ],
)
def test_a_record_that_is_none(text, message, artifact):
    (artifact / "export.json").write_text(text)
    with pytest.raises(UserError, match=message):
        open_engine("paddle", artifact)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "tensorrt"}, "engine must be one of onnxruntime, openvino, paddle, mnn, ncnn, got 'tensorrt'"),
        ({"precision": "fp64"}, "precision must be one of"),
        ({"name": "onnxruntime", "precision": "int8"}, "holds fp32 weights, asked for int8: make int8 with"),
        ({"precision": "int8"}, "paddle has no int8: take --engine onnxruntime"),
        ({"name": "onnxruntime", "precision": "bf16"}, "onnxruntime has no bf16"),
        ({"precision": "bf16", "onednn": False}, "is oneDNN's"),
        ({"name": "openvino", "gpu": 0}, "computes on CPU: take --engine paddle for a GPU"),
    ],
)
def test_what_cannot_be_is_refused(options, message, exported):
    with pytest.raises(UserError, match=message):
        open_engine(**{"name": "paddle", "model_dir": exported, **options})


@pytest.mark.skipif(paddle.is_compiled_with_cuda(), reason="this Paddle may have a GPU")
def test_a_gpu_that_is_not_there(exported):
    with pytest.raises(UserError, match="this Paddle has no GPU to use"):
        open_engine("paddle", exported, gpu=0)


def test_clips_of_another_size_name_the_flags(exported):
    engine = open_engine("onnxruntime", exported, threads=1)
    with pytest.raises(UserError, match=r"takes clips of 8 frames of 32x32, got \[4, 3, 32, 32\]"):
        engine(np.zeros((1, 4, 3, 32, 32), np.float32))


@pytest.mark.parametrize(("given", "threads"), [("3", 3), ("3,2", 3), ("x", 2), ("", 2)])
def test_threads_are_those_of_the_environment(given, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert Settings().num_threads == threads
    assert Settings(threads=5).num_threads == 5


@pytest.mark.parametrize(("name", "file"), [("paddle", "inference.json"), ("onnxruntime", "inference.onnx"),
                                            ("openvino", "inference.onnx")])  # fmt: skip
def test_a_graph_that_the_engine_cannot_read_is_one_line(name, file, artifact):
    pytest.importorskip(name)
    record = json.loads((artifact / "export.json").read_text())
    (artifact / file).write_bytes(b"not a graph")
    write_record(artifact, {key: value for key, value in record.items() if key not in ("version", "files")})
    with pytest.raises(UserError, match=rf"{file} does not load in {name}: "):
        open_engine(name, artifact)


REMARK = """
import tempfile
from pathlib import Path
from runtime import preparation
preparation.prepare("cpu", threads=1)
from paddle import nn
from deploy.engines import open_graph
from deploy.interface import Settings
from deploy.signature import Signature
from deploy.writers import write_graph
class Mean(nn.Layer):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)
    def forward(self, x):
        return self.fc(x.mean([1, 3, 4]))
model = Mean()
model.eval()
signature = Signature.of_clips((4, 3, 8, 8))
with tempfile.TemporaryDirectory() as folder:
    engine = open_graph("paddle", write_graph("paddle", model, signature, Path(folder)), Settings(threads=1))
print(engine(signature.inputs[0].zeros()).shape)
"""


def test_a_remark_of_paddles_core_is_no_output_of_ours(tmp_path):
    (tmp_path / "remark.py").write_text(REMARK)  # a file, whose source Paddle can trace
    done = subprocess.run(
        [sys.executable, tmp_path / "remark.py"], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "(1, 4)\n"
