"""Every engine gives the model's logits for every clip that there is: those of the embedded set, and real ones."""

from pathlib import Path

import numpy as np
import pytest

from configs import cli, get_preset
from datasets import load_views
from datasets.annotation import VIDEO_SUFFIXES
from deploy import export
from deploy.engines import ENGINES, open_engine
from deploy.formats import FORMATS
from engine.pretrained import load_pretrained

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
MODELS = {
    "tsn_tiny": ("demo_tsn", {}),
    "tsm_tiny": ("demo_tsm", {}),
    "mvf_tiny": ("demo_mvf", {}),
    "tsm_mobilenet_v2": ("demo_tsm", {"model": "tsm_mobilenet_v2", "shift_div": 8}),
}

pytestmark = pytest.mark.slow


def clips_in(folder):
    """The center view of each video of a folder, float32 [n, 8, 3, 32, 32]."""
    recipe = get_preset("demo_tsm").with_(short_side=40, test_size=32)
    videos = sorted(path for path in folder.rglob("*") if path.suffix in VIDEO_SUFFIXES)
    return np.stack([load_views(str(video), recipe, "val")[0] for video in videos])


@pytest.fixture(scope="module")
def embedded_clips(motion_videos):
    return clips_in(motion_videos)


@pytest.fixture(scope="module")
def real_clips():
    if not REAL.is_dir():
        pytest.skip("no real clips beside the repository")
    return clips_in(REAL)


QUICK = ("mvf_tiny",)  # in `make test`; `test_fusions.py` has the blocks of each network there


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in QUICK else pytest.mark.whole) for name in MODELS],
)
def model_and_artifact(request, make_checkpoint, tmp_path_factory):
    """A model, and the folder of its graphs."""
    pytest.importorskip("paddle2onnx")
    preset, fields = MODELS[request.param]
    weights = make_checkpoint(preset, short_side=40, test_size=32, **fields)
    folder = tmp_path_factory.mktemp("artifact") / request.param
    flags = ["--pretrained", str(weights), "--output", str(folder), "--threads", "1", "--views", "quick"]
    export.main([*flags, "--formats", *(name for name, form in FORMATS.items() if not form.lack and name != "legacy")])
    args = export.parse_args(flags)
    return load_pretrained(args.pretrained, cli.asked(args)).model, folder


@pytest.mark.parametrize("kind", ["embedded", pytest.param("real", marks=pytest.mark.whole)])
def test_every_clip_gets_the_logits_and_the_class_of_the_model(kind, model_and_artifact, request):
    model, folder = model_and_artifact
    clips = request.getfixturevalue(f"{kind}_clips")
    expected = export.dygraph_logits(model, clips)
    assert np.ptp(expected, axis=0).max() > 0.1, "the logits tell the clips apart"
    for name in ENGINES:
        engine = open_engine(name, folder, threads=1)
        found = np.concatenate([engine(clips[start : start + 5]) for start in range(0, len(clips), 5)])
        assert np.abs(found - expected).max() < 1e-4 * max(1.0, np.abs(expected).max()), name
        assert (found.argmax(axis=1) == expected.argmax(axis=1)).all(), name
