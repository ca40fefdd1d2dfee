"""What a data set looks like to a network: the frames that are taken, the part that is cut out."""

import re

import numpy as np
import pytest

from configs import get_preset
from datasets import VideoDataset, unlabeled
from datasets.figures import write_figures
from datasets.sampling import val_indices
from datasets.transforms import EvalTransform
from tests.datasets.media import write_video
from tools import browse


def test_a_page_of_a_set_of_videos(motion_videos, tmp_path, capsys):
    output = tmp_path / "browse.html"
    browse.main(["--dataset_root", str(motion_videos), "--preset", "demo_tsm", "--samples", "3", "--epochs", "2",
                 "--output", str(output)])  # fmt: skip
    assert capsys.readouterr().out == f"{output}\n"
    page = output.read_text()
    assert page.count("<h3>") == 9
    assert page.count("data:image/webp") == 3 * 3 + 2 * 3 * 2
    taken = re.findall(r'aria-label="(\d+) frames; taken: ([^"]*)"', page)
    recipe = get_preset("demo_tsm")
    assert [len(draws.split(";")) for _, draws in taken] == [2] * 3 + [1] * 6
    total, places = taken[3]
    assert list(map(int, places.split(", "))) == val_indices(int(total), recipe)[0].tolist()
    assert "<script" not in page


def test_a_page_of_a_set_of_pictures(tmp_path):
    root = write_figures(tmp_path / "set", train=2, val=2, size=64)
    browse.main(["--dataset_root", str(root), "--preset", "demo_unet", "--output", str(tmp_path / "a.html")])
    page = (tmp_path / "a.html").read_text()
    assert page.count("<h3>") == 6
    assert "aria-label" not in page  # a picture has no line of time


@pytest.mark.parametrize(("size", "fused"), [((48, 64), False), ((300, 500), True), ((120, 90), False)])
def test_the_part_that_is_marked_is_the_one_that_is_cut_out(tmp_path, size, fused):
    recipe = get_preset("demo_tsm").with_(short_side=40, test_size=32, test_crops="center", fused_resize=fused)
    video = write_video(tmp_path / "a.mp4", size=size)
    dataset = VideoDataset(unlabeled([str(video)]), recipe, "test")
    view = dataset.seen(np.empty(dataset.sample_shape, np.float32), 0)
    found = browse.cut(view.warp, size)
    ((box, _),) = EvalTransform(recipe, "test").boxes(*size)
    scale = min(size) / 40
    expected = np.array([box.x, box.y, box.x + box.width, box.y + box.height]) * scale
    np.testing.assert_allclose(found, expected, atol=scale + 1)


def test_marks_stand_where_the_frames_are():
    line = browse.line_of_time(10, [np.array([0, 9]), np.array([5])])
    places = [float(x) for x in re.findall(r'<rect x="([\d.]+)"', line)]
    assert places == [44.0, 854.0, 494.0]
