"""Pictures and their masks go the same way; what cannot be is named in one line."""

import io

import cv2
import numpy as np
import PIL.Image
import pytest

from configs import get_preset
from datasets import DataError, load_annotation
from datasets.figures import draw_figure, write_figures
from datasets.images import ImageDataset, PictureDraw, turn
from datasets.letterbox import UNKNOWN
from datasets.loader import ClipLoader
from datasets.masks import MaskFile, Masks, read_mask
from datasets.transforms import Box

RECIPE = get_preset("demo_unet")


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    return write_figures(tmp_path_factory.mktemp("figures") / "set", train=6, val=3, size=64, seed=2)


def dataset(root, mode, recipe=RECIPE):
    subset = "train" if mode == "train" else "val"
    return ImageDataset(load_annotation(str(root), subset, targets=Masks()), recipe, mode, Masks())


def test_the_drawn_set_is_the_same_again_and_has_both_classes(figures, tmp_path):
    again = write_figures(tmp_path / "again", train=6, val=3, size=64, seed=2)
    for path in figures.rglob("*.*"):
        if path.is_file() and ".actionalign" not in path.parts:
            assert (again / path.relative_to(figures)).read_bytes() == path.read_bytes()
    for seed in range(20):
        image, mask = draw_figure(np.random.default_rng(seed), 64)
        assert image.shape[:2] == mask.shape
        assert max(mask.shape) == 64
        assert 0.05 < mask.mean() < 0.8
    with pytest.raises(DataError, match="size of the demo data set must be at least 32, got 16"):
        write_figures(tmp_path / "small", size=16)


def test_a_test_view_is_the_square_of_the_picture(figures):
    data = dataset(figures, "test")
    assert data.sample_shape == (1, 3, 64, 64)
    views, labels = data.load(0)
    image = data.picture(0)
    square = data.letterbox(image).apply(image)
    expected = (square - np.float32(RECIPE.pixels.mean)) / np.float32(RECIPE.pixels.std)
    np.testing.assert_allclose(views[0], expected.transpose(2, 0, 1), atol=1e-5)
    mask = read_mask(data.annotation.entries[0].target)
    np.testing.assert_array_equal(labels, data.letterbox(image).apply_labels(mask))
    assert data.annotation.class_names == ("background", "person")


def test_a_mask_goes_where_its_picture_goes(figures):
    """Of a picture that is its own mask: in every draw a pixel is white where its label is 1, but at edges."""
    data = dataset(figures, "train", RECIPE.with_(color_jitter=0.0, mean=(0.0,) * 3, std=(255.0,) * 3))
    mask = np.zeros((90, 60), np.uint8)
    cv2.circle(mask, (24, 40), 18, 1, -1)
    image = (mask * 255)[..., None].repeat(3, axis=2)
    draws = [data.draw(90, 60, np.random.default_rng(seed)) for seed in range(30)]
    assert {draw.flip for draw in draws} == {True, False}
    assert len({draw.box for draw in draws}) > 20
    assert max(abs(draw.angle) for draw in draws) > 5
    for draw in draws:
        view = np.empty((1, 3, 64, 64), np.float32)
        data.apply_draw(image, draw, view)
        labels = data._warped_by(draw, mask)
        known = labels != UNKNOWN
        assert np.abs(view[0, 0] - labels)[known].mean() < 0.03
        assert known.mean() > 0.3


def test_a_turn_is_counterclockwise_and_fills_corners():
    image = np.zeros((9, 9), np.uint8)
    image[4, 8] = 255  # to the right
    turned = turn(image, 90, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT, UNKNOWN)
    assert turned[0, 4] == 255  # is above
    part = turn(np.ones((9, 21), np.uint8), 45, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT, UNKNOWN)
    assert part[0, 0] == UNKNOWN
    assert part[4, 10] == 1
    assert turn(image, 0, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT, 0) is image


def test_draws_depend_on_seed_epoch_and_index_alone(figures):
    data = dataset(figures, "train")
    first, again, later = data.load(2, epoch=1), data.load(2, epoch=1), data.load(2, epoch=2)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (first[0] != later[0]).any()
    batches = []
    for workers in (0, 2):
        with ClipLoader(data, 3, num_workers=workers, shuffle=True, seed=4) as loader:
            batches.append(list(loader.epoch(1)))
    for one, other in zip(*batches, strict=True):
        np.testing.assert_array_equal(one.clips, other.clips)
        np.testing.assert_array_equal(one.targets, other.targets)


def test_a_part_is_cut_before_it_fills_the_square(figures):
    data = dataset(figures, "train", RECIPE.with_(rotate=0.0, color_jitter=0.0))
    image = np.random.default_rng(0).integers(0, 256, (80, 100, 3), np.uint8)
    view = np.empty((1, 3, 64, 64), np.float32)
    data.apply_draw(image, PictureDraw(Box(10, 5, 50, 70)), view)
    wanted = np.empty((1, 3, 64, 64), np.float32)
    data.apply(np.ascontiguousarray(image[5:75, 10:60]), wanted)
    np.testing.assert_array_equal(view, wanted)


# ---------------------------------------------------------------------------------------------------------------------
# Lists, folders, and what is wrong with them


def write(path, array, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(array, mode).save(path)
    return path


@pytest.fixture
def pair(tmp_path):
    """A list with one picture of 20 x 10 and its mask."""
    write(tmp_path / "images/a.png", np.zeros((10, 20, 3), np.uint8))
    write(tmp_path / "masks/a.png", np.eye(10, 20, dtype=np.uint8) * 255)
    (tmp_path / "val.txt").write_text("images/a.png masks/a.png\n")
    return tmp_path


def test_a_list_names_images_and_masks(pair):
    data = dataset(pair, "val")
    _, labels = data.load(0)
    assert set(np.unique(labels)) == {0, 1, UNKNOWN}
    assert data.annotation.num_classes == 2


def loaded(root):
    return dataset(root, "val").load(0)


WRONG = {
    "of another size": (np.zeros((10, 21), np.uint8), "masks/a.png is 21x10, its picture 20x10"),
    "of other values": (np.full((10, 20), 7, np.uint8), "masks/a.png has the values 7: 2 classes are 0 and 1, or 0"),
    "of many values": (np.arange(200, dtype=np.uint8).reshape(10, 20), "has the values 2, 3, 4, ...: 2 classes"),
    "of colors": (np.random.default_rng(0).integers(0, 256, (10, 20, 3), np.uint8), r"masks/a.png .*has colors"),
    "of 16 bits": (np.zeros((10, 20), np.uint16), "masks/a.png .*more than 8 bits"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mask_that_cannot_be_is_named(pair, case):
    array, message = WRONG[case]
    write(pair / "masks/a.png", array)
    with pytest.raises(DataError, match=message) as caught:
        loaded(pair)
    assert "\n" not in str(caught.value)


def test_a_mask_without_labels_is_named(pair):
    (pair / "classes.txt").write_text("sky\nsea\nland\n")
    write(pair / "masks/a.png", np.full((10, 20), UNKNOWN, np.uint8))
    with pytest.raises(DataError, match=r"masks/a.png is empty: no pixel"):
        loaded(pair)
    write(pair / "masks/a.png", np.full((10, 20), 3, np.uint8))
    with pytest.raises(DataError, match="has the values 3: 3 classes are 0 to 2, and 255 for none"):
        loaded(pair)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
@pytest.mark.parametrize("name", ["images/a.png", "masks/a.png"])
def test_files_that_are_no_pictures_are_named(pair, name, content):
    (pair / name).write_bytes(content)
    with pytest.raises(DataError, match=name) as caught:
        loaded(pair)
    assert "\n" not in str(caught.value)


def test_palettes_bits_and_gray_colors_are_labels(tmp_path):
    labels = np.random.default_rng(0).integers(0, 2, (10, 20), np.uint8)
    palette = PIL.Image.fromarray(labels, "P")
    palette.putpalette([0, 0, 0, 200, 30, 30] + [0] * 762)
    pictures = {
        "palette": palette,
        "bits": PIL.Image.fromarray(labels.astype(bool)),
        "gray": PIL.Image.fromarray((labels * 255)[..., None].repeat(3, axis=2)),
        "plain": PIL.Image.fromarray(labels),
    }
    for name, picture in pictures.items():
        path = tmp_path / f"{name}.png"
        picture.save(path)
        np.testing.assert_array_equal(read_mask(MaskFile(str(path), 2)), labels)


def test_partners_that_are_missing_are_named(pair, tmp_path):
    (pair / "val.txt").write_text("images/a.png masks/b.png\n")
    with pytest.raises(DataError, match=r"val.txt:1: there is no mask .*masks/b.png"):
        dataset(pair, "val")
    (pair / "val.txt").write_text("images/b.png masks/a.png\n")
    with pytest.raises(DataError, match="1 of 1 entries are not in"):
        dataset(pair, "val")
    root = tmp_path / "folders"
    write(root / "val/images/a.jpg", np.zeros((10, 20, 3), np.uint8))
    write(root / "val/masks/b.png", np.zeros((10, 20), np.uint8))
    with pytest.raises(DataError, match=r"1 pictures have no mask of their name in .*a.jpg"):
        dataset(root, "val")
    write(root / "val/masks/a.png", np.zeros((10, 20), np.uint8))
    with pytest.raises(DataError, match=r"1 pictures have no image of their name in .*b.png"):
        dataset(root, "val")
    with pytest.raises(DataError, match=r"has no known layout for subset train"):
        dataset(root, "train")
    (root / "train").mkdir()
    with pytest.raises(DataError, match=r"there is no .*train/images: a subset is a list"):
        dataset(root, "train")


def test_limits_hold_for_pictures(pair):
    buffer = io.BytesIO()
    PIL.Image.new("1", (9000, 9000)).save(buffer, "PNG")
    (pair / "images/a.png").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match="more than 36000000 pixels in a frame"):
        loaded(pair)
