"""github.com/facebookresearch/SlowFast: models/video_model_builder.py, resnet_helper.py, head_helper.py."""

from __future__ import annotations

from configs.clip_presets import FAIR_MEAN, FAIR_STD
from weights.layout import Layout, torch_with_pointwise
from weights.quirks import CLIP_IN_NAME, slowfast_alpha, slowfast_clip
from weights.tables import Names, Table, bottlenecks3d, head, layer

_LETTERS = {"conv1": "a", "conv2": "b", "conv3": "c"}
_HEAD = head("head.projection")


def _parts(part: str) -> Names:
    letter = _LETTERS.get(part)
    return (f"branch2.{letter}", f"branch2.{letter}_bn") if letter else ("branch1", "branch1_bn")


def _pathway(ours: str, number: int) -> Table:
    stem = f"s1.pathway{number}_stem."
    return (
        *layer(f"{ours}conv1", f"{ours}bn1", f"{stem}conv", f"{stem}bn"),
        *bottlenecks3d(ours, lambda stage: f"s{stage + 1}.pathway{number}_res{{j}}.", _parts),
    )


def _lateral(number: int) -> Table:
    fuse = f"s{number + 1}_fuse."
    return layer(f"backbone.lateral.{number}.conv", f"backbone.lateral.{number}.bn", f"{fuse}conv_f2s", f"{fuse}bn")


SLOWFAST = (
    _HEAD,
    *_pathway("backbone.slow_path.", 0),
    *_pathway("backbone.fast_path.", 1),
    *(rule for number in range(4) for rule in _lateral(number)),
)
_X3D = (
    _HEAD,
    ("backbone.conv1_s.weight", "s1.pathway0_stem.conv_xy.weight"),
    *layer("backbone.conv1_t", "backbone.bn1", "s1.pathway0_stem.conv", "s1.pathway0_stem.bn"),
    *(
        (
            f"backbone.layer{stage}.{{j}}.se.fc{{k}}.{{leaf}}",
            f"s{stage + 1}.pathway0_res{{j}}.branch2.se.fc{{k}}.{{leaf}}",
        )
        for stage in range(1, 5)
    ),
    *bottlenecks3d("backbone.", lambda stage: f"s{stage + 1}.pathway0_res{{j}}.", _parts),
    *layer("backbone.conv5", "backbone.bn5", "head.conv_5", "head.conv_5_bn"),
    ("cls_head.fc1.weight", "head.lin_5.weight"),
)

# How PySlowFast tests networks over clips: 10 clips of 30 frames a second, three crops, each place by itself.
PROTOCOL = {
    "sampling": "pyslowfast", "fps": 30.0, "mean": FAIR_MEAN, "std": FAIR_STD, "places": "probabilities",
    "test_clips": 10, "test_crops": "three",
}  # fmt: skip

LAYOUT = Layout(
    torch_with_pointwise(r"head\.lin_5\.weight"),
    ((_HEAD, *_pathway("backbone.", 0)), SLOWFAST, _X3D),
    key="model_state",
    network={"i3d_stem_stride": 1, "slow_frames": "linspace", "joined_order": "slow_fast"},
    protocol=PROTOCOL,
    network_of=slowfast_alpha,
    protocol_in_name=(CLIP_IN_NAME,),
    protocol_of=slowfast_clip,
)
