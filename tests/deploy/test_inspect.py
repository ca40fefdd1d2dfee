"""Each engine's tensors beside dygraph's; a fault inside an engine's own file is named by its layer."""

import copy
import json
import shutil

import numpy as np
import pytest

from deploy import inspect
from deploy.artifact import open_artifact, write_record
from deploy.engines import ENGINES
from deploy.folding import fused
from deploy.formats import FORMATS
from deploy.fusions import FUSIONS
from deploy.interface import Settings
from deploy.writers import write_graph
from engine.pretrained import load_pretrained
from models.temporal_module import find_layer, replace_layer
from runtime.errors import UserError

LAYER = "backbone.layer2.0.conv2"
pytestmark = pytest.mark.usefixtures("exported")


def there(engine):
    lack = FORMATS[ENGINES[engine].formats[0]].lack
    return pytest.param(engine, marks=pytest.mark.skipif(not ENGINES[engine].is_installed or bool(lack), reason=lack))


FIVE = [there(name) for name in ENGINES]


@pytest.fixture(scope="module")
def model(checkpoint):
    return load_pretrained(str(checkpoint)).model


def inspected(folder, model, engine, clips):
    return inspect.inspect(open_artifact(folder), model, engine, Settings(threads=1), clips[:1])


@pytest.mark.parametrize("engine", FIVE)
def test_every_layer_is_seen_and_agrees(engine, exported, model, clips):
    found = inspected(exported, model, engine, clips)
    assert found.first is None
    assert found.findings[-1].layer == "output"
    assert found.findings[-1].relative < 1e-5
    seen = [finding.layer for finding in found.visible]
    assert {"backbone.conv1", "backbone.layer2.0.conv2", "backbone.layer4"} <= set(seen)
    assert len(seen) > 0.9 * len(found.findings)


def graph_of(folder, engine):
    return open_artifact(folder).graph(ENGINES[engine].formats[0])


def with_bytes(folder, engine, before, after):
    """Exchanges the bytes of a weight inside an engine's own file, and certifies the file anew."""
    found = 0
    for path in graph_of(folder, engine).files:
        content = path.read_bytes()
        found += content.count(before)
        path.write_bytes(content.replace(before, after))
    assert found == 1
    write_record(folder, json.loads((folder / "export.json").read_text()))


def weight_of(model, engine, folder):
    graph = graph_of(folder, engine)
    return find_layer(fused(model, graph.signature, FUSIONS[graph.form]), LAYER).weight.numpy()


def swapped_filters(folder, engine, model):
    weight = weight_of(model, engine, folder)
    wrong = weight.copy()
    wrong[[0, 1]] = weight[[1, 0]]
    with_bytes(folder, engine, weight.tobytes(), wrong.tobytes())


def transposed_kernel(folder, engine, model):
    weight = weight_of(model, engine, folder)
    wrong = np.ascontiguousarray(weight.swapaxes(2, 3))
    with_bytes(folder, engine, weight.tobytes(), wrong.tobytes())


def wrong_group_count(folder, engine, model):
    """As a converter that reads another number of groups would write it: a half of the channels is not seen."""
    form, signature = ENGINES[engine].formats[0], open_artifact(folder).signature
    network = copy.deepcopy(model)
    conv = find_layer(network, LAYER)
    channels, out_channels = conv._in_channels, conv._out_channels
    grouped = type(conv)(channels, out_channels, 3, conv._stride, 1, groups=2, bias_attr=False)
    grouped.weight.set_value(conv.weight[:, : channels // 2])
    replace_layer(network, LAYER, grouped)
    write_graph(form, network, signature, folder)
    write_record(folder, json.loads((folder / "export.json").read_text()))


@pytest.mark.parametrize(
    "fault",
    [
        swapped_filters,
        *(pytest.param(fault, marks=pytest.mark.whole) for fault in (transposed_kernel, wrong_group_count)),
    ],
)
@pytest.mark.parametrize("engine", FIVE)
def test_a_fault_inside_the_engines_file_is_named_by_its_layer(engine, fault, artifact, model, clips):
    fault(artifact, engine, model)
    found = inspected(artifact, model, engine, clips)
    assert found.first is not None
    assert LAYER in (found.first.layer, *found.suspects)
    assert found.first.layer == LAYER


def test_the_command_names_the_layer(artifact, model, motion_videos, capsys, tmp_path):
    video = str(next(motion_videos.rglob("*.mp4")))
    argv = ["--model_dir", str(artifact), "--engine", "onnxruntime", "--video", video, "--threads", "1"]
    argv += ["--save_json", str(tmp_path / "layers.json")]
    inspect.main([*argv, "--all"])
    said = capsys.readouterr().out
    assert "onnxruntime in fp32: 47 layers of 47 are seen, and each is within 0.001 of its largest value" in said
    assert len(json.loads((tmp_path / "layers.json").read_text())["layers"]) == 47
    swapped_filters(artifact, "onnxruntime", model)
    with pytest.raises(UserError, match=rf"the first that differs is {LAYER}: by .* where 0\.001 is allowed"):
        inspect.main(argv)


def test_the_checkpoint_must_be_the_one_that_was_exported(artifact, checkpoint, motion_videos, tmp_path):
    video = str(next(motion_videos.rglob("*.mp4")))
    argv = ["--model_dir", str(artifact), "--engine", "onnxruntime", "--video", video]
    with pytest.raises(UserError, match=r"no\.pdparams is not the checkpoint that .* was exported from: name it by"):
        inspect.main([*argv, "--pretrained", str(tmp_path / "no.pdparams")])
    other = shutil.copy(checkpoint, tmp_path / "best.pdparams")
    with open(other, "ab") as file:
        file.write(b" ")
    with pytest.raises(UserError, match=r"sha256 [0-9a-f]{16}\.\.\."):
        inspect.main([*argv, "--pretrained", str(other)])


def test_a_tensor_is_found_by_its_values_alone():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(1, 4, 5)), rng.normal(size=(1, 4, 5))
    findings = inspect.match([("a", a), ("b", b)], [("x", np.maximum(b, 0)), ("y", a.reshape(20)), ("z", a[:, :2])])
    assert [(found.tensor, found.activation) for found in findings] == [("y", ""), ("x", "relu")]
    assert max(found.relative for found in findings) < 1e-6
    (missing,) = inspect.match([("a", a)], [("z", a[:, :2])])
    assert missing.tensor == ""
    assert missing.relative == np.inf


def test_layers_that_an_engine_hides_are_suspects_of_what_follows():
    findings = [inspect.Finding(name, name, "", error) for name, error in [("a", 0.0), ("b", 1.0), ("c", 1.0)]]
    found = inspect.Inspection(findings, {"b"}, 1e-3)
    assert found.first.layer == "c"
    assert found.suspects == ["b"]
    assert inspect.Inspection(findings, {"b", "c"}, 1e-3).first is None
