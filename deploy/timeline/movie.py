"""A film with its labels drawn on it, the sound kept: the best classes of each moment, and a strip of the whole."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datasets.movie import MovieWriter
from deploy.timeline.labeler import Source
from deploy.timeline.labels import Prediction, top
from deploy.timeline.page import OTHERS, SHOWN
from deploy.timeline.segments import moments
from runtime.html_page import COLORS
from runtime.owned import creating
from tasks.fonts import OWN, families_for

LINES = 3  # classes that stand on a frame
SIZE, STRIP = 0.045, 0.02  # of a frame's height: of letters, and of the strip


def write(found: Prediction, source: Source, output: Path, progress: Callable[[int, str], Any]) -> int:
    """Writes the film; returns how many packets of sound went along.

    Args:
        found: The labels of the source.
        source: The video.
        output: File to write; it must not be there.
        progress: Opens a bar of so many steps.

    Raises:
        UserError: A frame cannot be read, or the file not be written.
    """
    painter = Painter(found)
    sound = "" if Path(source.path).is_dir() else source.path
    rate = Fraction(source.fps).limit_denominator(1001)
    with (
        creating(output) as place,
        MovieWriter(place, rate, sound) as movie,
        progress(source.num_frames, "draw") as bar,
    ):
        for frame in source.frames(lambda number: True):
            assert frame.image is not None  # all are wanted
            movie.write(painter.drawn(frame.image, frame.seconds), frame.seconds)
            bar.update()
    return movie.sounds


class Painter:
    """Draws labels on frames.

    Args:
        found: The labels of their video.
    """

    def __init__(self, found: Prediction) -> None:
        self._names = found.names
        self._moments = moments(found.windows)
        self._starts = [moment.start for moment in self._moments]
        self._shown = [int(label) for label in np.argsort(found.scores, kind="stable")[::-1][:SHOWN]]
        self._parts = found.segments()
        self._end = self._parts[-1].end if self._parts else 1.0
        self._font = font_for(found.names)

    def drawn(self, image: np.ndarray, seconds: float) -> np.ndarray:
        """A frame uint8 [H, W, 3] RGB with the labels of its moment and the strip, on which it is marked."""
        height, width = image.shape[:2]
        at = max(bisect.bisect_right(self._starts, seconds) - 1, 0)
        picture = Image.fromarray(image).convert("RGBA")
        box = self._box(at, height, width)
        picture.alpha_composite(box, (max(width // 50, 1), max(height // 50, 1)))
        strip = self._strip(height, width)
        picture.alpha_composite(strip, (0, height - strip.height))
        place = round((width - 1) * min(max(seconds / self._end, 0), 1))
        ImageDraw.Draw(picture).rectangle((place - 1, height - strip.height, place + 1, height), fill="white")
        return np.asarray(picture.convert("RGB"))

    @functools.lru_cache(maxsize=4)  # noqa: B019  a painter lives as long as its film
    def _box(self, at: int, height: int, width: int) -> Image.Image:
        best = top(self._moments[at].scores, self._names, LINES)
        size = max(8, round(SIZE * height))
        font = self._font(size)
        lines = [f"{' '.join(name.split())}  {share:.0%}" for name, share in best]
        wide = max(round(font.getlength(line)) for line in lines) + size
        box = Image.new("RGBA", (min(wide, width), round(1.4 * size * len(lines)) + size // 2), (0, 0, 0, 150))
        draw = ImageDraw.Draw(box)
        for number, (line, label) in enumerate(zip(lines, best, strict=True)):
            y = size // 4 + round(1.4 * size * number)
            draw.rectangle((0, y, round(box.width * label.probability), y + round(1.3 * size)), fill=(31, 95, 191, 170))
            draw.text((size // 2, y), line, font=font, fill="white")
        return box

    @functools.lru_cache(maxsize=4)  # noqa: B019
    def _strip(self, height: int, width: int) -> Image.Image:
        strip = Image.new("RGBA", (width, max(4, round(STRIP * height))), (0, 0, 0, 150))
        draw = ImageDraw.Draw(strip)
        for part in self._parts:
            color = COLORS[self._shown.index(part.label)] if part.label in self._shown else OTHERS
            left, right = (width * time / self._end for time in (part.start, part.end))
            draw.rectangle((round(left), 0, max(round(right) - 1, round(left)), strip.height), fill=color)
        return strip


def font_for(names: Sequence[str]) -> Callable[[int], ImageFont.FreeTypeFont]:
    """A font of any size that has the characters of names, as far as one is installed."""
    from matplotlib.font_manager import findfont

    families = families_for(names) or [OWN]
    path = findfont(families[-1])
    return functools.cache(lambda size: ImageFont.truetype(path, size))
