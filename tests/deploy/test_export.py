"""The command that exports: what it leaves, and that nothing is left of what does not agree with the model."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from deploy import export, folding
from deploy.artifact import ArtifactError, open_artifact, whole_artifact
from deploy.engines import open_engine
from deploy.formats import FORMATS
from deploy.parity import check_spread, parity_clips
from deploy.signature import Signature, TensorSpec
from deploy.writers import write_graph
from engine.checkpoint import pickled
from runtime.errors import UserError
from runtime.lock import LockedError
from runtime.owned import FOLDER, ForeignError
from weights import read_file

ROOT = Path(__file__).resolve().parents[2]


def run(weights, folder, *flags):
    export.main([str(flag) for flag in ("--pretrained", weights, "--output", folder, "--threads", 1, *flags)])


def rewrite(weights, folder, change):
    """A copy of a run directory with other tensors."""
    folder.mkdir()
    for name in ("recipe.json", "classes.txt"):
        (folder / name).write_text((weights.parent / name).read_text())
    (folder / "best.pdparams").write_bytes(pickled(change(read_file(weights))))
    return folder / "best.pdparams"


def test_artifact_is_whole_and_its_record_says_what_it_is(exported, checkpoint):
    files = {file for name, form in FORMATS.items() if name != "legacy" and not form.lack for file in form.files}
    beside = {"recipe.json", "classes.txt", "export.json", "legacy", FOLDER}
    assert {path.name for path in exported.iterdir()} == files | beside
    assert {path.name for path in (exported / "legacy").iterdir()} == {
        "inference.pdmodel", "inference.pdiparams", "recipe.json", "classes.txt", "export.json",
    }  # fmt: skip
    record = json.loads((exported / "export.json").read_text())
    assert record["model"] == "tsm_tiny"
    assert record["signature"] == {
        "inputs": [{"name": "clips", "shape": [None, 8, 3, 32, 32], "dtype": "float32"}],
        "outputs": [{"name": "logits", "shape": [None, 8], "dtype": "float32"}],
        "states": [],
    }
    assert record["weights"]["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    for name, digest in record["files"].items():
        assert hashlib.sha256((exported / name).read_bytes()).hexdigest() == digest
    assert record["versions"]["paddlepaddle"].startswith("3.")
    assert open_artifact(exported).class_names[7] == "class_7"


def test_every_format_agrees_with_the_model(exported):
    parity = json.loads((exported / "export.json").read_text())["parity"]
    parity["legacy"] = json.loads((exported / "legacy" / "export.json").read_text())["parity"]["paddle"]
    assert {"paddle", "legacy", "onnxruntime"} <= set(parity)
    for figures in parity.values():
        assert figures["top1"] == 1
        assert figures["max_difference"] < 1e-4
        assert figures["spread"] > 0.1


@pytest.fixture
def wrong_graph(monkeypatch):
    """Exports a network in which one kernel is a little off."""

    def faulty(*arguments):
        copy = fused(*arguments)
        weight = copy.backbone.layer4[1].conv2.weight
        weight.set_value(weight * 1.01)
        return copy

    fused = folding.fused
    monkeypatch.setattr(folding, "fused", faulty)


def test_a_graph_that_differs_is_not_kept(checkpoint, tmp_path, wrong_graph):
    with pytest.raises(UserError, match=r"paddle differs from the trained model by .*: the artifact is not kept"):
        run(checkpoint, tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_an_older_artifact_survives_a_failing_export_and_is_replaced_by_a_good_one(
    checkpoint, artifact, wrong_graph, monkeypatch
):
    before = (artifact / "export.json").read_text()
    with pytest.raises(UserError, match="not kept"):
        run(checkpoint, artifact)
    assert (artifact / "export.json").read_text() == before
    monkeypatch.undo()
    run(checkpoint, artifact, "--views", "quick")
    assert json.loads((artifact / "export.json").read_text())["views"] == "quick"
    assert not (artifact / "inference.onnx").exists()
    assert [path.name for path in artifact.parent.iterdir()] == [artifact.name]


def test_an_older_artifact_comes_back_when_the_new_one_cannot_take_its_place(artifact, monkeypatch):
    replace = os.replace

    def refused(source, target):
        if Path(source).name.endswith(".unfinished") and Path(target) == artifact:
            raise OSError("no")
        replace(source, target)

    monkeypatch.setattr("runtime.owned._exchange", lambda left, right: False)
    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(ArtifactError, match=r"cannot write .*: no"), whole_artifact(artifact):
        pass
    assert [path.name for path in artifact.parent.iterdir()] == [artifact.name]
    assert open_artifact(artifact).recipe.network.model == "tsm_tiny"


@pytest.mark.whole
def test_paddle_2_alone_needs_no_folder_of_its_own_and_is_replaced(checkpoint, tmp_path):
    for _ in range(2):
        run(checkpoint, tmp_path / "old", "--formats", "legacy")
    assert (tmp_path / "old" / "inference.pdmodel").is_file()
    assert open_engine(None, tmp_path / "old", threads=1).facts["engine"] == "paddle"


def test_other_files_are_never_replaced(checkpoint, tmp_path):
    (tmp_path / "thesis.txt").write_text("words")
    with pytest.raises(ForeignError, match=r"thesis\.txt was not written by this program"):
        run(checkpoint, tmp_path)
    (tmp_path / "export.json").write_text("{}")
    with pytest.raises(UserError, match=r"export\.json is damaged"):
        run(checkpoint, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "words"


@pytest.mark.parametrize("name", ["notes.txt", "legacy/notes.txt", "inference.json", "classes.txt"])
@pytest.mark.parametrize("has_mark", [True, False])
def test_an_artifact_that_somebody_changed_is_not_replaced(artifact, name, has_mark):
    if not has_mark:  # of a version that kept no record
        shutil.rmtree(artifact / FOLDER)
    (artifact / name).parent.mkdir(exist_ok=True)
    (artifact / name).write_text("mine")
    with pytest.raises(ForeignError, match=Path(name).name), whole_artifact(artifact):
        pass
    assert (artifact / name).read_text() == "mine"


def test_an_artifact_of_a_version_without_records_is_replaced_behind_a_link(artifact, tmp_path):
    shutil.rmtree(artifact / FOLDER)
    (tmp_path / "link").symlink_to(artifact)
    with whole_artifact(tmp_path / "link") as place:
        (place / "export.json").write_text("{}")
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in artifact.iterdir()) == [FOLDER, "export.json"]


def test_an_artifact_is_written_by_one_process_at_a_time(artifact):
    with (
        whole_artifact(artifact),
        pytest.raises(LockedError, match=r"another process writes .* \(process \d+ on "),
        whole_artifact(artifact),
    ):
        pass


@pytest.mark.whole
def test_no_graph_names_a_path_of_this_machine(checkpoint, tmp_path):
    pytest.importorskip("paddle2onnx")
    run(checkpoint, tmp_path / "all", "--formats", "paddle", "legacy", "onnx")
    files = [path for path in (tmp_path / "all").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".json", ".pdmodel", ".pdiparams", ".onnx"}
    for path in files:
        for place in (ROOT, Path.home(), Path(sys.prefix), tmp_path):
            assert os.fsencode(place) not in path.read_bytes(), path
        assert b"site-packages" not in path.read_bytes(), path


def scaled(name, factor):
    """A change that multiplies one tensor."""
    return lambda arrays: {**arrays, f"cls_head.new_fc.{name}": arrays[f"cls_head.new_fc.{name}"] * np.float32(factor)}


BAD = {
    "without classifier": (
        lambda arrays: {name: array for name, array in arrays.items() if "new_fc" not in name}, "holds no classifier",
    ),
    "never trained": (scaled("weight", 0), "the same scores to every clip, as untrained weights do"),
    "not finite": (scaled("bias", np.nan), "not finite"),
    "of another model": (
        lambda arrays: {name: array for name, array in arrays.items() if "layer3.1.conv2" not in name}, "layer3",
    ),
    "of other classes": (
        lambda arrays: {name: array[..., :5] if "new_fc" in name else array for name, array in arrays.items()},
        "has 5 classes, the recipe 8",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_checkpoint_leaves_nothing(case, checkpoint, tmp_path):
    change, message = BAD[case]
    weights = rewrite(checkpoint, tmp_path / "run", change)
    with pytest.raises(UserError, match=message):
        run(weights, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.whole
def test_sigterm_leaves_nothing_unfinished(checkpoint, tmp_path):
    command = [sys.executable, "-m", "deploy.export", "--pretrained", checkpoint, "--output", tmp_path / "artifact"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("inference.json")):  # the graph is there, its check begins
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.terminate()
    assert process.wait(30) == 143
    assert not list(tmp_path.iterdir())


def test_onnx_without_an_engine_to_check_it_is_refused(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs onnxruntime or openvino .* requirements-deploy.txt"):
        export._checkers("onnx")


def test_parity_clips_are_the_users_videos_and_two_at_least(checkpoint, motion_videos):
    recipe = open_recipe(checkpoint)
    video = next((motion_videos / "val" / "moving_left").iterdir())
    drawn, users = parity_clips([], recipe, "val"), parity_clips([str(video)], recipe, "val")
    assert drawn.shape == users.shape == (2, 8, 3, 32, 32)
    assert np.ptp(drawn, axis=0).max() > 0.5
    assert not np.array_equal(drawn[0], users[0])


def open_recipe(weights):
    from configs import Recipe

    return Recipe.from_json(weights.parent / "recipe.json")


def test_spread_is_of_the_clips():
    assert check_spread(np.array([[1.0, 2.0], [1.5, 2.0]]), "x") == 0.5
    with pytest.raises(UserError, match="every clip"):
        check_spread(np.array([[1.0, 2.0], [1.0, 2.0]]), "x")


def test_paddle_2_reads_the_six_of_relu6(tmp_path):
    """Paddle Lite does not convert an operator without its attribute, which Paddle 3 leaves out."""
    import paddle
    from paddle.base.proto import framework_pb2

    model = paddle.nn.Sequential(paddle.nn.Linear(3, 3), paddle.nn.ReLU6())
    model.eval()
    spec = TensorSpec("clips", (None, 3), "float32")
    write_graph("legacy", model, Signature((spec,), (TensorSpec("logits", (None, 3), "float32"),), ()), tmp_path)
    program = framework_pb2.ProgramDesc.FromString((tmp_path / "inference.pdmodel").read_bytes())
    (relu6,) = [operator for block in program.blocks for operator in block.ops if operator.type == "relu6"]
    assert {attribute.name: attribute.f for attribute in relu6.attrs}["threshold"] == 6.0
