"""A film that is put together from clips of known classes, and the network that was trained on such clips."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from datasets.decode import open_source
from datasets.demo import write_demo_dataset
from datasets.encode import encode_frames
from tests.deploy.timeline.segmental import merged, segmental_f1

ROOT = Path(__file__).resolve().parents[3]
FRAMES, RATE = 17, 10  # of each clip
CLIPS = 40


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(0, 2, "a"), (2, 4, "b")], 1.0),
        ([(0, 1, "a"), (1, 4, "b")], 1.0),  # halves overlap by a half, thirds by two
        ([(0, 0.9, "a"), (0.9, 4, "b")], 0.5),
        ([(0, 2, "b"), (2, 4, "a")], 0.0),
        ([(0, 2, "a"), (2, 3, "b"), (3, 4, "b")], 0.8),  # the second half is a false alarm
        ([(0, 4, "a")], 2 / 3),
    ],
)
def test_parts_count_as_their_definition_says(found, expected):
    assert segmental_f1(found, [(0, 2, "a"), (2, 4, "b")], 0.5) == pytest.approx(expected)


def test_neighbours_of_one_label_are_one_part():
    assert merged([(0, 1, "a"), (1, 2, "a"), (2, 3, "b"), (4, 5, "b")]) == [(0, 2, "a"), (2, 3, "b"), (4, 5, "b")]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """(weights of a network that was trained, a film, its parts)."""
    folder = tmp_path_factory.mktemp("film")
    data = write_demo_dataset(folder / "data")
    flags = ["--preset", "demo_tsm", "--dataset_root", data, "--output_dir", folder / "run", "--threads", "2"]
    subprocess.run([sys.executable, "train.py", *map(str, flags)], cwd=ROOT, check=True)
    videos = sorted((data / "val").rglob("*.mp4"))
    chosen = np.random.default_rng(7).choice(len(videos), CLIPS, replace=False)

    def frames():
        for index in chosen:
            with open_source(str(videos[index])) as source:
                yield from source.read(range(FRAMES))

    with av.open(str(folder / "film.mp4"), "w") as container:
        encode_frames(container, frames(), "libx264", Fraction(RATE), {"crf": "12"})
    length = FRAMES / RATE
    parts = [(k * length, (k + 1) * length, videos[index].parent.name) for k, index in enumerate(chosen)]
    return folder / "run" / "best.pdparams", folder / "film.mp4", merged(parts)


@pytest.mark.whole
@pytest.mark.parametrize(("stride", "least"), [(0.0, (0.95, 0.95, 0.95)), (0.2, (0.65, 0.6, 0.45))])
def test_a_film_of_known_classes_gets_its_parts(film, stride, least, tmp_path):
    """Windows of a clip's length are right; those that straddle a cut see another motion, and are not."""
    weights, video, truth = film
    flags = ["--video", video, "--pretrained", weights, "--window", FRAMES / RATE, "--stride", stride,
             "--output", tmp_path / "labels.json"]  # fmt: skip
    subprocess.run([sys.executable, "predict.py", *map(str, flags)], cwd=ROOT, check=True)
    (labels,) = json.loads((tmp_path / "labels.json").read_text())
    found = [(part["start"], part["end"], part["label"]) for part in labels["segments"]]
    figures = [segmental_f1(found, truth, overlap) for overlap in (0.1, 0.25, 0.5)]
    print(f"stride {stride}: {len(truth)} parts, {len(found)} found, segmental F1 at .1, .25, .5: {figures}")
    assert all(figure >= lowest for figure, lowest in zip(figures, least, strict=True))
