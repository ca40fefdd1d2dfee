"""What programs without a decoder are given: every view of every video, and the logits of the trained model."""

import numpy as np
import paddle
import pytest

from configs import get_preset
from datasets.dataset import load_views
from datasets.demo import CLASS_NAMES
from deploy import export
from engine.checkpoint import pickled
from models import from_recipe
from test_tipc import clips
from tests.conftest import settle


@pytest.fixture
def trained(tmp_path):
    """(recipe, model, folder of its artifact): TSN with two views of a video."""
    recipe = get_preset("demo_tsn").with_(num_classes=8, test_clips=2, sampling="mmaction0", test_size=32)
    model = settle(from_recipe(recipe), recipe)
    (tmp_path / "best.pdparams").write_bytes(
        pickled({name: tensor.numpy() for name, tensor in model.state_dict().items()})
    )
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    (tmp_path / "classes.txt").write_text("".join(f"{name}\n" for name in CLASS_NAMES))
    export.main(["--pretrained", str(tmp_path / "best.pdparams"), "--output", str(tmp_path / "artifact"),
                 "--threads", "1", "--formats", "paddle"])  # fmt: skip
    return recipe, model, tmp_path / "artifact"


def test_clips_are_those_of_the_recipe_and_logits_those_of_the_model(trained, motion_videos, tmp_path, capsys):
    recipe, model, artifact = trained
    videos = [str(path) for path in sorted((motion_videos / "val").rglob("*.mp4"))[:3]]
    output = tmp_path / "output"
    clips.main(["--model_dir", str(artifact), "--output", str(output), "--video", *videos])
    passed, logits = np.load(output / clips.CLIPS), np.load(output / clips.LOGITS)
    wanted = np.concatenate([load_views(path, recipe) for path in videos])
    assert (passed.dtype, passed.shape[0]) == (np.float32, 2 * len(videos))
    np.testing.assert_array_equal(passed, wanted)
    with paddle.no_grad():
        expected = model(paddle.to_tensor(passed)).numpy()
    assert (logits.dtype, logits.shape) == (np.float32, (2 * len(videos), 8))
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())
    assert [line for line in capsys.readouterr().out.splitlines() if line in videos] == videos
