"""A network of masks in every engine: its mask, its faults, its eight bits."""

import copy
import json
import shutil

import numpy as np
import paddle
import pytest

from configs import get_preset
from configs.networks import FAMILIES
from datasets.figures import write_figures
from deploy import export, infer, inspect, quantize
from deploy.artifact import open_artifact, write_record
from deploy.engines import ENGINES, open_engine, open_graph
from deploy.export import dygraph_logits
from deploy.folding import fused
from deploy.formats import FORMATS
from deploy.fusions import FUSIONS
from deploy.interface import EngineError, Settings
from deploy.parity import OTHER_PIXELS
from deploy.signature import Signature
from deploy.writers import write_graph
from engine.checkpoint import pickled
from models import from_recipe
from models.recognizer import batch_norms
from models.temporal_module import find_layer
from tasks import task_of
from tests.deploy.test_inspect import FIVE

LAYER = "backbone.decoder.up4.conv"


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_figures(tmp_path_factory.mktemp("people") / "set", train=6, val=4, size=64, seed=1)


def settled(recipe):
    """A network with statistics as after training, and logits of some size."""
    paddle.seed(3)
    model = from_recipe(recipe)
    model.train()
    for norm in batch_norms(model):
        norm._momentum = 0.0
    model(paddle.randn([4, 3, 64, 64]))
    model.eval()
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    recipe = get_preset("demo_unet")
    folder = tmp_path_factory.mktemp("unet")
    arrays = {name: tensor.numpy() for name, tensor in settled(recipe).state_dict().items()}
    (folder / "best.pdparams").write_bytes(pickled(arrays))
    (folder / "recipe.json").write_text(recipe.to_json())
    (folder / "classes.txt").write_text("background\nperson\n")
    return folder / "best.pdparams"


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    forms = [form for form, kind in FORMATS.items() if form != "legacy" and not kind.lack]
    folder = tmp_path_factory.mktemp("artifact") / "unet"
    export.main(["--pretrained", str(checkpoint), "--output", str(folder), "--threads", "1", "--formats", *forms])
    return folder


@pytest.mark.parametrize("engine", FIVE)
def test_masks_are_those_of_dygraph(engine, exported):
    record = json.loads((exported / "export.json").read_text())
    figures = record["parity"][engine]
    assert figures["relative"] < 5e-5
    assert figures["other_pixels"] <= OTHER_PIXELS
    (given,), (result,) = record["signature"]["inputs"], record["signature"]["outputs"]
    assert (given["name"], given["shape"], result["shape"]) == ("images", [None, 3, 64, 64], [None, 2, 64, 64])
    with pytest.raises(EngineError, match=r"the graph takes images of 64x64, got \[3, 32, 32\]"):
        open_engine(engine, exported, threads=1)(np.zeros((1, 3, 32, 32), np.float32))


@pytest.mark.whole
@pytest.mark.parametrize("how", ["nearest", "bilinear"])
def test_upsampling_is_the_same_in_every_engine(how, checkpoint, tmp_path):
    recipe = get_preset("demo_unet").with_(unet_up=how)
    forms = [form for form, kind in FORMATS.items() if form != "legacy" and not kind.lack]
    shutil.copy(checkpoint.with_name("classes.txt"), tmp_path / "classes.txt")
    weights = tmp_path / "best.pdparams"
    model = settled(recipe)
    weights.write_bytes(pickled({name: tensor.numpy() for name, tensor in model.state_dict().items()}))
    export.export(model, recipe, str(weights), tmp_path / "artifact", forms)  # which compares
    parity = json.loads((tmp_path / "artifact/export.json").read_text())["parity"]
    assert all(figures["relative"] < 5e-5 for figures in parity.values())
    assert set(parity) == {engine.values[0] for engine in FIVE if ENGINES[engine.values[0]].is_installed}


@pytest.mark.whole  # unet_tiny is exported above
@pytest.mark.parametrize("name", FAMILIES["unet"].models)
def test_every_network_of_masks_is_the_same_in_every_engine(name, tmp_path):
    model = settled(get_preset("demo_unet").with_(model=name))
    images = np.random.default_rng(2).standard_normal((2, 3, 64, 64), dtype=np.float32)
    signature = Signature.of_views(images.shape[1:])
    wanted = dygraph_logits(model, images)
    assert not batch_norms(fused(model, signature, FUSIONS["paddle"]))  # all are folded
    for engine, kind in ENGINES.items():
        if kind.is_installed and not FORMATS[kind.formats[0]].lack:
            graph = write_graph(kind.formats[0], model, signature, tmp_path)
            found = open_graph(engine, graph, Settings(threads=1))(images)
            assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max(), engine
            assert (found.argmax(axis=1) != wanted.argmax(axis=1)).mean() <= OTHER_PIXELS, engine


@pytest.mark.parametrize(
    "engine",
    [
        one
        if one.values[0] in ("onnxruntime", "ncnn")
        else pytest.param(*one.values, marks=[*one.marks, pytest.mark.whole])
        for one in FIVE
    ],
)
def test_exchanged_weights_of_a_transposed_convolution_are_named(engine, exported, checkpoint, people, tmp_path):
    """The one fault that took the original's authors a comparison of layer after layer by hand."""
    folder = shutil.copytree(exported, tmp_path / "artifact")
    artifact = open_artifact(folder)
    model = settled(artifact.recipe)
    wrong = copy.deepcopy(model)
    weight = find_layer(wrong, LAYER).weight
    weight.set_value(weight.transpose([1, 0, 2, 3]))
    write_graph(ENGINES[engine].formats[0], wrong, artifact.signature, folder)
    write_record(folder, json.loads((folder / "export.json").read_text()))
    image = str(next((people / "val/images").iterdir()))
    view = task_of(artifact.recipe).views(image, artifact.recipe)
    found = inspect.inspect(open_artifact(folder), model, engine, Settings(threads=1), view)
    assert found.first is not None
    assert found.first.layer == LAYER
    intact = inspect.inspect(open_artifact(exported), model, engine, Settings(threads=1), view)
    assert intact.first is None
    assert LAYER in [finding.layer for finding in intact.visible]


def test_infer_tells_how_much_of_a_picture_each_class_is(exported, people, capsys, tmp_path):
    infer.main(["--model_dir", str(exported), "--video", str(people / "val/images"), "--threads", "1",
                "--save_json", str(tmp_path / "shares.json")])  # fmt: skip
    said = capsys.readouterr().out
    assert said.count("person 0.") == 4
    shares = json.loads((tmp_path / "shares.json").read_text())["scores"]
    assert len(shares) == 4
    assert all(sum(values) == pytest.approx(1, abs=1e-5) for values in shares.values())


def test_eight_bits_are_measured_by_the_mask(exported, people, capsys, tmp_path):
    pytest.importorskip("onnxruntime")
    quantize.main(["--model_dir", str(exported), "--output", str(tmp_path / "int8"), "--dataset_root", str(people),
                   "--threads", "1", "--clips", "6"])  # fmt: skip
    said = capsys.readouterr().out
    assert "miou fp32: " in said
    assert "miou int8: " in said
    engine = open_engine("onnxruntime", tmp_path / "int8", threads=1)
    assert engine(np.zeros((1, 3, 64, 64), np.float32)).shape == (1, 2, 64, 64)


def test_a_server_names_classes_of_videos_alone(exported):
    pytest.importorskip("starlette")
    from deploy import serve

    with pytest.raises(serve.ServeError, match="a server names the classes of videos, and unet_tiny takes pictures"):
        serve.Classifier(serve.served_of(serve.parse_args(["--model_dir", str(exported), "--port", "0"])))
