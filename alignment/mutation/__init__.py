"""The mutants: mistakes that ports have made. The suite must find each and name its place.

A suite that has never found an injected fault has not shown that it can.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from alignment.certification.objectives import CLASSES
from alignment.certification.recognizers import recognizer_pair
from alignment.mutation import attention, clips, constants, data, masks, network, training
from alignment.mutation.masks import segmenter
from alignment.mutation.mutant import Mutant
from alignment.mutation.small_net import small_net_pair
from alignment.mutation.video_transformer import video_transformer_pair
from alignment.sides.pair import Pair
from configs.presets import preset_for_model

__all__ = ["MUTANTS", "PAIRS", "PIPELINE", "Mutant"]

MUTANTS: tuple[Mutant, ...] = (
    *constants.MUTANTS, *network.MUTANTS, *clips.MUTANTS, *attention.MUTANTS,
    *masks.MUTANTS, *training.MUTANTS, *data.MUTANTS,
)  # fmt: skip

FRAMES, SIZE, CLIPS = 4, 48, 2
PIPELINE = "pipeline"  # what a mutant of the data changes


def recognizer(model: str, as_published: bool = False, frames: int = FRAMES, **options: Any) -> Callable[[int], Pair]:
    """A function of the seed that builds a small pair of recognizers on noise."""

    def build(seed: int) -> Pair:
        rng = np.random.default_rng([seed, 1])
        clips = rng.normal(size=(CLIPS, frames, 3, SIZE, SIZE)).astype(np.float32)
        labels = rng.integers(CLASSES, size=CLIPS)
        recipe = preset_for_model(model.replace("bottleneck", "r50"))
        return recognizer_pair(model, recipe, clips, labels, seed=seed, as_published=as_published, options=options)

    return build


# key -> function of the seed that builds the pair
PAIRS: dict[str, Callable[[int], Pair]] = {
    "tsn_tiny": recognizer("tsn_tiny"),
    "tsm_tiny": recognizer("tsm_tiny"),
    "tsm_pool": recognizer("tsm_tiny", temporal_pool=True),
    "mvf_tiny": recognizer("mvf_tiny"),
    "mvf_conv3d": recognizer("mvf_tiny", as_published=True),
    "tsm_mobilenet_v2": recognizer("tsm_mobilenet_v2"),
    "tsm_bottleneck": recognizer("tsm_bottleneck"),
    "i3d_tiny": recognizer("i3d_tiny", i3d_stem_stride=1),
    "i3d_half": recognizer("i3d_tiny", frames=8, i3d_stem_stride=2),
    "slowfast_tiny": recognizer("slowfast_tiny", frames=8),
    "x3d_tiny": recognizer("x3d_tiny"),
    "r2plus1d": recognizer("r2plus1d_r18"),
    "i3d_inception": recognizer("i3d_inception"),
    "unet_tiny": segmenter("unet_tiny"),
    "unet_bilinear": segmenter("unet_tiny", unet_up="bilinear"),
    "small_net": small_net_pair,
    "video_transformer": video_transformer_pair,
}
