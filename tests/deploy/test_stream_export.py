"""The graph of one frame and of what it keeps, in every format and engine."""

import numpy as np
import pytest

from deploy import export
from deploy.artifact import open_artifact
from deploy.engines import ENGINES, open_engine
from deploy.formats import FORMATS
from deploy.interface import EngineError, Stream
from deploy.parity import clip_by_frames
from engine.pretrained import load_pretrained
from runtime.errors import UserError


@pytest.fixture(scope="module")
def weights(make_checkpoint):
    return make_checkpoint("demo_tsm", test_size=32, shift_direction="online")


@pytest.fixture(scope="module")
def stream_artifact(weights, tmp_path_factory):
    """In every format that can be made here; not to be changed."""
    pytest.importorskip("paddle2onnx")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("stream") / "artifact"
    export.main(["--pretrained", str(weights), "--output", str(folder), "--stream", "--threads", "1",
                 "--formats", *(name for name, form in FORMATS.items() if not form.lack)])  # fmt: skip
    return folder


def test_the_record_names_the_states(stream_artifact):
    signature = open_artifact(stream_artifact).signature
    assert [spec.name for spec in signature.inputs] == ["frames", *(f"state_{i}" for i in range(8))]
    assert signature.inputs[0].shape == (None, 3, 32, 32)
    assert signature.outputs[0].shape == (None, 8)
    assert signature.states[0] == ("next_state_0", "state_0")


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_step_as_the_model_sees_the_clip(engine, stream_artifact, weights, clips):
    if not ENGINES[engine].is_installed:
        pytest.skip(f"{engine} is not installed")
    folders = [stream_artifact] if engine != "paddle" else [stream_artifact, stream_artifact / "legacy"]
    expected = export.dygraph_logits(load_pretrained(str(weights), {}).model, clips)
    for folder in folders:
        found = clip_by_frames(open_engine(engine, folder, threads=1), clips)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_graph_of_frames_takes_no_clips(stream_artifact, clips):
    engine = open_engine(None, stream_artifact, threads=1)
    with pytest.raises(EngineError, match="the graph takes frames, state_0"):
        engine(clips)


def test_a_stream_begins_at_zeros_and_keeps_its_states(stream_artifact, clips):
    engine = open_engine(None, stream_artifact, threads=1)
    first, second = (Stream(engine, 1).step({"frames": clips[:1, 0]})["logits"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    stream = Stream(engine, 1)
    steps = [stream.step({"frames": clips[:1, 0]})["logits"] for _ in range(2)]
    assert np.abs(steps[0] - steps[1]).max() > 1e-6  # the second has seen the first


def test_other_networks_are_refused(make_checkpoint, tmp_path):
    both_ways = make_checkpoint("demo_tsm", test_size=32)
    with pytest.raises(UserError, match=r"takes channels of the next frame, too.*--shift_direction online"):
        export.main(["--pretrained", str(both_ways), "--output", str(tmp_path / "artifact"), "--stream"])
    assert not (tmp_path / "artifact").exists()
