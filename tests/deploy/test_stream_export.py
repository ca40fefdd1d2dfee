"""The graph of one frame and of what it keeps, in every format and engine."""

import numpy as np
import paddle
import pytest

from deploy import export
from deploy.artifact import open_artifact
from deploy.engines import ENGINES, open_engine
from deploy.formats import FORMATS
from deploy.interface import EngineError, Stream
from deploy.parity import clip_by_frames
from engine.pretrained import load_pretrained
from runtime.errors import UserError


def test_the_record_names_the_states(stream_artifact):
    signature = open_artifact(stream_artifact).signature
    assert [spec.name for spec in signature.inputs] == ["frames", *(f"state_{i}" for i in range(8))]
    assert signature.inputs[0].shape == (None, 3, 32, 32)
    assert signature.outputs[0].shape == (None, 8)
    assert signature.states[0] == ("next_state_0", "state_0")


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_step_as_the_model_sees_the_clip(engine, stream_artifact, online_checkpoint, clips):
    if not ENGINES[engine].is_installed:
        pytest.skip(f"{engine} is not installed")
    folders = [stream_artifact] if engine != "paddle" else [stream_artifact, stream_artifact / "legacy"]
    expected = export.dygraph_logits(load_pretrained(str(online_checkpoint), {}).model, clips)
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


def test_states_of_another_network_are_refused(stream_artifact, clips):
    engine = open_engine(None, stream_artifact, threads=1)
    stream = Stream(engine, 1)
    name = next(iter(stream.states))
    stream.states[name] = np.zeros((1, 7, 3, 3), np.float32)
    with pytest.raises(UserError, match=rf"{name}.*\[1, 7, 3, 3\]"):
        stream.step({"frames": clips[:1, 0]})
    del stream.states[name]
    with pytest.raises(UserError, match=name):
        stream.step({"frames": clips[:1, 0]})


def test_other_networks_are_refused(make_checkpoint, tmp_path):
    both_ways = make_checkpoint("demo_tsm", test_size=32)
    with pytest.raises(UserError, match=r"takes channels of the next frame, too.*--shift_direction online"):
        export.main(["--pretrained", str(both_ways), "--output", str(tmp_path / "artifact"), "--stream"])
    assert not (tmp_path / "artifact").exists()


FRAMES = 1000


@pytest.fixture(scope="module")
def long_stream(make_checkpoint, tmp_path_factory):
    """(the artifact of an online MobileNetV2 in every format, 1,000 frames, each one's logits in the whole clip)."""
    weights = make_checkpoint("jester_tsm_online_mobilenet_v2", test_size=64, crop_size=64, short_side=64)
    folder = tmp_path_factory.mktemp("long") / "artifact"
    formats = [name for name, form in FORMATS.items() if not form.lack and name != "legacy"]
    export.main(["--pretrained", str(weights), "--output", str(folder), "--stream", "--threads", "1", "--formats",
                 *formats])  # fmt: skip
    model = load_pretrained(str(weights)).model
    frames = np.random.default_rng(0).normal(size=(FRAMES, 3, 64, 64)).astype(np.float32)
    with paddle.no_grad():
        features, _ = model.extract(paddle.to_tensor(frames[None]))
        logits = model.cls_head(features, 1).numpy()  # [T, K]
    return folder, frames, logits


@pytest.mark.whole
@pytest.mark.parametrize("engine", ENGINES)
def test_a_thousand_frames_do_not_drift(engine, long_stream, capsys):
    folder, frames, expected = long_stream
    stream = Stream(open_engine(engine, folder, threads=1))
    found = np.concatenate([stream.step({"frames": frame[None]})["logits"] for frame in frames])
    errors = np.abs(found - expected).max(axis=1) / np.abs(expected).max()
    first, last = errors[:100].max(), errors[-100:].max()
    with capsys.disabled():
        print(f"\n{engine}: {first:.1e} of the largest logit in the first 100 frames, {last:.1e} in the last")
    assert errors.max() < 1e-4
    assert last < 4 * first
