"""Our recognizers against the code that they come from, where it is there."""

import dataclasses
import importlib.util
import os
import sys

import numpy as np
import paddle
import pytest
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from alignment import command
from alignment.sides.pair import IncomparableError
from alignment.suite import align_pair
from alignment.upstream import SOURCES, find_source, third_party_pair
from alignment.upstream.source import checked_out
from configs.presets import preset_for_model

PACKAGES = {"mmaction2": "mmaction", "torchvision": "torchvision", "timm": "timm", "pytorchvideo": "pytorchvideo"}
CHECKOUTS = {
    "mit-tsm": "ACTIONALIGN_MIT_TSM",
    "mvfnet": "ACTIONALIGN_MVFNET",
    "pyslowfast": "ACTIONALIGN_PYSLOWFAST",
    "pytorch-i3d": "ACTIONALIGN_PYTORCH_I3D",
    "efficient-3dcnns": "ACTIONALIGN_EFFICIENT_3DCNNS",
    "resnets-3d": "ACTIONALIGN_3D_RESNETS",
}
STEPS = ("config", "weights", "forward", "loss", "backward")
ALL_STEPS = (*STEPS, "train", "guards")
CASES = [
    ("mmaction2", "i3d_r50", {}, STEPS),
    ("mmaction2", "slowonly_r50", {}, STEPS),
    ("mmaction2", "slowfast_r50", {}, STEPS),
    ("mmaction2", "r2plus1d_r34", {}, STEPS),
    ("mmaction2", "x3d_m", {}, STEPS),
    ("torchvision", "r3d_r18", {}, STEPS),
    ("torchvision", "mc3_r18", {}, STEPS),
    ("torchvision", "r2plus1d_r18", {}, STEPS),
    ("pytorchvideo", "i3d_r50", {}, STEPS),
    ("pytorchvideo", "slowonly_r50", {}, STEPS),
    ("pytorchvideo", "slowfast_r50", {}, STEPS),
    ("pytorchvideo", "x3d_m", {}, STEPS),
    ("pyslowfast", "i3d_r50", {}, STEPS),
    ("pyslowfast", "slowonly_r50", {}, STEPS),
    ("pyslowfast", "slowfast_r50", {"slowfast_alpha": 2}, STEPS),
    ("pyslowfast", "x3d_m", {}, STEPS),
    ("pytorch-i3d", "i3d_inception", {}, STEPS),
    ("efficient-3dcnns", "c3d", {}, STEPS),
    ("efficient-3dcnns", "shufflenet3d_x0_25", {}, ALL_STEPS),
    ("efficient-3dcnns", "mobilenet3d_x0_2", {}, ALL_STEPS),
    ("resnets-3d", "r3d_r18", {}, STEPS),
    ("resnets-3d", "r3d_r50", {}, STEPS),
    ("mmaction2", "tsn_r18", {}, STEPS),
    ("mmaction2", "tsm_r50", {}, STEPS),
    ("mmaction2", "tsm_r18", {"shift_place": "block", "shift_div": 4}, STEPS),
    ("mmaction2", "tsm_r18", {"temporal_pool": True}, STEPS),
    ("mmaction2", "tsn_mobilenet_v2", {}, STEPS),
    ("mmaction2", "tsm_mobilenet_v2", {}, ALL_STEPS),
    ("mit-tsm", "tsn_r18", {}, ALL_STEPS),
    ("mit-tsm", "tsm_r18", {}, STEPS),
    ("mit-tsm", "tsm_r18", {"shift_place": "block"}, STEPS),
    ("mit-tsm", "tsm_r18", {"temporal_pool": True}, STEPS),
    ("mit-tsm", "tsm_mobilenet_v2", {}, STEPS),
    ("mvfnet", "mvf_r50", {}, ALL_STEPS),
    ("mvfnet", "mvf_r50", {"mvf_mode": "TH", "mvf_share": True, "mvf_stages": (0, 0, 0, 1)}, STEPS),
    ("torchvision", "tsn_r50", {}, STEPS),
    ("torchvision", "tsn_mobilenet_v2", {}, ALL_STEPS),
    ("timm", "tsn_r18", {}, STEPS),
    ("timm", "tsn_mobilenet_v2", {}, ALL_STEPS),
]


def reference_of(name):
    """The argument of --reference; skips where the source is not on this machine."""
    if name in PACKAGES:
        if importlib.util.find_spec(PACKAGES[name]) is None:
            pytest.skip(f"{name} is not installed")
        return name
    path = os.environ.get(CHECKOUTS[name])
    if not path:
        pytest.skip(f"{CHECKOUTS[name]} does not name a checkout of {SOURCES[name].url}")
    return f"{name}:{path}"


def built(name, model, **arguments):
    frames, size = {"c3d": (16, 112), "i3d_inception": (17, 193)}.get(model, (4, 48))
    clips = np.random.default_rng(0).normal(size=(2, frames, 3, size, size)).astype("float32")
    return third_party_pair(reference_of(name), model, preset_for_model(model), clips, np.array([3, 5]), **arguments)


# A small network of each source in `make test`, all of them in `make test-all`.
QUICK = [
    ("mmaction2", "tsm_r18", {"shift_place": "block", "shift_div": 4}),
    ("mit-tsm", "tsm_r18", {"shift_place": "block"}),
    ("mvfnet", "mvf_r50", {}),
    ("timm", "tsn_r18", {}),
]


@pytest.mark.parametrize(
    ("name", "model", "options", "steps"),
    [case if case[:3] in QUICK else pytest.param(*case, marks=pytest.mark.whole) for case in CASES],
)
def test_ours_equals_theirs(name, model, options, steps):
    pair = built(name, model, options=options)
    report = align_pair(pair, steps=steps, train_steps=1)
    assert report.passed, report.text()
    constants = [record.name.rpartition(".")[2] for record in report.stages[0].records]
    layers = list(pair.reference.modules())
    assert constants.count("eps") == sum(isinstance(layer, _BatchNorm) for layer in layers)
    assert constants.count("groups") == sum(isinstance(layer, _ConvNd) for layer in layers)


@pytest.mark.whole
def test_ours_equals_theirs_in_float32():
    report = align_pair(built("torchvision", "tsn_r18"), precision="float32", train_steps=1)
    assert report.passed, report.text()


@pytest.mark.parametrize(
    ("name", "model"), [("mmaction2", "tsm_mobilenet_v2"), ("mit-tsm", "tsm_r18"), ("mvfnet", "mvf_r50")]
)
def test_fresh_weights_are_same_initialization(name, model):
    assert model in SOURCES[name].same_initialization
    report = align_pair(built(name, model, randomize=False), steps=["init"])
    assert report.passed, report.text()


@pytest.mark.parametrize(
    ("name", "model", "options", "place"),
    [
        ("mmaction2", "tsm_r18", {"shift_direction": "paddle"}, "backbone.layer1.0.conv1.conv.net"),
        pytest.param(
            *("torchvision", "tsn_mobilenet_v2", {"consensus": "features"}, "classifier.0"), marks=pytest.mark.whole
        ),
    ],
)
def test_a_difference_is_found(name, model, options, place):
    divergence = align_pair(built(name, model, options=options), steps=("forward",)).first_divergence
    assert (divergence.stage, divergence.place) == ("forward", place)


def test_a_constant_is_compared_where_theirs_is_one_layer_and_ours_are_two():
    pair = built("timm", "tsn_mobilenet_v2")
    pair.candidate.backbone.features[1].conv[0][1]._epsilon = 1e-3
    divergence = align_pair(pair, steps=("config",)).first_divergence
    assert divergence.place == "blocks.0.0.bn1.eps"


def test_a_mistake_of_the_converter_is_found():
    pair = built("torchvision", "tsn_r18")
    norms = pair.candidate.backbone.layer1[0]
    norms.bn1._mean.set_value(paddle.assign(norms.bn2._mean))
    divergence = align_pair(pair, steps=("weights",)).first_divergence
    assert (divergence.stage, divergence.place) == ("weights", "backbone.layer1.0.bn1._mean")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "slowfast",
            "must be one of mmaction2, mit-tsm:PATH, mvfnet:PATH, torchvision, timm, pytorchvideo, pyslowfast:PATH",
        ),
        ("mit-tsm", "no path is given: git clone https://github.com/mit-han-lab/temporal-shift-module PATH"),
        ("mvfnet:nowhere", "no codes/models/modules/MVF.py in nowhere: git clone https://github.com/whwu95/MVFNet"),
        ("timm:here", "--reference timm is an installed package and takes no path, got 'here'"),
    ],
)
def test_a_reference_that_is_not_there_is_one_line(reference, message, capsys):
    assert command.run(["--reference", reference, "--model", "tsn_r18"]) == command.INCOMPARABLE
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_a_model_that_the_reference_lacks_is_one_line(capsys):
    assert command.run(["--reference", "timm", "--model", "tsm_r18"]) == command.INCOMPARABLE
    assert "--model must be one that timm has: tsn_r18, tsn_r34, tsn_r50" in capsys.readouterr().err


def test_an_absent_package_names_the_command_that_installs_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "timm", None)
    argv = ["--reference", "timm", "--model", "tsn_r18", "--frames", "4", "--size", "32"]
    assert command.run(argv) == command.INCOMPARABLE
    printed = capsys.readouterr().err
    assert "timm cannot be imported" in printed
    assert "pip install --no-deps -r requirements-third-party.txt" in printed


def test_what_their_code_raises_is_one_line(monkeypatch):
    def build(name, settings, path):
        raise AttributeError("module 'numpy' has no attribute 'int'")

    monkeypatch.setitem(SOURCES, "timm", dataclasses.replace(SOURCES["timm"], build=build))
    with pytest.raises(
        IncomparableError, match="the code of timm cannot build tsn_r18: AttributeError: module 'numpy'"
    ):
        built("timm", "tsn_r18")


def test_the_data_have_no_model_in_them(capsys):
    assert command.run(["--reference", "timm", "--model", "tsn_r18", "--steps", "data"]) == command.INCOMPARABLE
    assert "the step data has no model in it" in capsys.readouterr().err


def test_the_command_knows_the_sources():
    assert [name.partition(":")[0] for name in command.REFERENCES] == list(SOURCES)
    assert find_source("timm")[1] is SOURCES["timm"]


def test_the_command_passes_the_reference_on(tmp_path, capsys):
    name = reference_of("timm")
    argv = ["--model", "tsn_r18", "--frames", "4", "--size", "32", "--batch", "2", "--steps", "config,weights"]
    assert command.run(["--reference", name, *argv, "--threads", "1", "--output", str(tmp_path)]) == command.PASSED
    printed = capsys.readouterr().out
    assert "tsn_r18_vs_timm, float32: passed" in printed
    assert "reference timm " in printed
    assert (tmp_path / "tsn_r18_vs_timm_float32" / "report.json").is_file()


def test_a_checkout_leaves_nothing_behind(tmp_path, monkeypatch):
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops" / "models.py").write_text("import absent_of_course\n")
    (tmp_path / "ops" / "__init__.py").write_text("print('hello')\n")
    earlier = object()
    monkeypatch.setitem(sys.modules, "ops", earlier)
    path = list(sys.path)
    with checked_out(str(tmp_path), ("ops",), {}):
        assert importlib.import_module("ops").__file__ == str(tmp_path / "ops" / "__init__.py")
    with pytest.raises(IncomparableError, match="absent_of_course"), checked_out(str(tmp_path), ("ops",), {}):
        importlib.import_module("ops.models")
    assert sys.modules["ops"] is earlier
    assert "ops.models" not in sys.modules
    assert sys.path == path
