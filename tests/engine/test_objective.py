"""A step as a static graph against dygraph."""

import numpy as np
import paddle
import pytest

from configs import get_preset
from engine.objective import TrainingStep, as_graph
from models import from_recipe
from tasks.classification import Classification
from tasks.cross_entropy import distributions


@pytest.fixture
def float64():
    paddle.set_default_dtype("float64")
    yield
    paddle.set_default_dtype("float32")


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "options",
    [
        {"model": "tsn_tiny"},
        {"model": "tsm_tiny"},
        {"model": "tsm_tiny", "shift_direction": "paddle", "shift_div": 10},
        {"model": "tsm_tiny", "shift_direction": "online", "partial_bn": True},
        {"model": "tsm_tiny", "shift_place": "block", "temporal_pool": True},
        {"model": "mvf_tiny"},
        {"model": "mvf_tiny", "mvf_mode": "TH", "mvf_share": True, "mvf_use_hs": False, "mvf_stages": (1, 1, 1, 1)},
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
@pytest.mark.whole
def test_a_graph_has_the_loss_gradients_and_statistics_of_dygraph(options):
    """Shift and fusion compute in another way in a graph; the second batch is smaller."""
    recipe = get_preset("demo_tsm").with_(short_side=32, crop_size=32, test_size=32, num_classes=5, **options)
    results = []
    for to_static in (False, True):
        paddle.seed(7)
        model = from_recipe(recipe)
        model.train()
        step = (
            as_graph(TrainingStep(model, Classification(), recipe), recipe)
            if to_static
            else TrainingStep(model, Classification(), recipe)
        )
        values = [_differentiate(step, recipe, size) for size in (3, 2)]
        tensors = {name: p.grad.numpy() for name, p in model.named_parameters() if not p.stop_gradient}
        results.append((values, {**tensors, **{name: buffer.numpy() for name, buffer in model.named_buffers()}}))
    (values, tensors), (graph_values, graph_tensors) = results
    assert graph_values == pytest.approx(values, rel=1e-12)
    assert tensors.keys() == graph_tensors.keys()
    for name, tensor in tensors.items():
        gap, size = np.abs(graph_tensors[name] - tensor).max(), np.abs(tensor).max()
        assert gap <= 1e-10 * size, name
        assert size > 0 or name.endswith("_mean"), name


def _differentiate(step, recipe, size):
    rng = np.random.default_rng(size)
    clips = paddle.to_tensor(rng.normal(size=(size, recipe.clip.num_frames, 3, 32, 32)))
    target = distributions(paddle.to_tensor(rng.integers(0, 5, size)), 5, 0.1, "float64")
    paddle.seed(size)
    loss, _ = step(clips, target)
    loss.backward()
    return float(loss)
