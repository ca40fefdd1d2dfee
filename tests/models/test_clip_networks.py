"""Networks over clips: sizes as published, outputs of their twins, what their tensors tell."""

import functools

import numpy as np
import paddle
import pytest
import torch

from alignment.certification.recognizers import randomize_weights
from alignment.certification.twins import create_twin
from configs.networks import network_of
from configs.options import RecipeError
from models import create_model, recognize
from models.recognizer3d import mean_over_places
from models.slowfast import spread
from runtime.errors import UserError
from weights import CheckpointError, assign, to_layout, translate

# model, options, classes, parameters without statistics, tensors: published figures, see each family's sources
SIZES = [
    ("i3d_r50", {}, 400, 28_043_472, 267),
    ("i3d_r50_heavy", {}, 400, 33_024_208, 267),
    ("i3d_inception", {}, 400, 12_697_264, 287),
    ("slowonly_r50", {}, 400, 32_454_096, 267),
    ("slowonly_r101", {}, 400, 60_359_120, 522),
    ("slowfast_r50", {"lateral_kernel": 5, "lateral_norm": False}, 400, 34_479_288, 536),
    ("slowfast_r50", {"lateral_kernel": 5}, 400, 34_480_216, 552),
    ("slowfast_r50", {"lateral_norm": False}, 400, 34_565_560, 536),
    ("slowfast_r50", {}, 400, 34_566_488, 552),
    ("slowfast_r101", {"lateral_norm": False}, 400, 62_912_312, 1046),
    ("slowfast_r101", {"lateral_kernel": 5}, 400, 62_826_968, 1062),
    ("slowfast_r101_50_50", {"lateral_kernel": 5}, 400, 53_774_808, 1062),
    ("r2plus1d_r34", {}, 400, 63_759_281, 362),
    ("r2plus1d_r18", {}, 400, 31_505_325, 187),
    ("r3d_r18", {}, 400, 33_371_472, 102),
    ("r3d_r18", {"r3d_pooled_stem": True}, 700, 33_563_004, 102),
    ("r3d_r34", {"r3d_pooled_stem": True}, 700, 63_872_636, 182),
    ("r3d_r50", {"r3d_pooled_stem": True}, 700, 47_633_276, 267),
    ("mc3_r18", {}, 400, 11_695_440, 102),
    ("x3d_m", {}, 400, 3_794_322, 484),
    ("x3d_m", {"x3d_shortcut_norm": False}, 400, 3_794_274, 480),
    ("x3d_l", {}, 400, 6_153_432, 975),
    ("x3d_l", {"x3d_shortcut_norm": False}, 400, 6_153_384, 971),
    ("shufflenet3d_x0_25", {}, 600, 829_656, 282),
    ("shufflenet3d_x0_25", {}, 27, 242_331, 282),
    ("shufflenet3d_x1_0", {}, 600, 1_914_180, 282),
    ("shufflenet3d_x1_5", {}, 600, 3_161_880, 282),
    ("shufflenet3d_x2_0", {}, 600, 6_639_816, 282),
    ("mobilenet3d_x0_2", {}, 600, 964_110, 262),
    ("mobilenet3d_x0_45", {}, 600, 1_399_834, 262),
    ("mobilenet3d_x0_7", {}, 600, 2_049_942, 262),
    ("mobilenet3d_x1_0", {}, 600, 3_122_648, 262),
    ("c3d", {}, 101, 78_409_573, 22),
    ("c3d", {"c3d_norm": True}, 101, 78_415_077, 54),
]
LARGE = ("r101", "r101_50_50", "r34", "x3d_l", "c3d")  # more of the same layers, or very many weights


@pytest.mark.parametrize(
    ("name", "options", "classes", "parameters", "tensors"),
    [pytest.param(*size, marks=pytest.mark.whole if size[0].endswith(LARGE) else ()) for size in SIZES],
)
def test_sizes_are_those_published_and_the_tensors_tell_the_network(name, options, classes, parameters, tensors):
    arrays = {
        key: tensor.numpy()
        for key, tensor in create_model(name, num_classes=classes, num_frames=16, **options).state_dict().items()
    }
    learned = [array.size for key, array in arrays.items() if not key.endswith(("._mean", "._variance"))]
    assert (sum(learned), len(arrays)) == (parameters, tensors)
    found = recognize(arrays, modules_hidden=False)
    assert set(found) == ({"x3d_xs", "x3d_s", "x3d_m"} if name == "x3d_m" else {name})
    assert options.items() <= found[name].options.items()


# model, frames, side, options; every option of a family has its turn
CASES = [
    ("i3d_tiny", 8, 48, {}),
    ("i3d_tiny", 5, 33, {"i3d_stem_stride": 1}),
    ("slowonly_tiny", 3, 48, {}),
    ("slowonly_tiny", 3, 96, {"places": "logits", "place_window": 2}),
    ("slowonly_tiny", 3, 96, {"places": "probabilities", "place_window": 2}),
    ("slowfast_tiny", 8, 48, {}),
    ("slowfast_tiny", 16, 40, {"slowfast_alpha": 8, "lateral_kernel": 5, "lateral_norm": False}),
    ("slowfast_tiny", 8, 40, {"slow_frames": "stride", "joined_order": "fast_slow"}),
    ("slowfast_tiny", 8, 96, {"places": "probabilities", "place_window": 2, "joined_order": "fast_slow"}),
    ("r2plus1d_r18", 4, 33, {}),
    ("r2plus1d_r34", 4, 33, {"norm_eps": 2**-10}),
    ("r3d_r18", 4, 32, {}),
    ("r3d_r18", 5, 33, {"r3d_pooled_stem": True}),
    ("r3d_r50", 5, 33, {"r3d_pooled_stem": True}),
    ("mc3_r18", 4, 32, {}),
    ("x3d_tiny", 4, 48, {}),
    ("x3d_tiny", 5, 97, {"x3d_shortcut_norm": False, "places": "probabilities", "place_window": 2}),
    ("shufflenet3d_x0_25", 16, 48, {}),
    ("shufflenet3d_x0_5", 5, 49, {"norm_eps": 2**-10}),
    ("shufflenet3d_x0_25", 4, 160, {"places": "logits", "place_window": 4}),
    ("mobilenet3d_x0_2", 16, 48, {}),
    ("mobilenet3d_x0_45", 5, 49, {"norm_eps": 2**-10}),
    ("i3d_inception", 9, 65, {"norm_eps": 2**-10}),
    pytest.param("i3d_inception", 8, 225, {"norm_eps": 2**-10}, marks=pytest.mark.whole),
]


@pytest.mark.parametrize(("name", "frames", "side", "options"), CASES)
def test_a_network_computes_what_its_twin_computes(name, frames, side, options):
    check_twin(name, frames, side, options)


@pytest.mark.whole
@pytest.mark.parametrize("norm", [False, True])
def test_c3d_computes_what_its_twin_computes(norm):
    check_twin("c3d", 16, 112, {"c3d_norm": norm})


def check_twin(name, frames, side, options):
    settings = {"num_classes": 11, "num_frames": frames, **options}
    model, twin = create_model(name, **settings), create_twin(name, **settings).double()
    randomize_weights(twin, 0)
    found = translate({key: tensor.numpy() for key, tensor in twin.state_dict().items()}, "the twin", "pytorch")
    model.to(dtype="float64")
    for key, tensor in model.state_dict().items():
        tensor.set_value(found.arrays[key])
    model.eval()
    twin.eval()
    clips = np.random.default_rng(0).normal(size=(2, frames, 3, side, side))
    with paddle.no_grad(), torch.no_grad():
        ours, theirs = model(paddle.to_tensor(clips)).numpy(), twin(torch.from_numpy(clips)).numpy()
    assert np.ptp(theirs, axis=0).max() > 1e-3 * np.abs(theirs).max()  # the clips are told apart
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10 * np.abs(theirs).max())


@pytest.mark.parametrize(("frames", "alpha"), [(32, 4), (32, 8), (64, 4), (160, 4), (8, 8), (16, 2)])
def test_slow_frames_are_those_of_torch_linspace(frames, alpha):
    count = frames // alpha
    assert spread(frames, count).tolist() == torch.linspace(0, frames - 1, count).long().tolist()


@pytest.mark.parametrize(
    ("name", "frames", "options", "message"),
    [
        ("i3d_tiny", 4, {}, "i3d_stem_stride must be another, or clip_len 5 or more: of 4 frames it leaves none"),
        ("slowfast_tiny", 6, {}, "slowfast_alpha must be a divisor of the clip's 6 frames"),
        ("c3d", 8, {}, "model must be another for clips of 8 frames"),
    ],
)
def test_clips_that_a_network_cannot_take(name, frames, options, message):
    with pytest.raises(RecipeError, match=message):
        create_model(network_of(name, **options), num_classes=2, num_frames=frames)


def test_clips_of_another_size_are_one_line():
    model = create_model("c3d", num_classes=2, num_frames=16)
    with pytest.raises(UserError, match="c3d takes clips of 16 frames of 112 x 112, got 16 x 32 x 32"):
        model(paddle.zeros([1, 16, 3, 32, 32]))
    with pytest.raises(UserError, match="clips must be"):
        model(paddle.zeros([1, 3, 32, 32]))


def test_only_weights_of_norms_that_the_published_network_has_are_trained():
    frozen = create_model("i3d_inception", num_classes=2, num_frames=8)
    learned = create_model("i3d_inception", num_classes=2, num_frames=8, i3d_norm_weight=True)
    trained = [sum(int(np.prod(p.shape)) for p in m.parameters() if not p.stop_gradient) for m in (frozen, learned)]
    assert trained[1] - trained[0] == 12_697_264 - 12_689_984


# ---------------------------------------------------------------------------------------------------------------------
# Weights of images


@functools.cache
def image_file(variant):
    """The tensors of an image network in torchvision's layout."""
    arrays = {key: tensor.numpy() for key, tensor in create_model(f"tsn_{variant}", num_classes=9, num_frames=1)
              .state_dict().items()}  # fmt: skip
    rng = np.random.default_rng(0)
    for key, array in arrays.items():
        std = (2 / np.prod(array.shape[1:])) ** 0.5
        drawn = rng.normal(0, std, array.shape) if array.ndim == 4 else 0.5 + rng.random(array.shape)
        arrays[key] = drawn.astype(np.float32)
    return to_layout(arrays, "torchvision")


@pytest.mark.parametrize(
    ("name", "variant", "pathway"),
    [
        ("i3d_r50", "r50", ""),
        ("i3d_r50_heavy", "r50", ""),
        ("slowonly_r50", "r50", ""),
        ("slowfast_r50", "r50", "slow_path."),
        ("r3d_r18", "r18", ""),
        ("mc3_r18", "r18", ""),
    ],
)
def test_weights_of_images_are_inflated_so_that_a_still_picture_is_seen_as_before(name, variant, pathway):
    model, file = create_model(name, num_classes=3, num_frames=8), image_file(variant)
    with pytest.raises(CheckpointError, match="does not fit the model"):
        assign(model, translate(file, "the file"), ["head"])
    coverage = assign(model, translate(file, "the file"), ["head", "frames"])
    state = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    for key, array in file.items():
        if key.startswith(("layer", "conv1", "bn1")) and not key.endswith(("tracked", "running_mean", "running_var")):
            found = state[f"backbone.{pathway}{key}"]
            if array.ndim == 4:
                np.testing.assert_allclose(found.sum(axis=2)[:, : array.shape[1]], array, rtol=1e-6)
                assert not found[:, array.shape[1] :].any()
                array = found[:, :, :1].repeat(found.shape[2], axis=2)
            np.testing.assert_array_equal(found, array)
    fresh = {key for key in state if key not in coverage.loaded}
    assert {key.split(".")[1] for key in fresh} == {"new_fc"} | ({"fast_path", "lateral"} if pathway else set())


def test_an_inflated_stage_computes_on_a_still_video_what_it_computes_on_the_picture():
    clips, image = (
        create_model("slowonly_r50", num_classes=3, num_frames=9),
        create_model("tsn_r50", num_classes=3, num_frames=1),
    )
    assign(clips, translate(image_file("r50"), "the file"), ["head", "frames"])
    assign(image, translate(image_file("r50"), "the file"), ["head"])
    clips.eval()
    image.eval()
    picture = paddle.rand([1, 3, 64, 64])
    with paddle.no_grad():
        features = clips.backbone(picture.unsqueeze(2).tile([1, 1, 19, 1, 1]))[:, :, 9]  # far from both ends
        wanted = image.backbone(picture)
    scale = float(wanted.abs().max())
    np.testing.assert_allclose(features.numpy() / scale, wanted.numpy() / scale, atol=1e-5)


def test_a_mean_over_many_places_is_as_exact_as_pytorchs():
    x = np.random.default_rng(0).normal(0.05, 1, (2, 54, 13, 40, 40)).astype(np.float32)
    wanted = x.astype(np.float64).mean((2, 3, 4))
    found = mean_over_places(paddle.to_tensor(x)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=4e-7 * np.abs(wanted).max())  # Paddle's own: 4e-6
