"""Which part of the time decides: what is left of a class without each of them. It needs no framework.

Source: Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tasks.view_scores import softmax


def occlusion(run: Callable[[np.ndarray], np.ndarray], clip: np.ndarray, label: int, parts: int = 8) -> np.ndarray:
    """How much of a class's probability is lost without each part of the time, [parts], or fewer for few frames.

    Args:
        run: Maps clips float32 [N, T, 3, H, W] to logits [N, K].
        clip: float32 [T, 3, H, W].
        label: The class.
        parts: Of equal length; the frames of one of them take the mean color.
    """
    groups = np.array_split(np.arange(len(clip)), min(parts, len(clip)))
    clips = np.repeat(clip[None], len(groups) + 1, axis=0)
    for number, frames in enumerate(groups, start=1):
        clips[number, frames] = 0  # the mean, as clips are normalized
    probabilities = softmax(np.concatenate([run(clips[k : k + 1]) for k in range(len(clips))]))[:, label]
    lost: np.ndarray = (probabilities[0] - probabilities[1:]).astype(np.float32)
    return lost
