"""Blocks alone and whole networks in engines: what is timed against what, and that each engine can."""

import pytest

from deploy.engines import ENGINES
from scaling import latency
from scaling.latency import Stopwatch, Whole
from scaling.teacher import timed, weighed


@pytest.fixture
def stopwatch_of(original, tmp_path):
    def make(engine="paddle"):
        shape = original.validation.dataset.sample_shape[1:]
        return Stopwatch(original.model, [block.path for block in original.blocks], shape, engine, 1, tmp_path)

    return make


@pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=() if name == "onnxruntime" else pytest.mark.whole) for name in ENGINES]
)
@pytest.mark.whole
def test_each_engine_times_blocks_and_networks(engine, stopwatch_of, original, descendants, monkeypatch):
    if not ENGINES[engine].is_installed:
        pytest.skip(f"{engine} is not installed")
    monkeypatch.setattr(latency, "ROUNDS", 5)
    stopwatch, block = stopwatch_of(engine), original.blocks[-1]
    layers = {block.path: [descendants.of_block(block, 0.5), descendants.of_block(block, 0.0)]}
    whole, found = stopwatch.saved_ms(layers)
    saved, nothing = found[block.path]
    assert whole > 0
    assert abs(saved) < whole
    assert abs(nothing) < 0.5 * whole  # the original's own block in its own place
    own, other = stopwatch.wholes([descendants.of((0.5,) * 8)])
    for one in (own, other):
        assert 0 < one.latency_ms < 1e4
        assert 2**24 < one.memory_bytes < 2**31


def bytes_of(graph):
    """Of its weights: names, which are numbered through the process, lie elsewhere."""
    return float(sum(file.stat().st_size for file in graph.folder.rglob("*.pdiparams")))


@pytest.fixture
def weighing(monkeypatch):
    """A graph takes as many milliseconds as it has bytes of weights."""

    def called(function, engine, graphs, settings, *rounds):
        return {timed: lambda: list(map(bytes_of, graphs)), weighed: lambda: 7}[function]()

    monkeypatch.setattr(latency, "in_fresh_process", called)


def test_a_block_is_timed_alone(weighing, stopwatch_of, original, descendants):
    stopwatch, two = stopwatch_of(), original.blocks[2:4]
    layers = {block.path: [descendants.of_block(block, level) for level in (0.5, 0.0)] for block in two}
    whole, saved = stopwatch.saved_ms(layers)
    assert whole == stopwatch.wholes([])[0].latency_ms
    for path, (narrow, own) in layers.items():
        fewer = sum(4 * tensor.size for tensor in own.parameters()) - sum(4 * p.size for p in narrow.parameters())
        assert saved[path] == pytest.approx([fewer, 0], rel=0.3)
        given, made = stopwatch.shapes[path]
        assert given[0] == made[0] == 8  # the frames of one clip


def test_where_a_format_rewrites_the_network_whole_ones_are_timed(
    weighing, stopwatch_of, original, descendants, monkeypatch
):
    monkeypatch.setitem(latency.FUSIONS, "paddle", {type(original.model): lambda layer: layer})
    stopwatch, block = stopwatch_of(), original.blocks[2]
    one = {block.path: descendants.of_block(block, 0.5)}
    whole, saved = stopwatch.saved_ms({path: [layer] for path, layer in one.items()})
    own, other = stopwatch.wholes([one])
    assert (own, other) == (Whole(whole, 7), Whole(whole - saved[block.path][0], 7))
    assert saved[block.path][0] > 0
