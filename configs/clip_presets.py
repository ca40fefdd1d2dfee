"""Named recipes of the networks that convolve over frames, see `configs.presets` for what each docstring says.

Sources: "mm" is mmaction2 1.x (configs/recognition and its tables), "FAIR" PySlowFast (configs/Kinetics and
MODEL_ZOO.md), "torchvision" its table of weights, "DeepMind" the README of kinetics-i3d.
"""

from __future__ import annotations

from typing import Any

from configs.recipe import Recipe

# mm's training and testing of its 3-D networks: SGD, 10 clips x 3 crops of 256.
_MMACTION2: dict[str, Any] = {
    "num_classes": 400, "sampling": "mmaction1", "nesterov": False, "label_smoothing": 0.0, "precise_bn_epochs": 0,
    "weight_decay": 1e-4, "clip_norm": 40.0, "warmup_epochs": 0.0, "best_metric": "top1_acc", "batch_size": 8,
    "base_batch_size": 64, "test_clips": 10, "test_crops": "three", "test_size": 256,
}  # fmt: skip
FAIR_MEAN, FAIR_STD = (114.75,) * 3, (57.375,) * 3  # 0.45 and 0.225 of 255
TORCHVISION_MEAN = (110.2008, 100.63983, 95.99475)  # 0.43216, 0.394666, 0.37645
TORCHVISION_STD = (58.14765, 56.46975, 55.332195)  # 0.22803, 0.22145, 0.216989


def kinetics400_i3d_r50() -> Recipe:
    """I3D with ResNet-50 on Kinetics-400 from ImageNet, 32x2 frames.

    Source: mm, I3D 32x2x1 100e. Published: top-1 73.47 with 10 x 3 views of 256.
    Command: python train.py --preset kinetics400_i3d_r50 --dataset_root kinetics400 --pretrained resnet50.pth
    """
    return Recipe.of(
        model="i3d_r50", **_MMACTION2, clip_len=32, frame_interval=2, train_crop="multi_scale", crop_scales=(1.0, 0.8),
        crop_max_gap=0, crop_points=5, max_epochs=100, lr=0.01, schedule="step", milestones=(40, 80),
    )  # fmt: skip


def kinetics400_slowonly_r50() -> Recipe:
    """SlowOnly with ResNet-50 on Kinetics-400 from ImageNet, 8x8 frames.

    Source: mm, SlowOnly 8x8x1 steplr 150e. Published: top-1 76.45 with 10 x 3 views of 256.
    Command: python train.py --preset kinetics400_slowonly_r50 --dataset_root kinetics400 --pretrained resnet50.pth
    """
    return Recipe.of(
        model="slowonly_r50", **{**_MMACTION2, "warmup_epochs": 10.0, "batch_size": 16, "base_batch_size": 128},
        clip_len=8, frame_interval=8, max_epochs=150, lr=0.02, schedule="step", milestones=(90, 130), warmup_ratio=0.1,
    )  # fmt: skip


def kinetics400_slowfast_r50() -> Recipe:
    """SlowFast with ResNet-50 on Kinetics-400 from scratch, 8x8: 32 fast frames, 8 slow ones.

    Source: mm, SlowFast 8x8x1 256e. Published: top-1 76.80 with 10 x 3 views of 256.
    Command: python train.py --preset kinetics400_slowfast_r50 --dataset_root kinetics400
    """
    return Recipe.of(
        model="slowfast_r50", slowfast_alpha=4, lateral_norm=False, slow_frames="stride", joined_order="fast_slow",
        **{**_MMACTION2, "warmup_epochs": 34.0}, clip_len=32, frame_interval=2, max_epochs=256, lr=0.1,
        warmup_ratio=0.1,
    )  # fmt: skip


def kinetics400_r2plus1d_r34() -> Recipe:
    """R(2+1)D with 34 layers on Kinetics-400 from scratch, 8x8 frames.

    Source: mm, R(2+1)D 8x8x1 180e. Published: top-1 69.76 with 10 x 3 views of 256.
    Command: python train.py --preset kinetics400_r2plus1d_r34 --dataset_root kinetics400
    """
    return Recipe.of(
        model="r2plus1d_r34", norm_eps=1e-3, **_MMACTION2, clip_len=8, frame_interval=8, max_epochs=180, lr=0.01
    )


def kinetics400_r2plus1d_r18() -> Recipe:
    """R(2+1)D with 18 layers on Kinetics-400 from scratch, 16 frames of 112.

    Source: torchvision, models/video/README.md (24 clips on each of 64 GPUs, whose rates add up). Published: top-1
    67.46 with 5 clips of a video at 15 frames a second, frames of 128 x 171.
    Command: python train.py --preset kinetics400_r2plus1d_r18 --dataset_root kinetics400
    """
    return Recipe.of(
        model="r2plus1d_r18", dropout=0.0, mean=TORCHVISION_MEAN, std=TORCHVISION_STD,
        **{**_MMACTION2, "test_clips": 5, "test_crops": "center", "test_size": 112, "warmup_epochs": 10.0,
        "batch_size": 24, "base_batch_size": 24}, clip_len=16, frame_interval=2, short_side=128,
        resize_shape=(128, 171), crop_size=112, max_epochs=45, lr=0.01, schedule="step", milestones=(20, 30, 40),
    ).with_(clip_norm=0.0, place_window=4)  # fmt: skip


def kinetics400_r3d_r18() -> Recipe:
    """R3D with 18 layers on Kinetics-400.

    Source: torchvision, otherwise as `kinetics400_r2plus1d_r18`. Published: top-1 63.20.
    Command: python train.py --preset kinetics400_r3d_r18 --dataset_root kinetics400
    """
    return kinetics400_r2plus1d_r18().with_(model="r3d_r18")


def kinetics400_mc3_r18() -> Recipe:
    """MC3 with 18 layers on Kinetics-400.

    Source: torchvision, otherwise as `kinetics400_r2plus1d_r18`. Published: top-1 63.96.
    Command: python train.py --preset kinetics400_mc3_r18 --dataset_root kinetics400
    """
    return kinetics400_r2plus1d_r18().with_(model="mc3_r18")


def kinetics400_x3d_m() -> Recipe:
    """X3D-M on Kinetics-400 from scratch, 16x5 frames.

    Source: FAIR, X3D_M (rate .1 for 128 clips, cosine over 300 epochs, 35 of warm-up, no decay of norms). Published:
    top-1 76.2 with 10 x 3 views of 256, each in windows of the training crop.
    Command: python train.py --preset kinetics400_x3d_m --dataset_root kinetics400
    """
    return Recipe.of(
        model="x3d_m", **{**_MMACTION2, "nesterov": True, "warmup_epochs": 35.0, "base_batch_size": 128},
        mean=FAIR_MEAN, std=FAIR_STD, clip_len=16, frame_interval=5, max_epochs=300, lr=0.1, warmup_ratio=0.1,
        places="probabilities", place_window=7,
    ).with_(weight_decay=5e-5, decay_norm_bias=False, clip_norm=0.0)  # fmt: skip


def kinetics400_x3d_s() -> Recipe:
    """X3D-S on Kinetics-400 from scratch, 13x6 frames of 160.

    Source: FAIR, X3D_S, otherwise as `kinetics400_x3d_m`. Published: top-1 73.5 with 10 x 3 views of 182.
    Command: python train.py --preset kinetics400_x3d_s --dataset_root kinetics400
    """
    return kinetics400_x3d_m().with_(
        model="x3d_s", clip_len=13, frame_interval=6, short_side=182, crop_size=160, test_size=182, place_window=5
    )


def kinetics400_x3d_xs() -> Recipe:
    """X3D-XS on Kinetics-400 from scratch, 4x12 frames of 160.

    Source: FAIR, X3D_XS, otherwise as `kinetics400_x3d_s`. Published: top-1 69.5 with 10 x 3 views of 182.
    Command: python train.py --preset kinetics400_x3d_xs --dataset_root kinetics400
    """
    return kinetics400_x3d_s().with_(model="x3d_xs", clip_len=4, frame_interval=12)


def kinetics400_x3d_l() -> Recipe:
    """X3D-L on Kinetics-400 from scratch, 16x5 frames of 312.

    Source: FAIR, X3D_L (rate .05 for 64 clips, 256 epochs), otherwise as `kinetics400_x3d_m`. Published: top-1 77.5
    with 10 x 3 views of 356.
    Command: python train.py --preset kinetics400_x3d_l --dataset_root kinetics400
    """
    return kinetics400_x3d_m().with_(
        model="x3d_l", short_side=356, crop_size=312, test_size=356, place_window=10, lr=0.05, base_batch_size=64,
        max_epochs=256,
    )  # fmt: skip


def ucf101_c3d() -> Recipe:
    """C3D on UCF101 from Sports-1M, 16x1 frames of 112.

    Source: mm, C3D 16x1x1 45e. Published: top-1 83.08 with 10 views of 112. The means are of B, G, R there too, for
    pictures of R, G, B.
    Command: python train.py --preset ucf101_c3d --dataset_root ucf101 --pretrained c3d_sports1m.pth
    """
    return Recipe.of(
        model="c3d", **{**_MMACTION2, "num_classes": 101, "weight_decay": 5e-4, "batch_size": 30,
        "base_batch_size": 240, "test_crops": "center", "test_size": 112}, mean=(104.0, 117.0, 128.0),
        std=(1.0, 1.0, 1.0), clip_len=16, frame_interval=1, short_side=128, crop_size=112, max_epochs=45, lr=0.001,
        schedule="step", milestones=(20, 40),
    )  # fmt: skip


def kinetics400_i3d_inception() -> Recipe:
    """I3D of Inception-v1 on Kinetics-400, 64 frames of 224.

    Source: DeepMind (rate .1, a tenth of it at 97k and 108k of 115k steps of 6 x 64 clips, some 100 epochs). Published:
    top-1 71.1 on the test set, for the network that began with ImageNet's weights.
    Command: python train.py --preset kinetics400_i3d_inception --dataset_root kinetics400
    """
    return Recipe.of(
        model="i3d_inception", **{**_MMACTION2, "weight_decay": 1e-7, "batch_size": 6, "base_batch_size": 384,
        "test_clips": 1, "test_crops": "center", "test_size": 224}, mean=(127.5,) * 3, std=(127.5,) * 3, clip_len=64,
        frame_interval=1, max_epochs=180, lr=0.1, schedule="step", milestones=(152, 169),
    )  # fmt: skip


def finetune_i3d_inception() -> Recipe:
    """I3D of Inception-v1 for a small set of one's own, from the published weights, on CPU.

    Source: ours. What it reaches on 300 surveillance videos stands in logs/README.md.
    Command: python train.py --preset finetune_i3d_inception --dataset_root DIR --pretrained i3d_kinetics400.safetensors
    """
    return kinetics400_i3d_inception().with_(
        num_classes=0, partial_bn=True, clip_len=16, frame_interval=4, sampling="mmaction0",
        out_of_bound="repeat_last", test_clips=3, short_side=224, crop_size=192, test_size=224,
        train_crop="multi_scale", max_epochs=4, batch_size=4, lr=0.002, base_batch_size=4, schedule="cosine",
        milestones=(), warmup_epochs=0.5, warmup_ratio=0.1,
    )  # fmt: skip


# Efficient-3DCNNs: SGD on pixels from 0 to 255. Its dampening of 0.9 makes a rate of 0.1 one of 0.01 without dampening.
_EFFICIENT3D: dict[str, Any] = {
    "num_classes": 600, "sampling": "efficient3d", "clip_len": 16, "frame_interval": 1, "test_clips": 1,
    "mean": (114.7748, 107.7354, 99.475), "std": (1.0, 1.0, 1.0), "short_side": 112, "crop_size": 112,
    "test_size": 112, "test_crops": "center", "fused_resize": True, "train_crop": "multi_scale",
    "crop_scales": (1.0, 0.8409, 0.7071, 0.5946, 0.5), "crop_max_gap": 0, "nesterov": False, "weight_decay": 1e-3,
    "label_smoothing": 0.0, "precise_bn_epochs": 0, "clip_norm": 0.0, "warmup_epochs": 0.0,
    "best_metric": "top1_acc", "batch_size": 16, "base_batch_size": 64, "lr": 0.01, "schedule": "step",
    "milestones": (40, 55, 65, 70), "max_epochs": 75,
}  # fmt: skip


def kinetics600_shufflenet3d_x1_0() -> Recipe:
    """ShuffleNetV2 over clips on Kinetics-600 from scratch, 16 frames of 112.

    Source: Efficient-3DCNNs; crops lie on a grid of 13 places there where the source draws any. Published: top-1 of a
    clip 46.10; of x0_25 25.73, x1_5 52.05, x2_0 55.17.
    Command: python train.py --preset kinetics600_shufflenet3d_x1_0 --dataset_root kinetics600
    """
    return Recipe.of(model="shufflenet3d_x1_0", **_EFFICIENT3D)


def kinetics600_mobilenet3d_x1_0() -> Recipe:
    """MobileNetV2 over clips on Kinetics-600 from scratch, otherwise as `kinetics600_shufflenet3d_x1_0`.

    Source: Efficient-3DCNNs. Published: top-1 of a clip 50.65; of x0_2 24.14, x0_45 36.47, x0_7 45.59.
    Command: python train.py --preset kinetics600_mobilenet3d_x1_0 --dataset_root kinetics600
    """
    return kinetics600_shufflenet3d_x1_0().with_(model="mobilenet3d_x1_0")


def jester_shufflenet3d_x1_0() -> Recipe:
    """ShuffleNetV2 over clips on Jester from Kinetics-600, every second frame; label order of the official csv file.

    Source: Efficient-3DCNNs, whose training mirrors clips without the labels of directions; here they are exchanged.
    Published: top-1 91.96; of x0_25 86.91, x1_5 93.16, x2_0 93.71.
    Command: python train.py --preset jester_shufflenet3d_x1_0 --dataset_root jester --pretrained kinetics600.pth
    """
    return kinetics600_shufflenet3d_x1_0().with_(num_classes=27, frame_interval=2, flip_pairs=((0, 1), (6, 7)))


def jester_mobilenet3d_x1_0() -> Recipe:
    """MobileNetV2 over clips on Jester, otherwise as `jester_shufflenet3d_x1_0`.

    Source: Efficient-3DCNNs. Published: top-1 94.59; of x0_2 86.43, x0_45 90.21, x0_7 93.34.
    Command: python train.py --preset jester_mobilenet3d_x1_0 --dataset_root jester --pretrained kinetics600.pth
    """
    return jester_shufflenet3d_x1_0().with_(model="mobilenet3d_x1_0")


def ucf101_shufflenet3d_x1_0() -> Recipe:
    """The classifier of ShuffleNetV2 over clips on UCF101, on what Kinetics-600 taught the rest.

    Source: Efficient-3DCNNs. Published: top-1 77.90; of x0_25 56.52, x1_5 82.32, x2_0 83.32.
    Command: python train.py --preset ucf101_shufflenet3d_x1_0 --dataset_root ucf101 --pretrained kinetics600.pth
    """
    return kinetics600_shufflenet3d_x1_0().with_(num_classes=101, dropout=0.9, frozen="backbone")


def ucf101_mobilenet3d_x1_0() -> Recipe:
    """The classifier of MobileNetV2 over clips on UCF101, otherwise as `ucf101_shufflenet3d_x1_0`.

    Source: Efficient-3DCNNs. Published: top-1 81.60; of x0_2 55.56, x0_45 68.31, x0_7 77.32.
    Command: python train.py --preset ucf101_mobilenet3d_x1_0 --dataset_root ucf101 --pretrained kinetics600.pth
    """
    return ucf101_shufflenet3d_x1_0().with_(model="mobilenet3d_x1_0")
