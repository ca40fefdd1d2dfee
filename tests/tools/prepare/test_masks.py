"""Releases of masks in small, packed as their sites pack them: what comes out is what their annotations say."""

import base64
import builtins
import json
import zlib

import cv2
import numpy as np
import pytest

from datasets import load_annotation
from datasets.masks import Masks, read_mask
from datasets.pictures import decode_labels, encode
from tests.tools.prepare import miniatures
from tests.tools.prepare.conftest import content
from tools.prepare.mask_release import MaskRelease, divided
from tools.prepare.releases import RELEASES, supervisely
from tools.prepare.settings import Lists

HEIGHT, WIDTH = 48, 64
SQUARE = [10, 5, 29, 5, 29, 24, 10, 24]  # x, y of its corners, which are of the person
CROWD = (40, 60)  # columns


@pytest.fixture(scope="module")
def pictures():
    """Content of a picture of 64 x 48, by suffix."""
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return {suffix: encode(image, suffix) for suffix in (".jpg", ".png")}


def runs():
    """Lengths of the runs of a crowd, column after column, zeros first."""
    first, last = CROWD
    return [first * HEIGHT, (last - first) * HEIGHT, (WIDTH - last) * HEIGHT]


def coco_annotations(first, count, change=()):
    """Of `count` pictures: each has a person but the last, which has a dog; the first has a crowd, too."""
    numbers = range(first, first + count)
    images = [{"id": n, "file_name": f"{n:012}.jpg", "height": HEIGHT, "width": WIDTH} for n in numbers]
    shapes = [
        {"id": 10 * n, "image_id": n, "category_id": 1 if n < numbers[-1] else 18, "iscrowd": 0, "area": 400.0,
         "segmentation": [SQUARE]} for n in numbers
    ]  # fmt: skip
    for shape in shapes:
        shape.update(change)
    crowd = {"size": [HEIGHT, WIDTH], "counts": runs()}
    shapes.append({"id": 9, "image_id": first, "category_id": 1, "iscrowd": 1, "area": 960.0, "segmentation": crowd})
    categories = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
    return json.dumps({"images": images, "annotations": shapes, "categories": categories})


def coco(folder, pictures, change=()):
    files = {}
    for subset, first, count in (("train", 1, 4), ("val", 5, 3)):
        names = [f"{subset}2017/{n:012}.jpg" for n in range(first, first + count)]
        files[f"{subset}2017.zip"] = miniatures.zipped(dict.fromkeys(names, pictures[".jpg"]))
    texts = {
        "annotations/instances_train2017.json": coco_annotations(1, 4, change),
        "annotations/instances_val2017.json": coco_annotations(5, 3),
        "annotations/captions_val2017.json": "{}",
    }
    return miniatures.write(folder, {**files, "annotations_trainval2017.zip": miniatures.zipped(texts)})


def bitmap():
    """A block of 6 x 8 pixels, its upper half of a person."""
    values = np.zeros((6, 8, 4), np.uint8)
    values[:3, :, 3] = 255
    return base64.b64encode(zlib.compress(cv2.imencode(".png", values)[1].tobytes())).decode()


def polygon(exterior, interior=(), title="person_poly"):
    return {"classTitle": title, "bitmap": None, "points": {"exterior": exterior, "interior": list(interior)}}


OUTER, HOLE = [[10, 5], [29, 5], [29, 24], [10, 24]], [[15, 10], [20, 10], [20, 15], [15, 15]]
OBJECTS = [
    polygon(OUTER, [HOLE]),
    {"classTitle": "person_bmp", "bitmap": {"data": bitmap(), "origin": [50, 40]}, "points": {}},
    polygon([[40, 0], [45, 0], [45, 5], [40, 5]], title="neutral"),
]


def project(folder, pictures, objects=OBJECTS):
    stated = json.dumps({"description": "", "size": {"height": HEIGHT, "width": WIDTH}, "objects": objects})
    files = {"persons/meta.json": "{}"}
    for part in ("ds1", "ds2"):
        for name in "abc":
            files[f"persons/{part}/img/{name}.png"] = pictures[".png"]
            files[f"persons/{part}/ann/{name}.png.json"] = stated
    return miniatures.write(folder, {"persons.zip": miniatures.zipped(files)})


MAKE = {"coco-persons": coco, "supervisely": project}


def test_every_release_is_here():
    assert MAKE.keys() == {name for name, release in RELEASES.items() if isinstance(release, MaskRelease)}


@pytest.mark.parametrize("name", MAKE)
def test_what_comes_out_is_read_and_a_second_run_changes_nothing(name, prepare, pictures, tmp_path):
    source, root = MAKE[name](tmp_path / "source", pictures), tmp_path / "root"
    code, out = prepare(name, "--source", source, "--root", root)
    assert code == 0, code
    for subset in ("train", "val"):
        for entry in load_annotation(str(root), subset, targets=Masks()).entries:
            assert set(np.unique(read_mask(entry.target))) == {0, 1, 255} or name == "coco-persons"
    before = content(root)
    assert prepare(name, "--source", source, "--root", root) == (0, out)
    assert content(root) == before
    assert prepare(name, "--root", root, "--check") == (0, out)
    assert out.splitlines()[-1] == f"python train.py --preset portraits_unet_mobilenet_v2 --dataset_root {root}"


def test_coco_persons_are_persons_and_crowds_are_not_known(prepare, pictures, tmp_path):
    source, root = coco(tmp_path / "source", pictures), tmp_path / "root"
    code, out = prepare("coco-persons", "--source", source, "--root", root)
    assert code == 0
    assert (root / "train.txt").read_text().splitlines() == [
        f"images/{n:012}.jpg masks/{n:012}.png"
        for n in (1, 2, 3)  # the fourth has a dog
    ]
    mask = decode_labels((root / "masks/000000000001.png").read_bytes())
    inside = mask[6:23, 11:28]
    assert (inside == 1).all()
    assert abs(int((mask == 1).sum()) - 19 * 19) <= 40  # as pycocotools draws an edge
    assert (mask[:, slice(*CROWD)] == 255).all()
    assert not mask[:, :9].any()
    assert "train             3         3         0" in out
    assert "persons cover" in out


def test_a_supervisely_project_has_holes_bitmaps_and_what_is_not_known(prepare, pictures, tmp_path):
    source, root = project(tmp_path / "source", pictures), tmp_path / "root"
    assert prepare("supervisely", "--source", source, "--root", root, "--val_fraction", "0.34")[0] == 0
    lines = [(root / f"{subset}.txt").read_text().splitlines() for subset in ("train", "val")]
    assert [len(part) for part in lines] == [4, 2]
    assert sorted(lines[0] + lines[1]) == [
        f"images/{part}/{name}.png masks/{part}/{name}.png" for part in ("ds1", "ds2") for name in "abc"
    ]
    wanted = np.zeros((HEIGHT, WIDTH), np.uint8)
    wanted[5:25, 10:30] = 1
    wanted[10:16, 15:21] = 0
    wanted[40:43, 50:58] = 1
    wanted[0:6, 40:46] = 255
    np.testing.assert_array_equal(decode_labels((root / "masks/ds2/b.png").read_bytes()), wanted)
    assert "ds1" in (root / "prepared.json").read_text()


def test_pictures_of_which_little_is_a_person_are_left_out(prepare, pictures, tmp_path):
    source, root = coco(tmp_path / "source", pictures), tmp_path / "root"
    assert prepare("coco-persons", "--source", source, "--root", root, "--min_share", "0.15")[0] == 0
    assert len((root / "train.txt").read_text().splitlines()) == 1  # of the labeled part, without its crowd
    code, said = prepare("coco-persons", "--source", source, "--root", root, "--min_share", "0.5")
    assert "train.txt lists nothing; lower --min_share" in code + said


def test_an_order_is_drawn_by_the_seed_alone():
    names = [f"{n}.png" for n in range(10)]
    assert divided(names, Lists()) == divided(names[::-1], Lists())
    assert list(divided(names, Lists(val_fraction=0.3)).values()).count("val") == 3
    assert divided(names, Lists(split_seed=1)) != divided(names, Lists())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segmentation": [[1, 2, "x"]]}, ".jpg is no shape (could not convert string"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [1, 10**9]}}, "its runs do not fill the picture"),
        ({"segmentation": {"size": [1, 1], "counts": [1]}}, "its runs do not fill the picture"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "PP1"}}, "is no shape"),
        ({"segmentation": []}, "is no shape"),
    ],
    ids=str,
)
def test_a_damaged_annotation_of_coco_is_named(change, message, prepare, pictures, tmp_path):
    source = coco(tmp_path / "source", pictures, change)
    assert message in prepare("coco-persons", "--source", source, "--root", tmp_path / "root")[0]


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (polygon([[0, 0], [1, 10**9]]), "a point lies far beyond the picture"),
        (polygon([[0, 0], [1, float("1e300")]]), "a point lies far beyond the picture"),
        (polygon([[0, 0, 0]]), "has an object that is no shape"),
        ({"classTitle": "x"}, "has an object that is no shape"),
        ({"classTitle": "x", "bitmap": {"data": "!", "origin": [0, 0]}}, "its bitmap is no base64"),
        ({"classTitle": "x", "bitmap": {"data": "AAAA", "origin": [0, 0]}}, "has an object that is no shape"),
        ({"classTitle": "x", "bitmap": {"data": bitmap(), "origin": [60, 0]}}, "its bitmap reaches beyond"),
        ({"classTitle": "x", "bitmap": {"data": bitmap(), "origin": [-1, 0]}}, "its bitmap reaches beyond"),
    ],
    ids=str,
)
def test_a_damaged_annotation_of_supervisely_is_named(one, message, prepare, pictures, tmp_path):
    source = project(tmp_path / "source", pictures, [one])
    code = prepare("supervisely", "--source", source, "--root", tmp_path / "root")[0]
    assert message in code
    assert "ds" in code


def test_a_bitmap_that_swells_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(supervisely, "MOST_BYTES", 64)
    with pytest.raises(ValueError, match="its bitmap has more than"):
        supervisely._bitmap({"bitmap": {"data": bitmap(), "origin": [0, 0]}}, (HEIGHT, WIDTH))


def test_an_annotation_of_another_size_is_named(prepare, pictures, tmp_path):
    others = {".jpg": pictures[".jpg"], ".png": encode(np.zeros((HEIGHT, WIDTH + 1, 3), np.uint8), ".png")}
    code = prepare("supervisely", "--source", project(tmp_path / "source", others), "--root", tmp_path / "root")[0]
    assert "is 65x48, its annotation 64x48: fetch both again" in code


def test_a_file_that_is_no_annotation_of_coco_is_named(prepare, pictures, tmp_path):
    source = coco(tmp_path / "source", pictures)
    texts = {"annotations/instances_train2017.json": "[]"}
    (source / "annotations_trainval2017.zip").write_bytes(miniatures.zipped(texts))
    code = prepare("coco-persons", "--source", source, "--root", tmp_path / "root")[0]
    assert "instances_train2017.json is no annotation file of COCO" in code


def test_without_pycocotools_its_absence_is_said(prepare, pictures, tmp_path, monkeypatch):
    real = builtins.__import__

    def refuse(name, *arguments):
        if name.startswith("pycocotools"):
            raise ImportError(name)
        return real(name, *arguments)

    source = coco(tmp_path / "source", pictures)
    monkeypatch.setattr(builtins, "__import__", refuse)
    code = prepare("coco-persons", "--source", source, "--root", tmp_path / "root")[0]
    assert "need pycocotools: pip install -r requirements-prepare.txt" in code


def test_what_is_for_videos_is_refused(prepare, pictures, tmp_path):
    source = coco(tmp_path / "source", pictures)
    for flags in (["--frames"], ["--reencode", "64"], ["--splits", "1"]):
        code = prepare("coco-persons", "--source", source, "--root", tmp_path / "root", *flags)[0]
        assert "leave out --frames, --reencode and --splits" in code


def test_a_broken_picture_is_named_by_the_check(prepare, pictures, tmp_path):
    source, root = coco(tmp_path / "source", pictures), tmp_path / "root"
    assert prepare("coco-persons", "--source", source, "--root", root)[0] == 0
    (root / "images/000000000001.jpg").write_bytes(b"no picture")
    code = prepare("coco-persons", "--root", root, "--check")[0]
    assert "unusable: " in code
    assert "000000000001.jpg" in code
