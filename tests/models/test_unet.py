"""UNet: the numbers of its sources, what it takes, and that its files are recognized."""

import numpy as np
import paddle
import pytest

from engine.pretrained import load_pretrained
from models import create_model, recognize
from runtime.errors import UserError
from tools.summary import measure
from weights import PARTS, assign, read

# model -> parameters that train, multiply-adds at 256 x 256 in 10^9, MiB of its float32 parameters, as published
FIGURES = {
    "unet_x1_0": (10_327_106, 36.73, 39.39),
    "unet_x0_25": (647_954, 2.318, 2.47),
}


@pytest.mark.parametrize("name", FIGURES)
def test_the_numbers_are_those_of_the_original(name):
    parameters, giga, megabytes = FIGURES[name]
    costs = measure(name, num_classes=2, size=256).values()
    assert sum(cost.params for cost in costs) == parameters
    assert sum(cost.multiply_adds for cost in costs) / 1e9 == pytest.approx(giga, rel=5e-4)
    assert parameters * 4 / 2**20 == pytest.approx(megabytes, abs=0.01)


@pytest.mark.parametrize("name", ["unet_tiny", "unet_mobilenet_v2"])
@pytest.mark.parametrize("how", ["transposed", "nearest", "bilinear"])
def test_maps_are_of_the_size_of_the_image(name, how):
    model = create_model(name, num_classes=3, num_frames=1, unet_up=how)
    model.eval()
    assert model(paddle.randn([2, 3, 64, 96])).shape == [2, 3, 64, 96]


def test_what_it_does_not_take_is_named():
    model = create_model("unet_tiny", num_classes=2, num_frames=1)
    with pytest.raises(UserError, match=r"images must be \[N, 3, H, W\], got \[1, 1, 3, 64, 64\]"):
        model(paddle.zeros([1, 1, 3, 64, 64]))
    with pytest.raises(UserError, match="the sides of images must be multiples of 32, got 64x50"):
        model(paddle.zeros([1, 3, 50, 64]))


@pytest.mark.parametrize("name", ["unet_x1_0", "unet_x0_5", "unet_x0_25", "unet_tiny", "unet_mobilenet_v2"])
@pytest.mark.parametrize("how", ["transposed", "bilinear"])
def test_tensors_show_the_model(name, how):
    model = create_model(name, num_classes=2, num_frames=1, unet_up=how)
    (found,) = recognize({key: tensor.numpy() for key, tensor in model.state_dict().items()}).items()
    assert found[0] == name
    if how == "transposed":
        assert found[1].options == {"unet_up": "transposed"}
    else:
        assert found[1].answers == {"unet_up": ("nearest", "bilinear")}


def test_imagenet_weights_go_into_the_encoder(tmp_path):
    """Those of MobileNetV2 in torchvision's names, with a classifier that has no place here."""
    import torch

    from alignment.reference.mobilenet_v2 import MobileNetV2

    source = MobileNetV2()
    arrays = {
        **source.state_dict(),
        "classifier.1.weight": torch.zeros(1000, 1280),
        "classifier.1.bias": torch.zeros(1000),
    }
    torch.save(arrays, tmp_path / "mobilenet_v2.pth")
    model = create_model("unet_mobilenet_v2", num_classes=2, num_frames=1)
    coverage = assign(model, read(str(tmp_path / "mobilenet_v2.pth")), partial=PARTS)
    assert all(name.startswith("backbone.features.") for name in coverage.loaded)
    assert {name.split(".")[1] for name in coverage.new} == {"decoder", "new_fc"}
    np.testing.assert_array_equal(
        model.backbone.features[0][0].weight.numpy(), source.features[0][0].weight.detach().numpy()
    )


def test_a_file_tells_its_network(make_unet):
    weights = make_unet("bilinear")
    loaded = load_pretrained(str(weights))
    assert loaded.recipe.network.unet_up == "bilinear"
    assert loaded.model(paddle.zeros([1, 3, 64, 64])).shape == [1, 2, 64, 64]


@pytest.fixture
def make_unet(tmp_path):
    from configs import get_preset
    from engine.checkpoint import pickled
    from models import from_recipe

    def make(how):
        recipe = get_preset("demo_unet").with_(unet_up=how)
        arrays = {name: tensor.numpy() for name, tensor in from_recipe(recipe).state_dict().items()}
        (tmp_path / "best.pdparams").write_bytes(pickled(arrays))
        (tmp_path / "recipe.json").write_text(recipe.to_json())
        return tmp_path / "best.pdparams"

    return make
