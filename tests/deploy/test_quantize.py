"""Post-training quantization: the int8 artifact runs, is near to the float one, and says what it costs."""

import json
import shutil
import sys

import numpy as np
import pytest

from configs import Recipe
from datasets import load_views
from datasets.demo import CLASS_NAMES
from deploy import infer, quantize
from deploy.artifact import open_artifact, write_record
from deploy.engines import open_engine
from runtime.errors import UserError
from tasks.view_scores import score_views

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture
def named(artifact):
    """The artifact under the class names of the embedded set."""
    record = open_artifact(artifact).record
    (artifact / "classes.txt").write_text("".join(f"{name}\n" for name in CLASS_NAMES))
    write_record(artifact, {key: value for key, value in record.items() if key not in ("version", "files")})
    return artifact


def run(model_dir, output, data, *flags):
    argv = ["--model_dir", model_dir, "--output", output, "--dataset_root", data, "--threads", 1, "--clips", 8, *flags]
    quantize.main([str(word) for word in argv])


@pytest.mark.parametrize("method", quantize.METHODS)
def test_int8_is_near_to_fp32_and_not_equal(method, named, motion_videos, tmp_path, capsys):
    run(named, tmp_path / "int8", motion_videos, "--method", method)
    record = json.loads((tmp_path / "int8" / "export.json").read_text())
    assert record["precision"] == "int8"
    assert record["quantization"]["clips"] == 8
    said = capsys.readouterr().out
    for precision, accuracy in record["quantization"]["top1_acc"].items():
        assert f"top1_acc {precision}: {accuracy:.4f}" in said
    assert len(said.splitlines()) == 4  # none of ONNX Runtime's hundreds
    videos = sorted((motion_videos / "val").rglob("*.mp4"))
    recipe = Recipe.from_json(named / "recipe.json")
    clips = np.concatenate([load_views(str(video), recipe) for video in videos])
    exact, found = (open_engine("onnxruntime", folder, threads=1)(clips) for folder in (named, tmp_path / "int8"))
    assert 1e-3 < np.abs(found - exact).mean() / exact.std(axis=0).mean() < 0.5
    graph = "inference.onnx"
    assert (tmp_path / "int8" / graph).stat().st_size < 0.5 * (named / graph).stat().st_size


def test_accuracy_is_that_of_each_graph_on_the_validation_videos(named, motion_videos, tmp_path):
    run(named, tmp_path / "int8", motion_videos)
    said = json.loads((tmp_path / "int8" / "export.json").read_text())["quantization"]["top1_acc"]
    names = (named / "classes.txt").read_text().split()
    recipe = Recipe.from_json(named / "recipe.json")
    for precision, folder in (("fp32", named), ("int8", tmp_path / "int8")):
        engine = open_engine(None, folder, threads=1)
        assert engine.facts["precision"] == precision
        hits = [
            names[
                score_views(engine, load_views(str(video), recipe)[None], average=recipe.clip.average_views)[0].argmax()
            ]
            == video.parent.name
            for video in (motion_videos / "val").rglob("*.mp4")
        ]
        assert said[precision] == np.mean(hits)


def test_the_engine_of_int8_need_not_be_named_and_its_source_not_overwritten(named, motion_videos, tmp_path, capsys):
    with pytest.raises(UserError, match="is the artifact itself"):
        run(named, named, motion_videos)
    run(named, tmp_path / "int8", motion_videos)
    infer.main(["--model_dir", str(tmp_path / "int8"), "--video", str(next(motion_videos.rglob("*.mp4")))])
    assert "Top1 class:" in capsys.readouterr().out
    with pytest.raises(UserError, match="paddle has no int8: take --engine onnxruntime"):
        open_engine("paddle", tmp_path / "int8")


def test_calibration_clips_are_spread_over_the_training_videos(named, motion_videos):
    dataset = quantize._dataset(open_artifact(named), str(motion_videos), "train", "")
    clips = quantize.calibration_clips(dataset, 5)
    assert [clip.shape for clip in clips] == [(1, 8, 3, 32, 32)] * 5
    assert len({clip.tobytes() for clip in clips}) == 5


def test_class_folders_are_read_by_the_names_of_the_artifact(named, motion_videos, tmp_path):
    """Whatever they sort as, and however many of the classes they are."""
    kept = sorted(CLASS_NAMES)[2:4]
    for name in kept:
        shutil.copytree(motion_videos / "val" / name, tmp_path / "val" / name)
    found = quantize._dataset(open_artifact(named), str(tmp_path), "val", "").annotation
    assert found.class_names == tuple(CLASS_NAMES)
    assert {entry.target for entry in found.entries} == {CLASS_NAMES.index(name) for name in kept}


def test_what_cannot_be_quantized_is_refused(artifact, motion_videos, tmp_path):
    with pytest.raises(UserError, match=r"train has class .*, which the weights do not know"):
        run(artifact, tmp_path / "int8", motion_videos)
    listed = tmp_path / "listed"
    listed.mkdir()
    shutil.copy(motion_videos / "classes.txt", listed)
    for split in ("train", "val"):
        (listed / f"{split}.txt").write_text(f"{next((motion_videos / split).rglob('*.mp4'))} 0\n")
    with pytest.raises(UserError, match=r"the classes of .* are not those of"):
        run(artifact, tmp_path / "int8", listed)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(UserError, match="file was not written by this program"):
        run(artifact, tmp_path / "other", motion_videos)
    record = json.loads((artifact / "export.json").read_text())
    (artifact / "export.json").write_text(json.dumps(record | {"precision": "int8"}))
    with pytest.raises(UserError, match="holds int8 weights already"):
        run(artifact, tmp_path / "int8", motion_videos)
    assert not (tmp_path / "int8").exists()
    assert not list(tmp_path.glob(".int8*"))


def test_a_missing_package_names_the_command(named, motion_videos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime.quantization.shape_inference", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-deploy\.txt"):
        run(named, tmp_path / "int8", motion_videos)
    assert not (tmp_path / "int8").exists()


def one_convolution(path, kernel, groups=1):
    """An ONNX file of a convolution of `x` over images, or over clips, of 5 places an axis."""
    onnx = pytest.importorskip("onnx")
    helper, from_array = onnx.helper, onnx.numpy_helper.from_array
    axes = kernel.ndim - 2
    given = helper.make_tensor_value_info("x", 1, [1, kernel.shape[1] * groups, *[5] * axes])
    result = helper.make_tensor_value_info("y", 1, [1, len(kernel), *[6 - side for side in kernel.shape[2:]]])
    node = helper.make_node("Conv", ["x", "kernel", "bias"], ["y"], name="conv", group=groups)
    tensors = [from_array(kernel, "kernel"), from_array(np.ones(len(kernel), np.float32), "bias")]
    graph = helper.make_graph([node], "one", [given], [result], tensors)
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), str(path))


def outputs(path, clips, level="ORT_ENABLE_ALL"):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(str(path), options)
    return np.concatenate([session.run(None, {"x": clip})[0] for clip in clips])


@pytest.mark.parametrize(("axes", "groups"), [(2, 1), (2, 4), (3, 1)])
def test_the_rounding_of_kernels_moves_no_mean(axes, groups, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(8, 4 // groups, *[3] * axes)).astype(np.float32)
    kernel[(slice(None), 0, *[0] * axes)] = 40  # beside which a step of the rounding is large
    one_convolution(tmp_path / "fp32.onnx", kernel, groups)
    clips = [(3 + rng.normal(size=(1, 4, *[5] * axes))).astype(np.float32) for _ in range(8)]
    exact = outputs(tmp_path / "fp32.onnx", clips)

    def moved():
        quantize.quantize_graph(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", clips, "minmax")
        found = outputs(tmp_path / "int8.onnx", clips)
        return np.abs((found - exact).mean(axis=(0, *range(2, 2 + axes)))).max()

    corrected = moved()
    monkeypatch.setattr(quantize, "correct_biases", lambda *_: None)
    assert corrected < moved() / 4


def test_int8_is_computed_as_it_is_meant(tmp_path):
    """A CPU without VNNI adds two products in 16 bits, which do not hold those of 8 bits each."""
    rng = np.random.default_rng(0)
    one_convolution(tmp_path / "fp32.onnx", rng.uniform(0.8, 1, (8, 64, 1, 1)).astype(np.float32))
    clips = [rng.uniform(0.8, 1, (1, 64, 5, 5)).astype(np.float32) for _ in range(4)]
    quantize.quantize_graph(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", clips, "minmax")
    meant = outputs(tmp_path / "int8.onnx", clips, "ORT_DISABLE_ALL")  # in float, rounded where the graph says
    np.testing.assert_allclose(outputs(tmp_path / "int8.onnx", clips), meant, rtol=0.01)
