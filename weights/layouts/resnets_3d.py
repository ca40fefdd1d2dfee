"""github.com/kenshohara/3D-ResNets-PyTorch: models/resnet.py; the names are those of ResNets of single frames."""

from __future__ import annotations

from weights.layout import TORCH, Layout
from weights.tables import PLAIN_RESNET

LAYOUT = Layout(
    TORCH,
    (PLAIN_RESNET,),
    key="state_dict",
    axes=5,
    protocol={
        "mean": (110.7975, 103.3005, 96.2625), "std": (70.584, 69.2835, 70.3035),  # .4345, .2768, ... of 255
        "clip_len": 16, "frame_interval": 1, "num_segments": 1, "short_side": 112, "crop_size": 112, "test_size": 112,
        "test_crops": "center", "test_clips": 10,
    },
)  # fmt: skip
