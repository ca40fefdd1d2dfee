"""Named recipes of the networks over pictures, see `configs.presets` for what each docstring says."""

from __future__ import annotations

from typing import Any

from configs.recipe import Recipe

# One picture is a clip of one frame. SGD as for videos; masks are neither smoothed nor mixed.
_PICTURES: dict[str, Any] = {
    "num_segments": 1, "clip_len": 1, "frame_interval": 1, "test_clips": 1, "test_crops": "center", "num_classes": 2,
    "label_smoothing": 0.0, "dice_weight": 1.0, "best_metric": "miou", "weight_decay": 1e-4, "decay_norm_bias": False,
    "clip_norm": 10.0, "precise_bn_epochs": 0,
}  # fmt: skip


def portraits_unet() -> Recipe:
    """UNet of a quarter of the published width on portraits of 256 x 256, for phones.

    Source: ours; the network is that of xuduo35/unet_mxnet2ncnn; .821 mIoU on 60 photographs, see logs/README.md.
    Command: python train.py --preset portraits_unet --dataset_root DIR
    """
    return Recipe.of(
        model="unet_x0_25", **_PICTURES, short_side=256, crop_size=256, test_size=256, crop_area=(0.4, 1.0),
        rotate=15.0, color_jitter=0.3, max_epochs=50, batch_size=8, lr=0.05, base_batch_size=8, warmup_epochs=2.0,
    )  # fmt: skip


def portraits_unet_mobilenet_v2() -> Recipe:
    """UNet with MobileNetV2 from ImageNet weights, otherwise as `portraits_unet`.

    Source: ours; .923 mIoU on 60 photographs, see logs/README.md.
    Command: python train.py --preset portraits_unet_mobilenet_v2 --dataset_root DIR --pretrained mobilenet_v2.pt
    """
    return portraits_unet().with_(model="unet_mobilenet_v2", max_epochs=30, lr=0.02)


def demo_unet() -> Recipe:
    """UNet of an eighth of the published width on the embedded set of drawn people.

    Source: ours; the figures that `make demo-portrait` prints stand in README.md.
    Command: python train.py --preset demo_unet --dataset_root DIR
    """
    return Recipe.of(
        model="unet_tiny", **_PICTURES, short_side=64, crop_size=64, test_size=64, crop_area=(0.6, 1.0), rotate=10.0,
        color_jitter=0.2, max_epochs=10, batch_size=4, lr=0.1, base_batch_size=8, warmup_epochs=0.5,
    )  # fmt: skip
