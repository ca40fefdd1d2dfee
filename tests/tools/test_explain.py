"""Why a class comes first: a page and a video of the frames that the network sees, and what is lost without them."""

import re

import numpy as np
import pytest

from datasets.decode import open_source
from datasets.demo import CLASS_NAMES
from runtime.errors import UserError
from tools import explain


@pytest.fixture(scope="module")
def flags(make_checkpoint, motion_videos):
    video = next((motion_videos / "val").rglob("*.mp4"))
    return ["--video", str(video), "--pretrained", str(make_checkpoint("demo_tsm", CLASS_NAMES)), "--threads", "1"]


@pytest.fixture(autouse=True)
def restored(own_signals):
    """Commands run here."""


def test_a_page_and_a_video_show_the_same_clip(flags, tmp_path, capsys):
    explain.main([*flags, "--output", str(tmp_path / "why.html"), "--parts", "4"])
    said = capsys.readouterr().out.splitlines()
    name, share = said[0].split()
    assert name in CLASS_NAMES
    pairs = [tuple(map(float, pair.split("/"))) for pair in said[1].partition("over time: ")[2].split()]
    assert len(pairs) == 4
    assert sum(heat for heat, _ in pairs) == pytest.approx(1, abs=0.03)
    page = (tmp_path / "why.html").read_text()
    assert page.count("data:image/webp") == 2
    assert re.search(rf"<td>{name}</td><td class=n>{share}</td>", page)
    explain.main([*flags, "--output", str(tmp_path / "why.mp4"), "--label", CLASS_NAMES[2]])
    assert capsys.readouterr().out.startswith(CLASS_NAMES[2])
    with open_source(str(tmp_path / "why.mp4")) as source:
        assert source.num_frames == 8
        assert source.read([0]).shape == (1, 32, 32, 3)


def test_heat_is_laid_over_where_it_is():
    frames, maps = np.full((2, 4, 4, 3), 100, np.uint8), np.zeros((2, 4, 4), np.float32)
    maps[1, 2, 3] = 1
    hot = explain.heated(frames, maps)
    differs = (hot != 100).any(axis=3)
    assert np.argwhere(differs).tolist() == [[1, 2, 3]]
    assert hot[1, 2, 3, 0] > hot[1, 2, 3, 2]  # yellow


def test_a_class_that_is_none_and_a_network_of_masks_are_refused(flags, make_checkpoint, tmp_path):
    with pytest.raises(UserError, match="--label running: no class of this network has this name"):
        explain.main([*flags, "--label", "running"])
