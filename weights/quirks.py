"""Habits that several public sources share, as values and functions for their `Layout`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from configs.networks import family_of
from weights.layout import Fields

# A number in a file name that counts frames (sizes of images have three digits), and what stands around such numbers.
COUNT, START, END = r"[1-9]\d?", r"(?:^|[_/-])", r"(?=[_./-]|$)"
# How image networks are tested.
IMAGENET = {"short_side": 256, "crop_size": 224, "test_size": 224, "test_crops": "center", "test_clips": 1}


CLIP_IN_NAME = rf"{START}(?P<clip_len>{COUNT})x(?P<frame_interval>{COUNT}){END}"


def is_shifted(fields: Fields) -> bool:
    """Whether the model has temporal shifts."""
    return family_of(str(fields["model"])).name == "tsm"


def shifts(direction: str) -> Callable[[Fields], Fields]:
    """`built_in` of sources that know one direction of the shift alone."""
    return lambda fields: {"shift_direction": direction} if is_shifted(fields) else {}


def dense_in_name(origin: str) -> Fields:
    """`protocol_of` of sources that write `dense` into the names of files that are sampled so."""
    return {"sampling": "dense", "test_clips": 10} if re.search(r"[_-]dense[_.-]", origin) else {}


def slowfast_alpha(origin: str) -> Fields:
    """`network_of` of sources that write slow frames and their interval, 4x16 or 8x8, into the names of SlowFast."""
    _, interval = _slow_frames(origin)
    return {"slowfast_alpha": interval // 2} if interval else {}


def slowfast_clip(origin: str) -> Fields:
    """`protocol_of` of the same: the fast pathway takes every second frame."""
    frames, interval = _slow_frames(origin)
    return {"clip_len": frames * interval // 2, "frame_interval": 2, "num_segments": 1} if interval else {}


def _slow_frames(origin: str) -> tuple[int, int]:
    """Frames of the slow pathway and their interval; zeros where the name does not say them."""
    name = "/".join(Path(origin).parts[-2:])
    found = re.search(rf"slow_?fast.*?{START}({COUNT})x(8|16)(?:x1)?{END}", name, re.IGNORECASE)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def like_a_resnet(name: str) -> str:
    """`refuses_file` of sources of ResNets: networks that have the names and shapes of one, by what files call them."""
    found = re.search(r"(?:^|[_-])(?:c2d|resnetaa|resnetblur|resnet\d+d)(?:[_.-]|\d|$)", name, re.IGNORECASE)
    if not found:
        return ""
    return (
        f"has the names of a ResNet, but a {found[0].strip('_-.')} computes something else with them (other pooling): "
        "none of ours does; rename the file if it is a plain ResNet all the same"
    )
