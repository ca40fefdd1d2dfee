"""Frame by frame a TSM computes what it computes of the clip."""

import numpy as np
import paddle
import pytest

from models import create_model
from models.streaming import StreamingRecognizer
from runtime.errors import UserError

NETWORKS = [
    ("tsm_tiny", {}),
    ("tsm_tiny", {"shift_place": "block", "shift_div": 4}),
    ("tsm_mobilenet_v2", {}),
    ("tsm_bottleneck", {}),
]


def online(name, dtype="float64", **options):
    paddle.seed(0)
    model = create_model(
        name.replace("bottleneck", "r50"), num_classes=5, num_frames=8, shift_direction="online", **options
    )
    model.to(dtype=dtype)
    model.eval()
    return model


def clips_of(videos, frames, side, dtype="float64"):
    return np.random.default_rng(0).normal(size=(videos, frames, 3, side, side)).astype(dtype)


def zeros(stream, videos, side, dtype="float64"):
    return [paddle.zeros([videos, *shape], dtype) for shape in stream.state_shapes(side, side)]


def run(stream, clips, states):
    """Logits of each frame, [T, N, K], and the last states."""
    found = []
    with paddle.no_grad():
        for frames in clips.swapaxes(0, 1):
            logits, *states = stream(paddle.to_tensor(frames), states)
            found.append(logits.numpy())
    return np.stack(found), states


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_every_prefix_has_the_logits_of_the_clip(name, options):
    model, clips = online(name, **options), clips_of(2, 6, 40)
    stream = StreamingRecognizer(model)
    logits, _ = run(stream, clips, zeros(stream, 2, 40))
    for t in range(1, 7):
        with paddle.no_grad():
            wanted = model(paddle.to_tensor(clips[:, :t])).numpy()
        np.testing.assert_allclose(logits[:t].mean(axis=0), wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())


def test_states_of_mobilenet_are_those_of_the_authors_demo():
    shapes = StreamingRecognizer(online("tsm_mobilenet_v2")).state_shapes(224, 224)
    assert shapes == [
        (3, 56, 56), *[(4, 28, 28)] * 2, *[(8, 14, 14)] * 3, *[(12, 14, 14)] * 2, *[(20, 7, 7)] * 2,
    ]  # fmt: skip
    assert sum(int(np.prod(shape)) for shape in shapes) == 27_048


def test_streams_of_a_batch_do_not_see_each_other_and_one_begins_anew():
    stream, clips = StreamingRecognizer(online("tsm_tiny")), clips_of(3, 5, 32)
    together, states = run(stream, clips, zeros(stream, 3, 32))
    for i in range(3):
        alone, _ = run(stream, clips[i : i + 1], zeros(stream, 1, 32))
        np.testing.assert_allclose(together[:, i : i + 1], alone, rtol=0, atol=1e-12)
    for state in states:
        state[1] = 0.0  # the second video is another one from here on
    again, _ = run(stream, clips, states)
    np.testing.assert_allclose(again[:, 1], together[:, 1], rtol=0, atol=1e-12)
    assert np.abs(again[:, 0] - together[:, 0]).max() > 1e-6


def test_a_long_stream_does_not_drift_in_float32():
    model, clips = online("tsm_tiny", "float32"), clips_of(1, 300, 32, "float32")
    stream = StreamingRecognizer(model)
    logits, _ = run(stream, clips, zeros(stream, 1, 32, "float32"))
    exact = StreamingRecognizer(online("tsm_tiny"))
    for layer, other in zip(stream.parameters(), exact.parameters(), strict=True):
        other.set_value(layer.numpy().astype("float64"))
    wanted, _ = run(exact, clips.astype("float64"), zeros(exact, 1, 32))
    errors = np.abs(logits - wanted).max(axis=(1, 2)) / np.abs(wanted).max()
    assert errors.max() < 5e-6
    assert errors[200:].mean() < 3 * errors[:100].mean()


def test_the_model_is_left_as_it_is():
    model = online("tsm_tiny")
    before = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    stream = StreamingRecognizer(model)
    assert stream.state_dict().keys() == before.keys()
    for tensor in stream.parameters():
        tensor.set_value(paddle.zeros_like(tensor))
    for key, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[key])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tsm_tiny", {"shift_direction": "mit"}, r"the shift of this network \(mit\) takes channels of the next frame"),
        ("tsm_tiny", {"shift_direction": "online", "temporal_pool": True}, "TemporalPool joins frames that come later"),
        ("tsn_tiny", {}, "this network has no temporal module"),
        ("mvf_tiny", {}, "MultiViewFusion joins frames that come later"),
        ("i3d_tiny", {}, "only a network whose frames meet in temporal modules can be streamed"),
        ("tsm_tiny", {"shift_direction": "online", "shift_div": 32}, "shift_div is above the 16 channels of a layer"),
    ],
)
def test_what_cannot_be_streamed_is_refused_with_the_reason(name, options, message):
    model = create_model(name, num_classes=2, num_frames=8, **options)
    with pytest.raises(UserError, match=message):
        StreamingRecognizer(model).state_shapes(32, 32)
