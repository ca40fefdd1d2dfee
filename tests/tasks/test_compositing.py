"""A person before another background, pixel by pixel."""

import numpy as np
import PIL.Image
import pytest

from datasets import DataError
from tasks.compositing import Steadied, background_of, blurred, composed

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
SHARE = np.zeros((20, 30), np.float32)
SHARE[:, 10:20], SHARE[:, 20:] = 0.25, 1.0


def test_a_color_stands_where_the_person_is_not():
    out = composed(IMAGE, SHARE, background_of("#0a141e"))
    assert (out[:, :10] == (10, 20, 30)).all()
    np.testing.assert_array_equal(out[:, 20:], IMAGE[:, 20:])
    wanted = np.rint(0.25 * IMAGE[:, 10:20] + 0.75 * np.array([10, 20, 30]))
    np.testing.assert_array_equal(out[:, 10:20], wanted)


def test_blur_changes_the_background_alone():
    out = composed(IMAGE, SHARE, background_of("blur"))
    np.testing.assert_array_equal(out[:, 20:], IMAGE[:, 20:])
    np.testing.assert_array_equal(out[:, :10], blurred(IMAGE)[:, :10])
    assert out[:, :10].std() < 0.7 * IMAGE[:, :10].std()


@pytest.mark.parametrize("size", [(8, 8), (100, 10), (60, 30), (7, 200)])
def test_a_picture_covers_the_image_in_its_middle(tmp_path, size):
    ramp = np.broadcast_to(np.linspace(0, 255, size[1]).astype(np.uint8)[None, :, None], (*size, 3))
    PIL.Image.fromarray(np.ascontiguousarray(ramp)).save(tmp_path / "back.png")
    background = background_of(str(tmp_path / "back.png"))
    behind = background(IMAGE)
    assert behind.shape == IMAGE.shape
    assert behind[:, 14:16].mean() == pytest.approx(127.5, abs=6)
    assert background(IMAGE[:10]).shape == (10, 30, 3)


def test_the_mask_itself():
    out = composed(IMAGE, SHARE, background_of("mask"))
    assert [int(out[0, x, 0]) for x in (0, 10, 20)] == [0, 64, 255]


@pytest.mark.parametrize("name", ["green", "#12345", "no/such/file.png"])
def test_what_is_no_background_is_refused(name):
    with pytest.raises(DataError, match=f"--background must be mask, blur, a color .*, got {name}"):
        background_of(name)


def test_masks_are_steadied_frame_by_frame_and_anew_for_another_size():
    steadied = Steadied(0.5)
    ones, zeros = np.ones((4, 4), np.float32), np.zeros((4, 4), np.float32)
    assert [float(steadied(share).mean()) for share in (ones, zeros, zeros, ones)] == [1, 0.5, 0.25, 0.625]
    assert float(steadied(np.zeros((2, 2), np.float32)).mean()) == 0
    steadied.reset()
    assert float(steadied(ones[:2, :2]).mean()) == 1
    assert float(Steadied(0.0)(zeros).mean()) == 0
