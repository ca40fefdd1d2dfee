"""A picture in a square: pixel by pixel, there and back."""

import numpy as np
import pytest

from datasets.letterbox import UNKNOWN, Letterbox
from datasets.transforms import Box

IMAGE = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [
        (64, 64, Box(0, 0, 64, 64)),
        (128, 64, Box(16, 0, 32, 64)),
        (64, 96, Box(0, 10, 64, 43)),  # 42.67 rows: 43, and of the 21 left over 10 above and 11 below
        (30, 1000, Box(0, 31, 64, 2)),
        (1, 1000, Box(0, 31, 64, 1)),  # never less than a row
        (32, 16, Box(16, 0, 32, 64)),  # smaller ones are enlarged
    ],
)
def test_the_long_side_fills_the_square(height, width, box):
    assert Letterbox(height, width, 64).box == box


def test_pixels_of_a_square_that_needs_no_resize():
    replicated, black = (Letterbox(6, 4, 6, padding).apply(IMAGE) for padding in ("replicate", "zero"))
    for square in (replicated, black):
        np.testing.assert_array_equal(square[:, 1:5], IMAGE)
    np.testing.assert_array_equal(replicated[:, 0], IMAGE[:, 0])
    np.testing.assert_array_equal(replicated[:, 5], IMAGE[:, 3])
    assert not black[:, [0, 5]].any()


def test_resize_comes_before_the_border():
    """Else bilinear interpolation would mix the border into the picture, as the original's C++ did."""
    image = np.full((10, 20, 3), 200, np.uint8)
    square = Letterbox(10, 20, 8, "zero").apply(image)
    assert set(np.unique(square[2:6])) == {200}
    assert not square[[0, 1, 6, 7]].any()


def test_labels_follow_by_the_nearest_pixel_and_are_unknown_outside():
    labels = np.arange(24, dtype=np.uint8).reshape(6, 4)
    square = Letterbox(6, 4, 12).apply_labels(labels)
    np.testing.assert_array_equal(square[:, 2:10], labels.repeat(2, axis=0).repeat(2, axis=1))
    assert (square[:, [0, 1, 10, 11]] == UNKNOWN).all()
    assert (Letterbox(6, 4, 12, "zero").apply_labels(labels) == square).all()


@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (64, 64), (31, 64)])
def test_undo_leads_back_to_the_picture(shape):
    height, width = shape
    ramp = np.linspace(0, 1, height * width, dtype=np.float32).reshape(shape)
    box = Letterbox(height, width, 64)
    square = np.full((64, 64), 7, np.float32)
    square[box.box.y : box.box.y + height, box.box.x : box.box.x + width] = ramp
    np.testing.assert_array_equal(box.undo(square), ramp)  # its long side is that of the square: nothing is resized
    assert Letterbox(height * 3, width * 3, 64).undo(square).shape == (height * 3, width * 3)
    assert Letterbox(height * 3, width * 3, 64).undo(square).max() <= 1  # and nothing of the border comes along
