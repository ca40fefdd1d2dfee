"""test.py and predict.py through an engine: the same numbers, chosen and checked as they say."""

import argparse
import json
import shutil
import tempfile

import numpy as np
import paddle
import pytest

from configs import cli
from datasets import VideoDataset, unlabeled
from deploy import compiled as module
from deploy.compiled import MANY_VIEWS, CompiledRecognizer, compiled
from deploy.engines import COMPUTED, ENGINES
from deploy.interface import Engine, EngineError, Settings
from deploy.signature import Signature
from engine.evaluation import run_of
from engine.pretrained import load_pretrained
from runtime.errors import UserError
from tasks.view_scores import score_views


def flags(checkpoint, *more):
    parser = argparse.ArgumentParser()
    cli.add_checkpoint_flags(parser)
    cli.add_beside_flags(parser)
    cli.add_engine_flags(parser, ENGINES, COMPUTED)
    return parser.parse_args(["--pretrained", str(checkpoint), *more])


def compile_for(args, loaded, videos=MANY_VIEWS):
    """The model that test.py would run on so many videos."""
    num_views, *shape = VideoDataset(unlabeled(["absent.mp4"] * videos), loaded.recipe, "test").sample_shape
    settings = Settings(args.precision, args.threads, tune=not args.no_tune)
    return compiled(loaded.model, shape, num_views * videos, args.engine, settings)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.parametrize("engine", ["paddle", "onnxruntime", "openvino"])
def test_an_engine_gives_what_the_model_gives(engine, checkpoint, clips, capsys):
    pytest.importorskip("paddle2onnx")
    pytest.importorskip(engine)
    args = flags(checkpoint, "--engine", engine)
    loaded = load_pretrained(args.pretrained, cli.asked(args))
    model, name = compile_for(args, loaded)
    assert isinstance(model, CompiledRecognizer)
    assert name == engine
    videos = np.stack([clips, clips[::-1]])  # [2, 5, 8, 3, 32, 32]
    expected = score_views(run_of(loaded.model), videos)
    np.testing.assert_allclose(score_views(run_of(model), videos), expected, atol=1e-5)
    assert np.abs(expected[:, None] - expected[:, :, None]).max() > 1e-2  # the scores say something
    notes = capsys.readouterr().err
    assert notes.count("note: ") == 1, "the first clip alone is checked"
    assert f"computed by {engine} in fp32" in notes
    assert "the same class comes first" in notes


def test_nothing_is_left_on_the_disk(checkpoint, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    args = flags(checkpoint, "--engine", "paddle")
    loaded = load_pretrained(args.pretrained, cli.asked(args))
    model, _ = compile_for(args, loaded)
    assert not list(tmp_path.iterdir())
    assert model(paddle.randn([3, 8, 3, 32, 32])).shape == [3, 8]


@pytest.mark.parametrize(
    ("more", "videos", "chosen"),
    [
        ((), MANY_VIEWS // 2, True),  # of two views each
        ((), MANY_VIEWS // 2 - 1, False),
        (("--no_tune",), MANY_VIEWS, False),
        (("--engine", "dygraph"), MANY_VIEWS, False),
        (("--engine", "paddle"), 1, True),
    ],
)
def test_auto_takes_an_engine_where_it_pays(more, videos, chosen, checkpoint):
    args = flags(checkpoint, *more)
    loaded = load_pretrained(args.pretrained, cli.asked(args))
    model, name = compile_for(args, loaded, videos)
    assert isinstance(model, CompiledRecognizer) == chosen
    assert name == ("paddle" if chosen else "dygraph")


def test_auto_leaves_a_gpu_to_dygraph(checkpoint, monkeypatch):
    args = flags(checkpoint)
    loaded = load_pretrained(args.pretrained, cli.asked(args))
    monkeypatch.setattr(paddle, "get_device", lambda: "gpu:0")
    assert compile_for(args, loaded) == (loaded.model, "dygraph")


@pytest.mark.parametrize("engine", ["auto", "paddle"])
def test_an_engine_that_does_not_open_is_told(engine, checkpoint, monkeypatch, capsys):
    def absent(*_, **__):
        raise EngineError("no such engine")

    args = flags(checkpoint, "--engine", engine)
    loaded = load_pretrained(args.pretrained, cli.asked(args))
    monkeypatch.setattr(module, "open_graph", absent)
    if engine == "auto":
        assert compile_for(args, loaded) == (loaded.model, "dygraph")
        assert "computed in dygraph, as the engine paddle does not run here: no such engine" in capsys.readouterr().err
    else:
        with pytest.raises(UserError, match="no such engine"):
            compile_for(args, loaded)


def test_an_engine_with_other_logits_ends_the_command(checkpoint, clips):
    loaded = load_pretrained(str(checkpoint))
    facts = {"engine": "paddle", "precision": "fp32"}

    def wrong(arrays):
        logits = loaded.model(paddle.to_tensor(arrays["clips"])).numpy()
        logits[0, 3] += 0.01 * np.abs(logits).max()
        return {"logits": logits}

    engine = Engine(wrong, Signature.of_clips((8, 3, 32, 32)), facts)
    with pytest.raises(UserError, match="take --engine dygraph"):
        CompiledRecognizer(loaded.model, engine)(paddle.to_tensor(clips))


@pytest.mark.parametrize("engine", ["dygraph", "onnxruntime"])
def test_bf16_where_there_is_none(engine, checkpoint):
    pytest.importorskip("paddle2onnx")
    args = flags(checkpoint, "--engine", engine, "--precision", "bf16")
    loaded = load_pretrained(args.pretrained, cli.asked(args))
    with pytest.raises(UserError, match=r"bf16.*: take --engine paddle or openvino"):
        compile_for(args, loaded)


@pytest.mark.parametrize("engine", ["auto", "dygraph", *ENGINES])
def test_the_flag_knows_the_engines_that_there_are(engine):
    assert flags("best.pdparams", "--engine", engine).engine == engine


def test_the_commands_print_the_same_in_every_engine(checkpoint, motion_videos, command, tmp_path):
    weights = shutil.copytree(checkpoint.parent, tmp_path / "run") / "best.pdparams"
    (weights.parent / "classes.txt").unlink()
    videos = sorted(map(str, motion_videos.rglob("*.mp4")))[:3]
    printed, reports = {}, {}
    for engine in ("dygraph", "paddle"):
        common = ("--pretrained", weights, "--engine", engine, "--threads", 1)
        code, out = command("predict.py", *common, "--video", *videos)
        assert code == 0
        printed[engine] = [line.rpartition(" ")[0] for line in out.splitlines()]  # without the last digits
        report = tmp_path / engine
        code, out = command(
            "test.py", *common, "--dataset_root", motion_videos, "--num_workers", 0, "--output_dir", report
        )
        assert code == 0
        reports[engine] = json.loads((report / "test.json").read_text())
    assert printed["dygraph"] == printed["paddle"]
    assert len(printed["paddle"]) == 3 * 7  # the path, the first line, five classes
    assert reports["dygraph"]["confusion"] == reports["paddle"]["confusion"]
    assert [report["engine"] for report in reports.values()] == ["dygraph", "paddle"]
