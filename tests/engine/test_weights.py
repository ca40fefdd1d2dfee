"""Loading by name: known layouts fold, everything else is refused as a whole."""

from pathlib import Path

import numpy as np
import paddle
import pytest
import torch

from engine.weight_files import CheckpointError, read_weights
from engine.weights import classes_in, load_weights, read_named
from models import create_model

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
    coverage = load_weights(target, save(tmp_path, arrays_of(source)))
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
    load_weights(target, tmp_path / "tsm.pth.tar")
    for name, value in arrays_of(source).items():
        np.testing.assert_array_equal(arrays_of(target)[name], value)


@pytest.mark.parametrize("layout", ["tsn_tiny", "tsm_tiny", "mvf_tiny"])
def test_an_image_network_starts_every_family(tmp_path, layout):
    image = {
        name.removeprefix("backbone."): value
        for name, value in arrays_of(model("tsn_tiny")).items()
        if name.startswith("backbone.")
    }
    image["fc.weight"], image["fc.bias"] = np.zeros((512, 1000)), np.zeros(1000)
    target = model(layout)
    coverage = load_weights(target, save(tmp_path, image), finetune=True)
    assert len(coverage.loaded) == len(image) - 2
    assert all("cls_head" in name or "shift_conv" in name or "_conv." in name or "bn." in name for name in coverage.new)
    assert sum(name.startswith("cls_head.") for name in coverage.new) == 2
    loaded = arrays_of(target)
    for name, value in image.items():
        if not name.startswith("fc."):
            wrapped = "backbone." + name
            wrapped = wrapped if wrapped in loaded else wrapped.replace(".weight", ".net.weight")
            np.testing.assert_array_equal(loaded[wrapped], value)


def test_fine_tuning_leaves_a_head_of_other_size_out_and_says_so(tmp_path):
    coverage = load_weights(model(num_classes=7), save(tmp_path, arrays_of(model())), finetune=True)
    assert coverage.skipped.keys() == {"cls_head.new_fc.weight", "cls_head.new_fc.bias"}
    assert "[4] where the model has [7]" in str(coverage)


def broken(change):
    arrays = arrays_of(model())
    change(arrays)
    return arrays


@pytest.mark.parametrize("finetune", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("backbone.bn1.weight"), "it lacks backbone.bn1.weight"),
        (lambda a: a.update({"backbone.extra": np.zeros(1)}), "it holds backbone.extra,"),
        (
            lambda a: a.update({"backbone.bn1.weight": np.zeros(3)}),
            r"backbone.bn1.weight is \[3\] in the file and \[16\]",
        ),
        (lambda a: a.update({"bn1.weight": np.zeros(16)}), "holds backbone.bn1.weight twice"),
    ],
)
def test_a_checkpoint_that_does_not_fit_changes_nothing(tmp_path, finetune, change, message):
    target = model()
    before = arrays_of(target)
    with pytest.raises(CheckpointError, match=message):
        load_weights(target, save(tmp_path, broken(change)), finetune=finetune)
    for name, value in before.items():
        np.testing.assert_array_equal(arrays_of(target)[name], value)


def test_another_family_is_refused_where_everything_must_load(tmp_path):
    with pytest.raises(CheckpointError, match=r"does not fit the model: it lacks .*conv1.shift_conv"):
        load_weights(model("mvf_tiny"), save(tmp_path, arrays_of(model("tsn_tiny"))))
    with pytest.raises(CheckpointError, match="which the model does not have"):
        load_weights(model("tsn_tiny"), save(tmp_path, arrays_of(model("mvf_tiny"))), finetune=True)
    with pytest.raises(CheckpointError, match="does not fit the model"):
        load_weights(
            create_model("tsn_r18", num_classes=4, num_frames=4), save(tmp_path, arrays_of(model())), finetune=True
        )


def test_weights_that_are_not_finite_are_refused(tmp_path):
    arrays = arrays_of(model())
    arrays["backbone.bn1.weight"][0] = np.inf
    with pytest.raises(CheckpointError, match=r"backbone.bn1.weight holds values that are not finite"):
        load_weights(model(), save(tmp_path, arrays))


def test_classes_in_a_file(tmp_path):
    path = save(tmp_path, arrays_of(model(num_classes=6)))
    assert classes_in(read_named(path), path) == 6
    path = save(tmp_path, {"backbone.conv1.weight": np.zeros(1)})
    with pytest.raises(CheckpointError, match="holds no classifier"):
        classes_in(read_named(path), path)


@pytest.mark.skipif(not SHARED.exists(), reason="the shared ImageNet weights are not beside this checkout")
@pytest.mark.parametrize("family", ["tsn", "tsm", "mvf"])
def test_imagenet_weights_in_the_flat_layout_load(family):
    """The layout of MIT's MobileNetV2: blocks as one flat Sequential; logits are those of PyTorch running the file."""
    net = create_model(f"{family}_mobilenet_v2", num_classes=2, num_frames=2)
    coverage = load_weights(net, SHARED, finetune=True)
    assert len(coverage.loaded) == 260
    assert {name.split(".")[0] for name in coverage.new} <= {"cls_head", "backbone"}
    if family == "tsn":
        net.eval()
        x = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype("float32")
        ours = net.backbone(paddle.to_tensor(x)).numpy()
        theirs = run_flat_mobilenet(torch.load(SHARED, weights_only=True), torch.tensor(x)).numpy()
        np.testing.assert_allclose(ours, theirs, atol=2e-4 * np.abs(theirs).max())


def run_flat_mobilenet(state, x):
    """MobileNetV2 from a flat state dict by PyTorch's functions, written from the paper's table, not from models/."""

    def conv_bn(x, conv, bn, stride=1, groups=1, relu=True):
        weight = state[conv + ".weight"]
        x = torch.nn.functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
        names = ("running_mean", "running_var", "weight", "bias")
        x = torch.nn.functional.batch_norm(x, *(state[f"{bn}.{name}"] for name in names), eps=1e-5)
        return x.clamp(0, 6) if relu else x

    x = conv_bn(x, "features.0.0", "features.0.1", stride=2)
    strides = [1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1]
    for index, stride in enumerate(strides, start=1):
        stem, y = f"features.{index}.conv.", x
        offset = 3 if f"{stem}7.weight" in state else 0
        if offset:
            y = conv_bn(y, stem + "0", stem + "1")
        y = conv_bn(y, f"{stem}{offset}", f"{stem}{offset + 1}", stride, groups=y.shape[1])
        y = conv_bn(y, f"{stem}{offset + 3}", f"{stem}{offset + 4}", relu=False)
        x = x + y if stride == 1 and x.shape == y.shape else y
    return conv_bn(x, "features.18.0", "features.18.1")


def test_reading_is_free_of_side_effects(tmp_path):
    path = save(tmp_path, arrays_of(model()))
    first, second = read_weights(path), read_weights(path)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
