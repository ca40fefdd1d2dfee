"""Graphs with two inputs and with states give what dygraph gives in every engine, step after step."""

import json

import numpy as np
import paddle
import pytest
from paddle import nn

from deploy.engines import ENGINES, open_engine, open_graph
from deploy.formats import FORMATS
from deploy.interface import Engine, EngineError, Settings, Stream
from deploy.signature import Signature, SignatureError, TensorSpec
from deploy.writers import write_graph
from runtime.errors import UserError


class TwoInputs(nn.Layer):
    """Images [N, 3, 16, 16] weighted by masks int64 [N, 16, 16] -> (logits [N, 5], what the masks cover [N])."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(3, 4, 3, padding=1, bias_attr=False)
        self.bn = nn.BatchNorm2D(4)
        self.fc = nn.Linear(4, 5)

    def forward(self, images, masks):
        weight = masks.astype("float32").unsqueeze(1)  # [N, 1, 16, 16]
        features = nn.functional.relu(self.bn(self.conv(images))) * weight
        return self.fc(features.mean(axis=[2, 3])), weight.mean(axis=[1, 2, 3])


class Streaming(nn.Layer):
    """A frame [N, 3, 16, 16] and one state [N, 4, 16, 16] -> (logits [N, 5], the state for the next frame)."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(3, 4, 3, padding=1, bias_attr=False)
        self.bn = nn.BatchNorm2D(4)
        self.fc = nn.Linear(4, 5)

    def forward(self, frame, states):
        features = nn.functional.relu(self.bn(self.conv(frame))) + 0.5 * states[0]
        return self.fc(features.mean(axis=[2, 3])), features


IMAGE, LOGITS = (None, 3, 16, 16), TensorSpec("logits", (None, 5))
TWO_INPUTS = Signature(
    (TensorSpec("images", IMAGE), TensorSpec("a_mask", (None, 16, 16), "int64")),
    (LOGITS, TensorSpec("covered", (None,))),
)
STREAMING = Signature(
    (TensorSpec("frame", IMAGE), TensorSpec("state", (None, 4, 16, 16))),
    (LOGITS, TensorSpec("new_state", (None, 4, 16, 16))),
    (("new_state", "state"),),
)


def settled(kind):
    """A model in eval mode whose norm is far from the identity."""
    paddle.seed(4)
    model = kind()
    model.bn._mean.set_value(0.2 * paddle.randn([4]))
    model.bn._variance.set_value(1 + paddle.rand([4]))
    model.eval()
    return model


@pytest.fixture(scope="module", params=[f"{name} {form}" for name, kind in ENGINES.items() for form in kind.formats])
def load(request, tmp_path_factory):
    """Exports a model and opens it: (model, signature) -> engine, for every engine and format that it reads."""
    name, form = request.param.split()
    if FORMATS[form].lack:
        pytest.skip(FORMATS[form].lack)
    pytest.importorskip(ENGINES[name].package)
    pytest.importorskip("paddle2onnx")

    def load(model, signature):
        graph = write_graph(form, model, signature, tmp_path_factory.mktemp(form))
        assert all(path.is_file() for path in graph.files)
        return open_graph(name, graph, Settings(threads=1))

    return load


def test_two_inputs_of_two_types_and_two_outputs(load, request):
    model = settled(TwoInputs)
    form = request.node.callspec.params["load"].split()[1]
    if FORMATS[form].dtypes:
        with pytest.raises(UserError, match=f"--formats {form} takes float32 alone, and a_mask is int64"):
            load(model, TWO_INPUTS)
        return
    engine = load(model, TWO_INPUTS)
    rng = np.random.default_rng(0)
    for batch in (2, 1, 5):
        images = rng.standard_normal((batch, 3, 16, 16), dtype=np.float32)
        masks = rng.integers(0, 2, (batch, 16, 16))
        with paddle.no_grad():
            expected = [output.numpy() for output in model(paddle.to_tensor(images), paddle.to_tensor(masks))]
        found = engine.infer({"a_mask": masks, "images": images})
        assert list(found) == ["logits", "covered"]
        for output, wanted in zip(found.values(), expected, strict=True):
            assert output.shape == wanted.shape
            np.testing.assert_allclose(output, wanted, atol=1e-5)
    assert np.ptp(expected[0]) > 1e-2


def test_states_flow_from_step_to_step(load):
    model = settled(Streaming)
    engine = load(model, STREAMING)
    frames = np.random.default_rng(1).standard_normal((4, 2, 3, 16, 16), dtype=np.float32)  # [steps, N, ...]
    state, expected = paddle.zeros([2, 4, 16, 16]), []
    with paddle.no_grad():
        for frame in frames:
            logits, state = model(paddle.to_tensor(frame), [state])
            expected.append(logits.numpy())
    for _ in range(2):  # a new stream begins from zeros
        stream = Stream(engine, batch=2)
        found = [stream.step({"frame": frame}) for frame in frames]
        assert all(list(outputs) == ["logits"] for outputs in found)
        np.testing.assert_allclose([outputs["logits"] for outputs in found], expected, atol=1e-5)
        np.testing.assert_allclose(stream.states["state"], state.numpy(), atol=1e-5)
    first = Stream(engine, batch=2).step({"frame": frames[-1]})["logits"]
    assert np.abs(first - expected[-1]).max() > 1e-2, "the state makes a difference"


def test_arrays_that_the_graph_does_not_take_are_named():
    engine = Engine(lambda arrays: arrays, STREAMING, {})
    frame, state = np.zeros((1, 3, 16, 16), np.float32), np.zeros((1, 4, 16, 16), np.float32)
    with pytest.raises(SignatureError, match="the graph takes frame, state, got frame"):
        engine.infer({"frame": frame})
    with pytest.raises(SignatureError, match=r"frame of shape \[None, 3, 16, 16\], got \[1, 3, 8, 16\]"):
        engine.infer({"frame": frame[:, :, :8], "state": state})
    with pytest.raises(EngineError, match="takes frame, state, not clips alone"):
        engine(np.zeros((1, 8, 3, 16, 16), np.float32))
    assert engine.infer({"frame": frame.astype(np.float64), "state": state})["frame"].dtype == np.float32


@pytest.mark.parametrize(
    ("states", "outputs", "message"),
    [
        ((("absent", "state"),), (LOGITS,), "state absent -> state: both must exist"),
        ((("logits", "state"),), (LOGITS,), "with one shape"),
        ((), (LOGITS, LOGITS), "names of their own"),
        ((), (), "names of their own"),
    ],
)
def test_a_signature_must_not_contradict_itself(states, outputs, message):
    with pytest.raises(SignatureError, match=message):
        Signature(STREAMING.inputs, outputs, states)


@pytest.mark.parametrize("signature", [TWO_INPUTS, STREAMING, Signature.of_clips((8, 3, 32, 32), 8)])
def test_a_signature_survives_json(signature):
    assert Signature.from_dict(json.loads(json.dumps(signature.to_dict()))) == signature


def test_every_format_has_an_engine():
    assert set(FORMATS) == {form for kind in ENGINES.values() for form in kind.formats}


def test_a_record_of_version_2_opens(artifact, clips):
    expected = open_engine("paddle", artifact, threads=1)(clips)
    record = json.loads((artifact / "export.json").read_text())
    signature = record.pop("signature")
    record |= {"version": 2, "input": signature["inputs"][0]}
    (artifact / "export.json").write_text(json.dumps(record))
    engine = open_engine("paddle", artifact, threads=1)
    assert engine.signature == Signature.from_dict(signature)
    assert (engine(clips) == expected).all()
