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
from deploy.engines import COMPUTED, ENGINES, default_engine
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


def compile_for(args, loaded, videos=MANY_VIEWS, kept=False):
    """The model that test.py would run on so many videos, its graph kept or not."""
    num_views, *shape = VideoDataset(unlabeled(["absent.mp4"] * videos), loaded.recipe, "test").sample_shape
    settings = Settings(args.precision, args.threads, tune=not args.no_tune)
    recipe = loaded.recipe.to_json() if kept else ""
    return compiled(loaded.model, shape, num_views * videos, args.engine, settings, recipe)


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
    assert name == ((more or ("", default_engine(Settings())))[1] if chosen else "dygraph")


@pytest.mark.parametrize(("model", "first"), [("tsm_tiny", "onnxruntime"), ("x3d_tiny", "openvino")])
def test_auto_takes_the_engine_that_is_fastest_for_the_family(model, first, make_checkpoint):
    for package in ("paddle2onnx", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    weights = make_checkpoint("demo_tsm", model=model, test_size=32)
    args = flags(weights)
    loaded = load_pretrained(args.pretrained, cli.asked(args))
    before = loaded.recipe.network.family.engines
    shape = (loaded.recipe.clip.num_frames, 3, 32, 32)
    _, name = compiled(loaded.model, shape, MANY_VIEWS, "auto", Settings(threads=1), before=before)
    assert name == first


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    """A cache with nothing in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "actionalign"


def forbidden(*_, **__):
    raise AssertionError("this was to come from the cache")


@pytest.mark.parametrize("engine", ["paddle", "onnxruntime", "openvino", "auto"])
def test_a_graph_that_was_made_is_used_again_without_the_model(
    engine, checkpoint, clips, empty_cache, monkeypatch, capsys
):
    if engine != "auto":
        pytest.importorskip("paddle2onnx")
        pytest.importorskip(engine)
    args = flags(checkpoint, "--engine", engine)
    loaded = load_pretrained(args.pretrained, cli.asked(args))
    first, name = compile_for(args, loaded, videos=1, kept=True)
    assert name == (default_engine(Settings()) if engine == "auto" else engine)
    before = first(paddle.to_tensor(clips)).numpy()
    note = capsys.readouterr().err
    loaded = load_pretrained(args.pretrained, cli.asked(args))
    monkeypatch.setattr(module, "write_graph", forbidden)
    monkeypatch.setattr(type(loaded.model), "forward", forbidden)
    again, _ = compile_for(args, loaded, videos=1, kept=True)
    assert np.array_equal(again(paddle.to_tensor(clips)).numpy(), before)
    assert capsys.readouterr().err == note
    assert sorted(kind.name for kind in empty_cache.iterdir()) == ["certificates", "graphs"]


@pytest.mark.parametrize("change", ["weights", "recipe", "views", "source"])
def test_what_decides_a_graph_decides_its_entry(change, checkpoint, empty_cache, monkeypatch):
    args = flags(checkpoint, "--engine", "paddle")
    loaded = load_pretrained(args.pretrained, cli.asked(args))
    shape = [8, 3, 32, 32]
    monkeypatch.setattr(module, "write_graph", lambda form, model, signature, folder: (folder / "graph").touch())
    monkeypatch.setattr(module, "open_graph", lambda *_: None)
    compiled(loaded.model, shape, 1, "paddle", Settings(), loaded.recipe.to_json())
    recipe = loaded.recipe.to_json()
    if change == "weights":
        weight = loaded.model.parameters()[-1]
        weight.set_value(weight + 2.0**-20)
    if change == "recipe":
        recipe = recipe.replace("8", "4")
    if change == "views":
        shape = [8, 3, 64, 64]
    if change == "source":
        monkeypatch.setattr(module, "_sources_digest", lambda: "another")
    compiled(loaded.model, shape, 1, "paddle", Settings(), recipe)
    compiled(loaded.model, shape, 1, "paddle", Settings(), recipe)
    assert len(list((empty_cache / "graphs").iterdir())) == 2


def test_a_certificate_is_not_written_for_other_logits(checkpoint, clips, empty_cache, monkeypatch):
    args = flags(checkpoint, "--engine", "paddle")
    loaded = load_pretrained(args.pretrained, cli.asked(args))
    for _ in range(2):
        model, _ = compile_for(args, loaded, kept=True)
        run = model.engine.run
        object.__setattr__(model.engine, "run", lambda arrays, run=run: {"logits": run(arrays)["logits"] + 1})
        with pytest.raises(UserError, match="take --engine dygraph"):
            model(paddle.to_tensor(clips))
    assert not list((empty_cache / "certificates").iterdir())


def test_a_cache_that_cannot_be_written_costs_a_note(checkpoint, clips, monkeypatch, tmp_path, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    args = flags(checkpoint, "--engine", "paddle")
    loaded = load_pretrained(args.pretrained, cli.asked(args))
    model, _ = compile_for(args, loaded, kept=True)
    assert "note: the graph is not kept: Not a directory" in capsys.readouterr().err
    assert model(paddle.to_tensor(clips)).shape == [5, 8]


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
        said = f"computed in dygraph, as the engine {default_engine(Settings())} does not run here: no such engine"
        assert said in capsys.readouterr().err
    else:
        with pytest.raises(UserError, match="no such engine"):
            compile_for(args, loaded)


def test_an_engine_with_other_logits_ends_the_command_that_asked_for_it(checkpoint, clips, capsys):
    loaded = load_pretrained(str(checkpoint))
    facts = {"engine": "paddle", "precision": "fp32"}

    def wrong(arrays):
        logits = loaded.model(paddle.to_tensor(arrays["clips"])).numpy()
        logits[0, 3] += 0.01 * np.abs(logits).max()
        return {"logits": logits}

    engine = Engine(wrong, Signature.of_clips((8, 3, 32, 32)), facts)
    with pytest.raises(UserError, match="take --engine dygraph"):
        CompiledRecognizer(loaded.model, engine)(paddle.to_tensor(clips))
    asked_by_nobody = CompiledRecognizer(loaded.model, engine, may_refuse=False)
    for _ in range(2):
        found = asked_by_nobody(paddle.to_tensor(clips)).numpy()
        np.testing.assert_array_equal(found, loaded.model(paddle.to_tensor(clips)).numpy())
    notes = capsys.readouterr().err
    assert notes.count("computed in dygraph, as --engine paddle gives logits of the first clip that differ by") == 1


@pytest.mark.parametrize("engine", ["dygraph", "onnxruntime"])
def test_bf16_where_there_is_none(engine, checkpoint):
    pytest.importorskip("paddle2onnx")
    args = flags(checkpoint, "--engine", engine, "--precision", "bf16")
    loaded = load_pretrained(args.pretrained, cli.asked(args))
    with pytest.raises(UserError, match=r"bf16.*: take --engine openvino or paddle"):
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
