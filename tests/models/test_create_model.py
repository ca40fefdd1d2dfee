"""Names, numbers of parameters and keys of the models, and how a recipe becomes one."""

from math import prod

import pytest

from configs.networks import model_names
from configs.recipe import Recipe
from models import BACKBONES, create_model, from_recipe
from models.heads import TSNHead
from models.multi_view_fusion import MultiViewFusion
from models.temporal_shift import TemporalPool, TemporalShift


def trainable(model):
    return sum(prod(p.shape) for p in model.parameters() if not p.stop_gradient)


def test_every_backbone_has_every_module():
    modules = ("tsn", "tsm", "mvf")
    of_images = {name for name in model_names() if name.startswith(modules)}
    assert of_images == {f"{module}_{backbone}" for module in modules for backbone in BACKBONES}


@pytest.mark.parametrize(
    ("name", "num_classes", "expected"),
    [
        ("tsn_r50", 400, 24_327_632),
        ("tsm_r50", 400, 24_327_632),
        ("mvf_r50", 400, 24_342_416),
        ("mvf_r50", 101, 23_729_765),
        ("mvf_r101", 400, 43_358_480),
        ("tsm_mobilenet_v2", 400, 2_736_272),
        ("tsn_r18", 400, 11_381_712),  # torchvision's 11,689,512 with 400 classes for its 1000
        ("tsn_r34", 400, 21_489_872),  # 21,797,672 likewise
    ],
)
def test_numbers_of_trainable_parameters(name, num_classes, expected):
    assert trainable(create_model(name, num_classes=num_classes, num_frames=16)) == expected


def paddle_mvf_keys():
    """The 330 keys of PaddleMVF's mvf_r50."""
    convs, norms = ["backbone.conv1"], ["backbone.bn1"]
    for stage, depth in enumerate((3, 4, 6, 3), start=1):
        for block in range(depth):
            prefix = f"backbone.layer{stage}.{block}"
            convs += [f"{prefix}.conv2", f"{prefix}.conv3"]
            norms += [f"{prefix}.bn{i}" for i in (1, 2, 3)]
            if stage >= 3:
                convs += [f"{prefix}.conv1.{view}" for view in ("net", "shift_conv", "h_conv", "w_conv")]
                norms += [f"{prefix}.conv1.bn"]
            else:
                convs += [f"{prefix}.conv1"]
            if block == 0:
                convs += [f"{prefix}.downsample.0"]
                norms += [f"{prefix}.downsample.1"]
    keys = {f"{conv}.weight" for conv in convs} | {"cls_head.new_fc.weight", "cls_head.new_fc.bias"}
    return keys | {f"{norm}.{name}" for norm in norms for name in ("weight", "bias", "_mean", "_variance")}


def test_mvf_r50_has_the_keys_of_paddle_mvf():
    state = create_model("mvf_r50", num_classes=101, num_frames=16).state_dict()
    assert set(state) == paddle_mvf_keys()
    assert len(state) == 330
    assert list(state["backbone.layer3.0.conv1.net.weight"].shape) == [256, 512, 1, 1]
    assert list(state["backbone.layer3.0.conv1.shift_conv.weight"].shape) == [64, 1, 3, 1, 1]
    assert list(state["cls_head.new_fc.weight"].shape) == [2048, 101]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "tsm_r51"}, "model must be one of tsn_r18, .*mvf_tiny, .*, got 'tsm_r51'"),
        ({"num_classes": 0}, "num_classes must be at least 1, got 0"),
        ({"num_frames": 0}, "num_frames must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"dropout": -0.5}, "dropout must be at least 0 and below 1, got -0.5"),
        ({"network": "mvf_tiny", "temporal_pool": True}, "temporal_pool must be off for mvf_tiny"),
        ({"network": "tsn_tiny", "temporal_pool": True}, "temporal_pool must be off for tsn_tiny"),
        ({"norm_eps": 0.0}, "norm_eps must be above 0, got 0.0"),
        ({"same_padding": True}, "same_padding must be off for tsm_tiny: it belongs to mobilenet_v2"),
        ({"consensus": "videos"}, "consensus must be one of family, features, scores, got 'videos'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        create_model(**{"network": "tsm_tiny", "num_classes": 3, "num_frames": 8, **options})


def modules(model, kind):
    return [layer for layer in model.sublayers() if isinstance(layer, kind)]


def test_recipe_sets_every_shift_option():
    recipe = Recipe.of(
        model="tsm_tiny", num_classes=7, dropout=0.25, shift_div=4, shift_place="block", shift_direction="online",
        temporal_pool=True, partial_bn=True, num_segments=4, clip_len=2,
    )  # fmt: skip
    model = from_recipe(recipe)
    shifts = modules(model, TemporalShift)
    assert {(m.shift_div, m.direction) for m in shifts} == {(4, "online")}
    assert all(hasattr(m.net, "conv2") for m in shifts)
    assert shifts[0].num_frames == 8
    assert len(modules(model, TemporalPool)) == 1
    assert model.cls_head.dropout.p == 0.25
    assert model.cls_head.new_fc.weight.shape[1] == 7
    assert not model.backbone.layer4[0].net.bn1.training


def test_recipe_sets_every_fusion_option():
    recipe = Recipe.of(
        model="mvf_tiny", num_classes=7, mvf_mode="TH", mvf_alpha=0.25, mvf_share=True, mvf_use_hs=False,
        mvf_stages=(1, 0, 0, 0),
    )  # fmt: skip
    fusions = modules(from_recipe(recipe), MultiViewFusion)
    assert [(m.mode, m.channels, m.h_conv, m.bn) for m in fusions] == [("TH", 4, None, None)] * 2
    assert fusions[0].num_frames == recipe.clip.num_frames == 16


def test_recipe_sets_what_every_model_has():
    model = from_recipe(Recipe.of(model="mvf_mobilenet_v2", norm_eps=1e-3, same_padding=True, consensus="features"), 7)
    norms = [layer for layer in model.sublayers() if hasattr(layer, "_epsilon")]
    assert {type(norm).__name__ for norm in norms} == {"BatchNorm2D", "BatchNorm3D"}
    assert {norm._epsilon for norm in norms} == {1e-3}
    strided = {name for name, m in model.named_sublayers() if getattr(m, "_stride", None) == [2, 2]}
    padded = {name for name, m in model.named_sublayers() if getattr(m, "_padding_algorithm", None) == "SAME"}
    assert padded == strided
    assert len(padded) == 5
    assert type(model.cls_head) is TSNHead


def test_classes_of_the_dataset_fill_an_open_recipe():
    recipe = Recipe.of(model="tsn_tiny")
    assert from_recipe(recipe, 9).cls_head.new_fc.weight.shape[1] == 9
    assert from_recipe(recipe.with_(num_classes=5)).cls_head.new_fc.weight.shape[1] == 5
    with pytest.raises(ValueError, match="num_classes is 0 in the recipe"):
        from_recipe(recipe)
