"""The command that infers: the lines of predict.py from an artifact alone, and what bad videos do to it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from deploy import infer
from deploy.engines import ENGINES
from runtime.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def videos(motion_videos):
    return [str(path) for path in sorted((motion_videos / "val").rglob("*.mp4"))[::5]]


@pytest.fixture
def run(exported, capsys):
    """Runs the command: flags -> (the error's message or "", printed lines)."""

    def run(*flags):
        argv = [str(flag) for flag in ("--model_dir", exported, "--threads", 1, *flags)]
        try:
            infer.main(argv)
        except UserError as error:
            return str(error), capsys.readouterr()
        return "", capsys.readouterr()

    return run


@pytest.mark.parametrize("views", ["full", "quick"])
@pytest.mark.parametrize("name", ENGINES)
def test_prints_what_predict_prints(name, views, run, videos, checkpoint, command):
    pytest.importorskip(ENGINES[name].package)
    _, wanted = command(
        "predict.py", "--video", *videos, "--pretrained", checkpoint, "--threads", 1, "--views", views, "--top", 3
    )
    error, said = run("--engine", name, "--video", *videos, "--views", views, "--top", 3)
    lines = said.out.splitlines()
    assert not error
    assert len(videos) > 2
    scores = [line for line in lines if line.startswith("top-1")]
    same = [line for line in lines if not line.startswith("top-1")]
    number = re.compile(r"\d+\.\d{6}")
    assert [number.sub("", line) for line in same] == [number.sub("", line) for line in wanted.splitlines()]
    found, expected = (np.array(number.findall(text), float) for text in ("\n".join(same), wanted))
    assert np.abs(found - expected).max() < 1e-5
    assert len(scores) == 2 * len(videos)
    assert re.fullmatch(r"top-1 class: \d", scores[0])
    assert float(scores[1].removeprefix("top-1 score: ")) == pytest.approx(expected[0], abs=1e-5)


def test_scores_do_not_depend_on_batches_or_on_decoding_ahead(run, videos, tmp_path):
    scores = []
    for i, flags in enumerate([("--num_workers", 0), ("--batch_size", 2), ("--batch_size", 3, "--num_workers", 2)]):
        file = tmp_path / f"{i}.json"
        run("--engine", "onnxruntime", "--video", *videos, "--save_json", file, *flags)
        record = json.loads(file.read_text())
        assert list(record["scores"]) == videos
        scores.append(np.array(list(record["scores"].values())))
    assert scores[0].shape == (len(videos), 8)
    assert np.allclose(scores[0].sum(axis=1), 1)
    assert np.ptp(scores[0], axis=0).max() > 1e-3
    for other in scores[1:]:
        assert np.abs(other - scores[0]).max() < 1e-6


def test_a_corrupt_video_is_named_and_counted_and_the_others_go_on(run, videos, tmp_path):
    bad, empty = tmp_path / "bad.mp4", tmp_path / "empty.mp4"
    bad.write_bytes(Path(videos[0]).read_bytes()[:900])
    with av.open(str(empty), "w") as container:
        container.add_stream("mpeg4", rate=10)
    error, said = run("--engine", "onnxruntime", "--video", videos[0], bad, videos[1], empty, "--batch_size", 2)
    assert error == "2 of 4 videos could not be read: they are named above"
    assert said.out.count("Top1 class:") == 2
    named = said.err.splitlines()
    assert [line.split(" ")[0] for line in named] == ["error:", "error:"]
    assert str(bad) in named[0]
    assert str(empty) in named[1]


def test_exit_code_is_1_after_a_failure(exported, videos, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    argv = ["--model_dir", exported, "--engine", "onnxruntime", "--video", tmp_path / "bad.mp4", videos[0]]
    done = subprocess.run(
        [sys.executable, "-m", "deploy.infer", *map(str, argv)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout.count("Top1 class:") == 1
    assert done.stderr.endswith("error: 1 of 2 videos could not be read: they are named above\n")


def test_inference_needs_neither_the_model_nor_a_framework(exported, videos):
    code = (
        "import sys; from deploy import infer; infer.main(sys.argv[1:])\n"
        "print(sorted({'models', 'engine', 'weights', 'torch', 'paddle', 'alignment'} & set(sys.modules)))"
    )
    argv = ["--model_dir", exported, "--engine", "onnxruntime", "--video", videos[0]]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, argv)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_takes_and_refuses_what_predict_takes_and_refuses(run, videos, checkpoint, command, tmp_path):
    """By name, by folder and by content."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for name, video in zip(("-a.mp4", "12.M4V"), videos, strict=False):
        (folder / name).write_bytes(Path(video).read_bytes())
    (tmp_path / "no_suffix").write_bytes(Path(videos[0]).read_bytes())
    given = [folder, tmp_path / "no_suffix"]
    code, wanted = command("predict.py", "--video", *given, "--pretrained", checkpoint, "--threads", 1, "--top", 1)
    assert code == 0
    error, said = run("--engine", "onnxruntime", "--video", *given, "--top", 1)
    assert not error
    named = [line for line in said.out.splitlines() if line.startswith(str(tmp_path))]
    assert named == [str(folder / "-a.mp4"), str(folder / "12.M4V"), str(tmp_path / "no_suffix")]
    assert [line for line in wanted.splitlines() if line.startswith(str(tmp_path))] == named
    assert said.out.count("Top1 class:") == wanted.count("Top1 class:") == 3
    for text in ("hello\n" * 100, "ffconcat version 1.0\nfile 12.M4V\n"):
        (folder / "text.mp4").write_text(text)
        code, _ = command("predict.py", "--video", folder / "text.mp4", "--pretrained", checkpoint, "--threads", 1)
        assert "text.mp4 is no" in code
        error, said = run("--engine", "onnxruntime", "--video", folder / "text.mp4")
        assert "text.mp4 is no" in said.err
        assert error.startswith("1 of 1 videos")


def test_class_names_of_another_number_are_refused(run, videos, tmp_path):
    (tmp_path / "names.txt").write_text("one\ntwo\n")
    error, _ = run("--engine", "onnxruntime", "--video", videos[0], "--classes", tmp_path / "names.txt")
    assert error.endswith("names 2 classes, the graph has 8")


@pytest.mark.parametrize("flags", [["--benchmark"], ["--enable_benchmark", "True"], ["--enable_benchmark=True"]])
def test_benchmark_reports_beside_the_predictions(flags, run, videos):
    error, said = run("--engine", "onnxruntime", "--video", *videos[:3], "--batch_size", 2, "--repeats", 2, *flags)
    assert not error
    assert said.out.count("Top1 class:") == 3
    assert "batch_size: 2" in said.out
    assert "data_num: 4" in said.out  # two passes of two batches; those that warm up do not count
    assert "model_name: tsm_tiny" in said.out


def test_no_benchmark_without_the_flag(run, videos):
    _, said = run("--engine", "onnxruntime", "--video", videos[0], "--enable_benchmark", "False")
    assert "Perf info" not in said.out
