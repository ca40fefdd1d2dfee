"""Named recipes. Each function's docstring gives the source, the command and the published result.

A published result is quoted from its source, not reached here; what this repository itself has run stands in
`logs/README.md`. Sources: "mm" is mmaction2 (configs/recognition and the model zoo tables, 0.x or 1.x as noted),
"MIT" the TSM authors' repository, "MVFNet" the MVF authors' repository, "PaddleMVF" its first Paddle port.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from configs import clip_presets, picture_presets
from configs.networks import family_of
from configs.options import RecipeError
from configs.recipe import Recipe

# One frame from each segment: the sampling that TSN introduced and TSM keeps.
_SEGMENTS: dict[str, Any] = {"clip_len": 1, "frame_interval": 1, "num_segments": 8, "test_clips": 1}
# mm's and MIT's schedule for TSN and TSM: SGD with momentum and steps, no smoothing, no precise BN.
_STEPS: dict[str, Any] = {
    "schedule": "step", "nesterov": False, "label_smoothing": 0.0, "precise_bn_epochs": 0, "warmup_epochs": 0.0,
    "best_metric": "top1_acc", "train_crop": "multi_scale", "weight_decay": 1e-4,
}  # fmt: skip
# TSM's parameter groups: last layer 5x, its bias 10x, other biases 2x, no decay on norms and biases.
_TSM_GROUPS: dict[str, Any] = {"lr_groups": "tsm", "decay_norm_bias": False, "clip_norm": 20.0}


def ucf101_mvf_r50() -> Recipe:
    """ResNet-50 with multi-view fusion on UCF101, 16x4 frames, from MVFNet's Kinetics-400 weights.

    Source: PaddleMVF's train.py, except that the gradient is clipped by its global norm (as MVFNet does; PaddleMVF
    clipped each tensor by itself). Published: top-1 96.83 / 96.65 / 96.48 on splits 1 / 2 / 3 with 30 views.
    Command: python train.py --dataset_root ucf101 --pretrained paddle_mvf.pdparams --split 1
    """
    return Recipe()


def kinetics400_mvf_r50() -> Recipe:
    """ResNet-50 with multi-view fusion on Kinetics-400 from ImageNet, 8x8 frames.

    Source: MVFNet's config (rate .015 for 8 x 12 clips, steps at 90 and 130 of 150). Published: top-1 76.0 with 30
    views (74.2 with --clip_len 4 --frame_interval 16, 77.0 with --clip_len 16 --frame_interval 4).
    Command: python train.py --preset kinetics400_mvf_r50 --dataset_root kinetics400 --pretrained resnet50.pth
    """
    return Recipe.of(
        clip_len=8, frame_interval=8, num_classes=400, max_epochs=150, batch_size=12, lr=0.015, base_batch_size=96,
        schedule="step", milestones=(90, 130), warmup_epochs=10.0, warmup_ratio=0.01, weight_decay=1e-4,
        label_smoothing=0.0, precise_bn_epochs=0, best_metric="top1_acc", out_of_bound="repeat_last",
    )  # fmt: skip


def kinetics400_tsn_r50() -> Recipe:
    """TSN with ResNet-50 on Kinetics-400, 8 segments.

    Source: mm 1.x, TSN 1x1x8; mm's TSN, of 0.x too, classifies the mean of the features of all views, hence the
    averaged scores. Published: top-1 74.12 with 25 segments x 10 crops.
    Command: python train.py --preset kinetics400_tsn_r50 --dataset_root kinetics400 --pretrained resnet50.pth
    """
    return Recipe.of(
        model="tsn_r50", num_classes=400, dropout=0.4, **_SEGMENTS, **_STEPS, sampling="mmaction1", test_segments=25,
        test_crops="ten", test_size=224, crop_points=5, max_epochs=100, milestones=(40, 80), batch_size=32, lr=0.01,
        base_batch_size=256, average_views="scores",
    )  # fmt: skip


def kinetics400_tsm_r50() -> Recipe:
    """TSM with ResNet-50 on Kinetics-400, 8 segments, 50 epochs.

    Source: mm 1.x, TSM 1x1x8 50e. Published: top-1 73.18 with 10 crops.
    Command: python train.py --preset kinetics400_tsm_r50 --dataset_root kinetics400 --pretrained resnet50.pth
    """
    return Recipe.of(
        model="tsm_r50", num_classes=400, **_SEGMENTS, **{**_STEPS, "warmup_epochs": 5.0}, **_TSM_GROUPS,
        sampling="mmaction1", warmup_ratio=0.1, test_crops="ten", test_size=224, max_epochs=50, milestones=(25, 45),
        lr=0.02, base_batch_size=128,
    )  # fmt: skip


def kinetics400_tsm_mobilenet_v2() -> Recipe:
    """TSM with MobileNetV2 on Kinetics-400, 8 segments.

    Source: mm 1.x, TSM-MobileNetV2 100e. Published: top-1 68.71 with 3 crops.
    Command: python train.py --preset kinetics400_tsm_mobilenet_v2 --dataset_root kinetics400 --pretrained mv2.pth
    """
    return kinetics400_tsm_r50().with_(
        model="tsm_mobilenet_v2", warmup_epochs=0.0, max_epochs=100, milestones=(40, 80), weight_decay=2e-5,
        test_crops="three", test_size=256,
    )  # fmt: skip


def ucf101_tsn_r50() -> Recipe:
    """TSN with ResNet-50 on UCF101 from ImageNet, 3 segments.

    Source: mm 0.x, TSN 1x1x3 75e. Published: top-1 83.03 on split 1 with 25 segments x 3 crops.
    Command: python train.py --preset ucf101_tsn_r50 --dataset_root ucf101 --pretrained resnet50.pth
    """
    return kinetics400_tsn_r50().with_(
        num_classes=101, num_segments=3, dropout=0.5, sampling="mmaction0", train_crop="random_resized",
        test_crops="three", test_size=256, max_epochs=75, milestones=(), lr=0.00128, weight_decay=5e-4,
    )  # fmt: skip


def hmdb51_tsn_r50() -> Recipe:
    """TSN with ResNet-50 on HMDB51 from ImageNet, 8 segments.

    Source: mm 0.x, TSN 1x1x8 50e. Published: top-1 48.95 on split 1 with 25 segments x 3 crops.
    Command: python train.py --preset hmdb51_tsn_r50 --dataset_root hmdb51 --pretrained resnet50.pth
    """
    return ucf101_tsn_r50().with_(
        num_classes=51, num_segments=8, max_epochs=50, milestones=(20, 40), lr=0.025, weight_decay=1e-4
    )


def ucf101_tsm_r50() -> Recipe:
    """TSM with ResNet-50 on UCF101 from Kinetics-400, 8 segments, no flip.

    Source: mm 0.x, TSM k400-pretrained 25e. Published: top-1 94.50 on split 1 with one view.
    Command: python train.py --preset ucf101_tsm_r50 --dataset_root ucf101 --pretrained tsm_k400.pth
    """
    return kinetics400_tsm_r50().with_(
        num_classes=101, dropout=0.8, sampling="mmaction0", flip=0.0, test_crops="center", max_epochs=25,
        milestones=(10, 20), warmup_epochs=0.0, batch_size=12, lr=0.0015, base_batch_size=96,
    )  # fmt: skip


def hmdb51_tsm_r50() -> Recipe:
    """TSM with ResNet-50 on HMDB51 from Kinetics-400, 8 segments, no flip.

    Source: mm 0.x, TSM k400-pretrained 25e. Published: top-1 72.68 on split 1 with one view.
    Command: python train.py --preset hmdb51_tsm_r50 --dataset_root hmdb51 --pretrained tsm_k400.pth
    """
    return ucf101_tsm_r50().with_(num_classes=51)


def sthv2_tsm_r50() -> Recipe:
    """TSM with ResNet-50 on Something-Something V2 from ImageNet, 8 segments, flips exchange left and right.

    Source: mm 1.x, TSM 1x1x8 50e. Published: top-1 62.72 with two clips x 3 crops of 256.
    Command: python train.py --preset sthv2_tsm_r50 --dataset_root sthv2 --pretrained resnet50.pth
    """
    return kinetics400_tsm_r50().with_(
        num_classes=174, flip_pairs=((86, 87), (93, 94), (166, 167)), weight_decay=5e-4, test_clips=2,
        test_crops="three", test_size=256,
    )  # fmt: skip


def sthv1_tsm_r50() -> Recipe:
    """TSM with ResNet-50 on Something-Something V1 from ImageNet, 8 segments, flips exchange left and right.

    Source: mm 0.x, TSM 1x1x8 50e with flip. Published: top-1 47.10 with two clips x 3 crops of 256 (45.58 unflipped).
    Command: python train.py --preset sthv1_tsm_r50 --dataset_root sthv1 --pretrained resnet50.pth
    """
    return sthv2_tsm_r50().with_(flip_pairs=((2, 4), (30, 41), (52, 66)), sampling="mmaction0")


def jester_tsm_r50() -> Recipe:
    """TSM with ResNet-50 on Jester from ImageNet, 8 segments; label order of the official csv file.

    Source: mm 0.x, TSM 1x1x8 50e. Published: top-1 97.2 with two clips x 3 crops of 256 (96.5 with one center crop).
    Command: python train.py --preset jester_tsm_r50 --dataset_root jester --pretrained resnet50.pth
    """
    return sthv2_tsm_r50().with_(
        num_classes=27, flip_pairs=((0, 1), (6, 7)), sampling="mmaction0", train_crop="random_resized",
        milestones=(20, 40), batch_size=8, lr=0.01, base_batch_size=64, warmup_epochs=0.0,
    )  # fmt: skip


def jester_tsm_online_mobilenet_v2() -> Recipe:
    """TSM with MobileNetV2 that looks back alone, for streams of gestures: as `jester_tsm_r50`.

    Source: the network of temporal-shift-module's `online_demo`, which comes without its training. Published: nothing
    that can be held against it.
    Command: python train.py --preset jester_tsm_online_mobilenet_v2 --dataset_root jester --pretrained mobilenet_v2.pth
    """
    return jester_tsm_r50().with_(model="tsm_mobilenet_v2", shift_direction="online")


def finetune_tsn_mobilenet_v2() -> Recipe:
    """TSN with MobileNetV2 for a small set of one's own, from ImageNet weights, on CPU.

    Source: ours. What it reaches on 300 surveillance videos stands in logs/README.md.
    Command: python train.py --preset finetune_tsn_mobilenet_v2 --dataset_root DIR --pretrained mobilenet_v2.pt
    """
    return Recipe.of(
        model="tsn_mobilenet_v2", **{**_SEGMENTS, "test_clips": 2}, sampling="mit", short_side=192, crop_size=160,
        test_size=192, train_crop="multi_scale", max_epochs=8, batch_size=8, lr=0.002, base_batch_size=8,
        warmup_epochs=1.0, warmup_ratio=0.1, weight_decay=1e-4, decay_norm_bias=False, label_smoothing=0.0,
        precise_bn_epochs=0, clip_norm=20.0, best_metric="top1_acc",
    )  # fmt: skip


def finetune_tsm_mobilenet_v2() -> Recipe:
    """TSM with MobileNetV2 for a small set of one's own, otherwise as `finetune_tsn_mobilenet_v2`.

    Source: ours. What it reaches on 300 surveillance videos stands in logs/README.md.
    Command: python train.py --preset finetune_tsm_mobilenet_v2 --dataset_root DIR --pretrained mobilenet_v2.pt
    """
    return finetune_tsn_mobilenet_v2().with_(model="tsm_mobilenet_v2")


def finetune_mvf_mobilenet_v2() -> Recipe:
    """Multi-view fusion with MobileNetV2 for a small set of one's own: 8 consecutive samples at an interval of 4.

    Source: ours. What it reaches on 300 surveillance videos stands in logs/README.md.
    Command: python train.py --preset finetune_mvf_mobilenet_v2 --dataset_root DIR --pretrained mobilenet_v2.pt
    """
    return finetune_tsn_mobilenet_v2().with_(
        model="mvf_mobilenet_v2", num_segments=1, clip_len=8, frame_interval=4, sampling="mmaction0", test_clips=5
    )


def demo_mvf() -> Recipe:
    """A small ResNet with multi-view fusion on the embedded motion set.

    Source: ours; the table that `make demo` prints stands in README.md.
    Command: python train.py --preset demo_mvf --dataset_root DIR
    """
    return Recipe.of(
        model="mvf_tiny", mvf_stages=(1, 1, 1, 1), mvf_alpha=0.5, clip_len=8, frame_interval=2,
        short_side=36, crop_size=32, test_size=32, test_clips=1, test_crops="center", train_crop="multi_scale",
        crop_scales=(0.9,), flip=0.0, dropout=0.0, max_epochs=8, batch_size=16, lr=0.05, warmup_epochs=0.5,
        weight_decay=1e-4, label_smoothing=0.0, precise_bn_epochs=0, best_metric="top1_acc",
    )  # fmt: skip


def demo_tsm() -> Recipe:
    """As `demo_mvf`, with temporal shift.

    Source: ours; the table that `make demo` prints stands in README.md.
    Command: python train.py --preset demo_tsm --dataset_root DIR
    """
    return demo_mvf().with_(model="tsm_tiny", shift_div=4)


def demo_tsn() -> Recipe:
    """As `demo_mvf`, without any temporal module: blind to the order of frames, so near chance.

    Source: ours; the table that `make demo` prints stands in README.md.
    Command: python train.py --preset demo_tsn --dataset_root DIR
    """
    return demo_mvf().with_(model="tsn_tiny")


PRESETS: dict[str, Callable[[], Recipe]] = {
    "ucf101_mvf_r50": ucf101_mvf_r50,
    "ucf101_tsm_r50": ucf101_tsm_r50,
    "ucf101_tsn_r50": ucf101_tsn_r50,
    "hmdb51_tsm_r50": hmdb51_tsm_r50,
    "hmdb51_tsn_r50": hmdb51_tsn_r50,
    "kinetics400_mvf_r50": kinetics400_mvf_r50,
    "kinetics400_tsm_r50": kinetics400_tsm_r50,
    "kinetics400_tsm_mobilenet_v2": kinetics400_tsm_mobilenet_v2,
    "kinetics400_tsn_r50": kinetics400_tsn_r50,
    "sthv1_tsm_r50": sthv1_tsm_r50,
    "sthv2_tsm_r50": sthv2_tsm_r50,
    "jester_tsm_r50": jester_tsm_r50,
    "jester_tsm_online_mobilenet_v2": jester_tsm_online_mobilenet_v2,
    "kinetics400_i3d_r50": clip_presets.kinetics400_i3d_r50,
    "kinetics400_i3d_inception": clip_presets.kinetics400_i3d_inception,
    "kinetics400_slowonly_r50": clip_presets.kinetics400_slowonly_r50,
    "kinetics400_slowfast_r50": clip_presets.kinetics400_slowfast_r50,
    "kinetics400_r2plus1d_r34": clip_presets.kinetics400_r2plus1d_r34,
    "kinetics400_r2plus1d_r18": clip_presets.kinetics400_r2plus1d_r18,
    "kinetics400_r3d_r18": clip_presets.kinetics400_r3d_r18,
    "kinetics400_mc3_r18": clip_presets.kinetics400_mc3_r18,
    "kinetics400_x3d_xs": clip_presets.kinetics400_x3d_xs,
    "kinetics400_x3d_s": clip_presets.kinetics400_x3d_s,
    "kinetics400_x3d_m": clip_presets.kinetics400_x3d_m,
    "kinetics400_x3d_l": clip_presets.kinetics400_x3d_l,
    "ucf101_c3d": clip_presets.ucf101_c3d,
    "kinetics600_shufflenet3d_x1_0": clip_presets.kinetics600_shufflenet3d_x1_0,
    "kinetics600_mobilenet3d_x1_0": clip_presets.kinetics600_mobilenet3d_x1_0,
    "jester_shufflenet3d_x1_0": clip_presets.jester_shufflenet3d_x1_0,
    "jester_mobilenet3d_x1_0": clip_presets.jester_mobilenet3d_x1_0,
    "ucf101_shufflenet3d_x1_0": clip_presets.ucf101_shufflenet3d_x1_0,
    "ucf101_mobilenet3d_x1_0": clip_presets.ucf101_mobilenet3d_x1_0,
    "finetune_i3d_inception": clip_presets.finetune_i3d_inception,
    "finetune_mvf_mobilenet_v2": finetune_mvf_mobilenet_v2,
    "finetune_tsm_mobilenet_v2": finetune_tsm_mobilenet_v2,
    "finetune_tsn_mobilenet_v2": finetune_tsn_mobilenet_v2,
    "portraits_unet": picture_presets.portraits_unet,
    "portraits_unet_mobilenet_v2": picture_presets.portraits_unet_mobilenet_v2,
    "demo_mvf": demo_mvf,
    "demo_tsm": demo_tsm,
    "demo_tsn": demo_tsn,
    "demo_unet": picture_presets.demo_unet,
}


def get_preset(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        RecipeError: No preset has that name; the message lists those that exist.
    """
    if name not in PRESETS:
        raise RecipeError(f"no preset is named {name!r}; known: {', '.join(PRESETS)}")
    return PRESETS[name]()


def preset_for_model(model: str) -> Recipe:
    """The recipe to start from when only a model is named: the preset nearest to it, with that model put in.

    Raises:
        RecipeError: No family has the model.
    """
    family = family_of(model)
    nearest = family.presets.get(family.models[model], family.presets.get("", ""))
    recipe = PRESETS[nearest]() if nearest else Recipe()
    return recipe.with_(model=model, num_classes=0)
