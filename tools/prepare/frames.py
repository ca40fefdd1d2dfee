"""Frames of videos as JPEG files, and videos of smaller frames: all frames, as `datasets.decode` gives them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from configs.limits import Limits
from runtime.errors import UserError
from tools.prepare.settings import Media

if TYPE_CHECKING:
    import numpy as np

TEMPLATE = "img_{:05d}.jpg"  # of mmaction2, counted from 1
CHUNK_BYTES = 256 * 2**20  # of frames in memory at once


def extract(video: Path, folder: Path, media: Media, limits: Limits) -> None:
    """Writes each frame of a video.

    Args:
        video: The file.
        folder: Is made, for `img_00001.jpg` and so on.
        media: Quality and size.
        limits: What the video may cost.

    Raises:
        DecodeError: The video cannot be read.
    """
    import simplejpeg

    folder.mkdir()
    for number, frame in enumerate(_frames_of(video, limits, media.short_side), start=1):
        data = simplejpeg.encode_jpeg(frame, quality=media.jpeg_quality, colorsubsampling="420")
        (folder / TEMPLATE.format(number)).write_bytes(data)


def reencode(video: Path, target: Path, media: Media, limits: Limits) -> None:
    """Writes a video as H.264 in MP4 without sound, with the same frames.

    The same file comes out each time with the same version of the encoder.

    Args:
        video: The file.
        target: To be written.
        media: Shorter side, pixels.
        limits: What the video may cost.

    Raises:
        DecodeError: The video cannot be read.
        UserError: There is no encoder, or it has lost a frame.
    """
    import av

    from datasets.decode import open_source
    from datasets.encode import encode_frames

    if "libx264" not in av.codecs_available:
        raise UserError("this PyAV has no H.264 encoder: leave out --reencode, or pip install av")
    # With its macroblock tree, x264 gives other bytes from run to run.
    options = {"preset": "medium", "crf": "20", "threads": "1", "x264-params": "mbtree=0"}
    with open_source(str(video), limits=limits) as source:
        rate = Fraction(source.average_rate or 25).limit_denominator(1001)  # as MP4 can say it
    with av.open(str(target), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "faststart"}) as file:
        count = encode_frames(file, _frames_of(video, limits, media.reencode, is_even=True), "libx264", rate, options)
    with open_source(str(target), limits=limits) as source:
        if source.num_frames != count:
            raise UserError(f"{video} has {count} frames, the encoder kept {source.num_frames}: leave out --reencode")


def _frames_of(video: Path, limits: Limits, short_side: int, is_even: bool = False) -> Iterator[np.ndarray]:
    """Each frame of a video, uint8 [H, W, 3] RGB, of a shorter side of at most so many pixels, unless it is 0."""
    import cv2
    import numpy as np

    from datasets.decode import open_source

    with open_source(str(video), limits=limits) as source:
        first = source.read([0])[0]
        chunk = max(1, CHUNK_BYTES // first.nbytes)
        width, height = _size(first.shape[1], first.shape[0], short_side, is_even)
        for start in range(0, source.num_frames, chunk):
            for frame in source.read(range(start, min(start + chunk, source.num_frames))):
                if (height, width) != frame.shape[:2]:
                    frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
                yield np.ascontiguousarray(frame)


def _size(width: int, height: int, short_side: int, is_even: bool) -> tuple[int, int]:
    """Width and height of frames that are shrunk, if need be, in their proportion."""
    scale = min(1.0, short_side / min(width, height)) if short_side else 1.0
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    return (max(2, width // 2 * 2), max(2, height // 2 * 2)) if is_even else (width, height)
