"""Pictures of a folder of frames: what a file holds decides how it is read, whatever its name says.

JPEG, PNG, BMP, WebP, TIFF, PPM and its kin, and GIF. Each is what OpenCV makes of it as a color picture, bit for bit:
16 bits, palettes, transparency and CMYK, and turned upright as EXIF says. JPEG 2000 is not among them: a damaged one
ends the process of OpenCV 4.10.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import PIL.Image
import simplejpeg

from configs.suffixes import PICTURE_SUFFIXES, any_of

FRAME_NAME = re.compile(
    rf"(?P<prefix>.*?)(?P<number>\d+)(?P<suffix>{any_of(PICTURE_SUFFIXES)})", re.IGNORECASE | re.DOTALL
)
FORMATS = ("PNG", "BMP", "WEBP", "TIFF", "PPM", "GIF")  # besides JPEG, by Pillow's names
JPEG_MARK, GIF_MARK = b"\xff\xd8\xff", b"GIF8"
FILL, EXIF_SEGMENT, FIRST_SCAN = b"\xff", b"\xe1", b"\xda"  # of its markers
PIL.Image.MAX_IMAGE_PIXELS = None  # the limits that a caller sets are held against the size that it finds
# What is wrong with a picture is in the error. 0 is silent; the function has moved between OpenCV 4 and 5.
(cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel)(0)


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height of a picture, before it is turned; nothing is decoded.

    The parts of the file are whole then: OpenCV would believe their lengths and take memory for them.

    Raises:
        Exception: Whatever the libraries make of a file that is damaged, or is no picture, or is an animation.
    """
    if data.startswith(JPEG_MARK):
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        return width, height
    with _opened(io.BytesIO(data)) as picture:
        if _is_animation(picture):
            raise ValueError("it holds several pictures: an animation is a video, and no frame of one")
        size = picture.size
        picture.verify()
    return size


def decode(data: bytes) -> np.ndarray:
    """The picture, or its first page, uint8 [H, W, 3] RGB. Call `size_of` before, which looks whether it is safe.

    Raises:
        Exception: Whatever the libraries make of a file that is damaged or in a format that this OpenCV does not read.
    """
    if not data.startswith(JPEG_MARK):
        return _by_opencv(data)
    image = simplejpeg.decode_jpeg(data, "RGB")  # quicker than OpenCV, the same bits, and strict with damaged ones
    return _by_opencv(data) if _has_exif(data) else image


def decode_labels(data: bytes) -> np.ndarray:
    """The values of a picture of one channel, uint8 [H, W]; of a palette its numbers, of a bit for each pixel 0 and 1.

    A gray picture of three equal channels is one of one channel. Call `size_of` before.

    Raises:
        ValueError: It has more than one value for a pixel, or values of more than 8 bits.
        Exception: Whatever Pillow makes of a file that is damaged.
    """
    with _opened(io.BytesIO(data), (*FORMATS, "JPEG")) as picture:
        values = np.asarray(picture)
        mode = picture.mode
    if mode == "RGB" and (values == values[..., :1]).all():
        values = values[..., 0]
    if values.ndim != 2 or values.dtype not in (np.uint8, np.bool_):
        raise ValueError(f"it has colors or more than 8 bits ({mode}), and a mask has one label for each pixel")
    return values.astype(np.uint8)


def encode(image: np.ndarray, suffix: str, options: Sequence[int] = ()) -> bytes:
    """The file of a picture uint8 [H, W, 3] RGB, or [H, W] gray.

    Args:
        image: The picture.
        suffix: As `.png`, of a format that OpenCV writes.
        options: Of `cv2.imencode`.

    Raises:
        cv2.error: There is no such format.
    """
    ordered = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    return bytes(cv2.imencode(suffix, ordered, list(options))[1].tobytes())


def is_animation_file(path: Path) -> bool:
    """Whether a file is a picture that moves."""
    with contextlib.suppress(Exception), open(path, "rb") as file, _opened(file) as picture:
        return _is_animation(picture)
    return False


def _is_animation(picture: PIL.Image.Image) -> bool:
    return picture.format != "TIFF" and getattr(picture, "is_animated", False)  # pages do not move


@contextlib.contextmanager
def _opened(file: IO[bytes], formats: tuple[str, ...] = FORMATS) -> Iterator[PIL.Image.Image]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd tags change no pixel
        try:
            picture = PIL.Image.open(file, formats=formats)
        except PIL.UnidentifiedImageError as error:  # whose message is the address of a buffer
            raise ValueError(f"it is none of JPEG, {', '.join(FORMATS)}, or it is damaged") from error
        with picture:
            yield picture


def _has_exif(data: bytes) -> bool:
    """Whether a JPEG has a segment, before its first scan, of the kind that states an orientation."""
    at = 2
    while data[at : at + 1] == FILL and (marker := data[at + 1 : at + 2]) not in (FIRST_SCAN, b""):
        if marker == EXIF_SEGMENT:
            return True
        at += 1 if marker == FILL else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def _by_opencv(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        hint = ": GIF needs 4.12 at least" if data.startswith(GIF_MARK) else ""
        raise ValueError(f"OpenCV {cv2.__version__} does not read it{hint}")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
