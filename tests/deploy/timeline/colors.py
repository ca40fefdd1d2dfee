"""Films of one color after the other, and what names the color: the truth about every moment is known."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from configs import get_preset
from datasets.encode import encode_frames
from deploy.timeline.labeler import Labeler

NAMES = ["red", "green", "blue"]
RECIPE = get_preset("demo_tsm").with_(num_classes=3, test_crops="three", test_clips=2, sampling="mmaction0")
RATE = 10


def write_film(path: Path, parts: list[tuple[str, int]], size: tuple[int, int] = (48, 64)) -> Path:
    """A film of parts: a color and its number of frames, 10 a second, with a mark that moves."""

    def frames():
        for number, color in enumerate(name for name, count in parts for _ in range(count)):
            frame = np.full((*size, 3), 20, np.uint8)
            frame[..., NAMES.index(color)] = 230
            frame[:4, number % (size[1] - 4) : number % (size[1] - 4) + 4] = 255
            yield frame

    with av.open(str(path), "w") as container:
        encode_frames(container, frames(), "libx264", Fraction(RATE), {"crf": "12", "g": "7"})
    return path


def name_color(clips: np.ndarray) -> np.ndarray:
    """Logits [N, 3] of clips float32 [N, T, 3, H, W]: how strong each color is."""
    logits: np.ndarray = 4 * clips.mean(axis=(1, 3, 4))
    return logits


def labeler(mode: str = "val", run=name_color) -> Labeler:
    """Names colors."""
    return Labeler(run, RECIPE, NAMES, mode)
