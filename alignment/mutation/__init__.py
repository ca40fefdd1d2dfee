"""The mutants: mistakes that ports have made. The suite must find each and name its place.

A suite that has never found an injected fault has not shown that it can.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from alignment.certification.recognizers import CLASSES, recognizer_pair
from alignment.mutation import attention, constants, data, network, training
from alignment.mutation.mutant import Mutant
from alignment.mutation.small_net import small_net_pair
from alignment.mutation.video_transformer import video_transformer_pair
from alignment.sides.pair import Pair
from configs.presets import preset_for_model

__all__ = ["MUTANTS", "PAIRS", "PIPELINE", "Mutant"]

MUTANTS: tuple[Mutant, ...] = (
    *constants.MUTANTS, *network.MUTANTS, *attention.MUTANTS, *training.MUTANTS, *data.MUTANTS,
)  # fmt: skip

FRAMES, SIZE, CLIPS = 4, 48, 2
PIPELINE = "pipeline"  # what a mutant of the data changes


def recognizer(model: str, as_published: bool = False, **options: Any) -> Callable[[int], Pair]:
    """A function of the seed that builds a small pair of recognizers on noise."""

    def build(seed: int) -> Pair:
        rng = np.random.default_rng([seed, 1])
        clips = rng.normal(size=(CLIPS, FRAMES, 3, SIZE, SIZE)).astype(np.float32)
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
    "small_net": small_net_pair,
    "video_transformer": video_transformer_pair,
}
