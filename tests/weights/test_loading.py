"""Loading by name: known layouts are translated, everything else is refused as a whole."""

from pathlib import Path

import numpy as np
import paddle
import pytest
import torch

from engine.pretrained import read_pretrained, recognition_as
from models import create_model
from weights import PARTS, CheckpointError, assign, read, read_file, translate

SHARED = Path(__file__).resolve().parents[2] / "../shared/weights/mobilenet_v2_imagenet_features.pt"


def model(name="tsm_tiny", num_classes=4):
    return create_model(name, num_classes=num_classes, num_frames=4)


def arrays_of(net):
    return {name: tensor.numpy() for name, tensor in net.state_dict().items()}


def save(tmp_path, arrays):
    np.savez(tmp_path / "weights.npz", **arrays)
    return tmp_path / "weights.npz"


def test_a_whole_checkpoint_loads_bit_for_bit(tmp_path):
    source, target = model(), model()
    coverage = assign(target, read(save(tmp_path, arrays_of(source))))
    assert len(coverage.loaded) == len(source.state_dict())
    assert not coverage.new
    assert not coverage.skipped
    for name, value in arrays_of(source).items():
        np.testing.assert_array_equal(arrays_of(target)[name], value)


def test_prefixes_and_statistics_of_pytorch_are_known(tmp_path):
    source, target = model(), model()
    state = {}
    for name, value in arrays_of(source).items():
        name = name.replace("_mean", "running_mean").replace("_variance", "running_var")
        name = name.replace("backbone.", "base_model.").replace("cls_head.", "")
        state["module." + name] = torch.tensor(value.T if value.ndim == 2 else value).contiguous()
    state["module.base_model.bn1.num_batches_tracked"] = torch.tensor(3)
    torch.save({"state_dict": state}, tmp_path / "tsm.pth.tar")
    coverage = assign(target, read(tmp_path / "tsm.pth.tar"))
    for name, value in arrays_of(source).items():
        np.testing.assert_array_equal(arrays_of(target)[name], value)
    assert coverage.loaded["cls_head.new_fc.weight"] == "[out, in] to [in, out]"
    assert "counter of batches" in coverage.skipped["base_model.bn1.num_batches_tracked"]


@pytest.mark.parametrize("layout", ["tsn_tiny", "tsm_tiny", "mvf_tiny"])
def test_an_image_network_starts_every_family(tmp_path, layout):
    image = {
        name.removeprefix("backbone."): value
        for name, value in arrays_of(model("tsn_tiny")).items()
        if name.startswith("backbone.")
    }
    image["fc.weight"], image["fc.bias"] = np.zeros((512, 1000)), np.zeros(1000)
    target = model(layout)
    coverage = assign(target, read(save(tmp_path, image)), partial=PARTS)
    assert len(coverage.loaded) == len(image) - 2
    assert all("cls_head" in name or "shift_conv" in name or "_conv." in name or "bn." in name for name in coverage.new)
    assert sum(name.startswith("cls_head.") for name in coverage.new) == 2
    loaded = arrays_of(target)
    for name, value in image.items():
        if not name.startswith("fc."):
            wrapped = "backbone." + name
            wrapped = wrapped if wrapped in loaded else wrapped.replace(".weight", ".net.weight")
            np.testing.assert_array_equal(loaded[wrapped], value)


def test_a_head_of_other_size_is_left_out_where_that_is_allowed_and_it_says_so(tmp_path):
    path = save(tmp_path, arrays_of(model()))
    with pytest.raises(CheckpointError, match=r"new_fc.weight is \[128, 4\] in the file and \[128, 7\] in the model"):
        assign(model(num_classes=7), read(path), partial=["modules"])
    coverage = assign(model(num_classes=7), read(path), partial=["head"])
    assert coverage.skipped.keys() == {"cls_head.new_fc.weight", "cls_head.new_fc.bias"}
    assert "[4] in the file and [7] in the model" in str(coverage)
    assert "only in the model     1  the classifier of another size" in coverage.table()


def broken(change):
    arrays = arrays_of(model())
    change(arrays)
    return arrays


@pytest.mark.parametrize("partial", [(), PARTS])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("backbone.bn1.weight"), "the file lacks backbone.bn1.weight"),
        (lambda a: a.update({"backbone.layer1.extra": np.zeros(1)}), "the file holds backbone.layer1.extra,"),
        (lambda a: a.update({"backbone.extra.bias": np.zeros(1)}), "no known layout.*first backbone.extra.bias"),
        (lambda a: a.update({"backbone.bn1.weight": np.zeros(3)}), r"bn1.weight is \[3\] in the file and \[16\]"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_does_not_fit_changes_nothing(tmp_path, partial, change, message):
    target = model()
    before = arrays_of(target)
    with pytest.raises(CheckpointError, match=message):
        assign(target, read(save(tmp_path, broken(change))), partial)
    for name, value in before.items():
        np.testing.assert_array_equal(arrays_of(target)[name], value)


def test_another_family_is_refused(tmp_path):
    plain, shifted = arrays_of(model("tsn_tiny")), arrays_of(model("tsm_tiny"))
    with pytest.raises(
        CheckpointError, match=r"wraps backbone.layer3.0.conv1.net.weight .*by its names it is tsn_tiny"
    ):
        assign(model("mvf_tiny"), read_pretrained(str(save(tmp_path, plain))))
    with pytest.raises(CheckpointError, match=r"module stands at backbone.layer3.0.conv1.net.weight in the file"):
        assign(model("tsn_tiny"), read(save(tmp_path, arrays_of(model("mvf_tiny")))), PARTS)
    with pytest.raises(
        CheckpointError, match=r"wraps backbone.layer1.0.conv1.net.weight in the model, and not in the file"
    ):
        assign(model("tsm_tiny"), translate(plain, "x"))
    for partial in ((), PARTS):
        with pytest.raises(CheckpointError, match=r"module stands at backbone.layer1.0.conv1.net.weight in the file"):
            assign(model("tsn_tiny"), read(save(tmp_path, shifted)), partial)
    with pytest.raises(CheckpointError, match="does not fit the model"):
        assign(create_model("tsn_r18", num_classes=4, num_frames=4), read(save(tmp_path, arrays_of(model()))), PARTS)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    arrays = arrays_of(model())
    arrays["backbone.bn1.weight"][0] = np.inf
    with pytest.raises(CheckpointError, match=r"backbone.bn1.weight holds values that are not finite"):
        assign(model(), read(save(tmp_path, arrays)))


def test_two_classifiers_are_one_too_many():
    state = {
        f"base_model.{name.removeprefix('backbone.')}": value for name, value in arrays_of(model("tsn_tiny")).items()
    }
    state = {name.replace("_mean", "running_mean").replace("_variance", "running_var"): a for name, a in state.items()}
    head = {f"{stem}.{leaf}": np.zeros(2) for stem in ("new_fc", "base_model.fc") for leaf in ("weight", "bias")}
    backbone = {name: array for name, array in state.items() if "cls_head" not in name}
    with pytest.raises(CheckpointError, match=r"holds cls_head.new_fc.weight twice, once as base_model.fc.weight"):
        translate(backbone | head, "mit.pth")


def test_what_a_file_tells_of_its_model(tmp_path):
    found = read(save(tmp_path, arrays_of(model("mvf_tiny", num_classes=6))))
    assert (found.layout, found.num_classes) == ("ours", 6)
    options = {
        "mvf_alpha": 0.125,
        "mvf_stages": (0, 0, 1, 1),
        "mvf_use_hs": True,
        "mvf_mode": "THW",
        "mvf_share": False,
    }
    assert found.options_of(recognition_as(found, "mvf_tiny").options) == options
    shared = create_model("mvf_tiny", num_classes=2, num_frames=4, mvf_share=True)
    assert "--mvf_share alike" in recognition_as(translate(arrays_of(shared), "x"), "mvf_tiny").open_question


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3, 1 / 3, 0.7, 1.0])
def test_a_network_is_rebuilt_from_its_tensors_whatever_part_is_fused(alpha):
    options = {"mvf_alpha": alpha, "mvf_use_hs": False, "mvf_mode": "TH", "mvf_stages": (0, 1, 0, 1)}
    arrays = arrays_of(create_model("mvf_mobilenet_v2", num_classes=2, num_frames=4, **options))
    found = translate(arrays, "x")
    again = create_model(
        "mvf_mobilenet_v2", num_classes=2, num_frames=4, **recognition_as(found, "mvf_mobilenet_v2").options
    )
    assert len(assign(again, found).loaded) == len(arrays)


def test_a_damaged_fusion_is_refused():
    arrays = arrays_of(model("mvf_tiny"))
    del arrays["backbone.layer3.0.conv1.net.weight"]
    with pytest.raises(CheckpointError, match="x: no one fraction of the channels is fused in all layers"):
        recognition_as(translate(arrays, "x"), "mvf_tiny")


@pytest.mark.skipif(not SHARED.exists(), reason="the shared ImageNet weights are not beside this checkout")
@pytest.mark.parametrize("family", ["tsn", "tsm", "mvf"])
def test_imagenet_weights_in_the_flat_layout_start_every_family(family):
    net = create_model(f"{family}_mobilenet_v2", num_classes=2, num_frames=2)
    coverage = assign(net, read(SHARED), PARTS)
    assert len(coverage.loaded) == 260
    assert {name.split(".")[0] for name in coverage.new} <= {"cls_head", "backbone"}


def test_reading_is_free_of_side_effects(tmp_path):
    path = save(tmp_path, arrays_of(model()))
    first, second = read_file(path), read_file(path)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_float64_models_keep_the_digits(tmp_path):
    net = create_model("tsn_tiny", num_classes=2, num_frames=2).to(dtype="float64")
    arrays = {name: value * (1 + 1e-12) for name, value in arrays_of(net).items()}
    assign(net, translate(arrays, "x"))
    for name, value in arrays_of(net).items():
        np.testing.assert_array_equal(value, arrays[name])
    assert paddle.get_default_dtype() == "float32"
