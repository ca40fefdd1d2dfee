"""The commands: exit codes, files, messages."""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from alignment import command
from alignment.reports.files import write_report
from alignment.reports.report import Report
from alignment.sides.pair import Sides
from alignment.verdicts.record import Stage, exact

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--frames", "4", "--size", "32", "--batch", "2", "--threads", "1"]


@pytest.fixture
def run(monkeypatch, capsys):
    """command.run with one thread and what it printed."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()

    def call(*argv):
        code = command.run([str(flag) for flag in argv])
        return code, capsys.readouterr()

    yield call
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def both_precisions(tmp_path_factory):
    """Where the reports of mvf_tiny are, the exit code, and what was printed."""
    folder, printed = tmp_path_factory.mktemp("mvf_tiny"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setenv("OMP_NUM_THREADS", "1")
        code = command.run(["--model", "mvf_tiny", *SMALL, "--precision", "both", "--output", str(folder)])
    return folder, code, printed.getvalue()


@pytest.mark.whole
def test_one_model_in_both_precisions(run, both_precisions):
    output, code, printed = both_precisions
    assert code == 0, printed
    assert "mvf_tiny, float64: passed" in printed
    assert "mvf_tiny, float32: passed" in printed
    for stage in command.STEPS:
        assert f"\n{stage} " in printed
    folder = output / "mvf_tiny_float32"
    for name in ("report.json", "report.html", "forward_paddle.npy", "losses_ref.npy", "log/backward_diff.log"):
        assert (folder / name).stat().st_size > 0

    code, printed = run("report", folder)
    assert code == 0
    code, printed = run("report", folder, "--rtol", "1e-9")
    assert code == 1
    assert "First divergence" in printed.out


def test_the_official_helper_reads_our_files_and_agrees(both_precisions, tmp_path):
    from reprod_log import ReprodDiffHelper

    helper = ReprodDiffHelper()
    folder = both_precisions[0] / "mvf_tiny_float32"
    for step in ("forward", "metric", "loss", "losses"):
        theirs, ours = (helper.load_info(str(folder / f"{step}_{side}.npy")) for side in ("ref", "paddle"))
        assert theirs.keys() == ours.keys()
        helper.compare_info(theirs, ours)
        log = tmp_path / f"{step}.log"
        helper.report(path=str(log), diff_threshold=1e-5)
        assert log.read_text().rstrip().endswith("diff check passed")
    worse = {"eval": np.zeros_like(helper.load_info(str(folder / "forward_ref.npy"))["eval"])}
    helper.compare_info({"eval": helper.load_info(str(folder / "forward_ref.npy"))["eval"]}, worse)
    helper.report(path=str(tmp_path / "worse.log"))
    assert "diff check failed" in (tmp_path / "worse.log").read_text()


@pytest.mark.parametrize(
    "step",
    [
        "step4_backward",
        *(
            pytest.param(f"step{step}", marks=pytest.mark.whole)
            for step in ("0_data", "1_forward", "2_metric", "3_loss")
        ),
    ],
)
def test_the_classic_steps(step, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", f"alignment.{step}", "--model", "tsm_tiny", *SMALL, "--output", tmp_path],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    name = step.partition("_")[2]
    log = tmp_path / "tsm_tiny_float32" / "log" / f"{name}_diff.log"
    assert "diff check passed" in log.read_text()


def test_a_report_is_printed_once(run, tmp_path):
    report = Report("tsm_tiny", "float32", [Stage("config", [exact("stride", "constant", 1, 2)])])
    write_report(report, tmp_path)
    code, printed = run("report", tmp_path)
    assert code == 1
    assert printed.out == report.text()


def test_a_difference_ends_with_1_and_is_named(run, tmp_path, monkeypatch):
    from alignment.certification import certify

    build = certify.recognizer_pair

    def mutated(*args, **kwargs):
        pair = build(*args, **kwargs)
        pair.candidate.backbone.layer2[0].bn1._epsilon = 1e-3
        pair.losses = {"loss": Sides(*next(iter(pair.losses.values())))}
        return pair

    monkeypatch.setattr(certify, "recognizer_pair", mutated)
    code, printed = run("--model", "tsn_tiny", *SMALL, "--steps", "config,forward", "--output", tmp_path)
    assert code == 1
    assert "First divergence: config, backbone.layer2.0.bn1.eps" in printed.out
    assert "0.001" in printed.out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model", "slow_r50"], "--model must be one of tsn_r18"),
        (["--model", "unet_tiny,unet_up=linear"], "unet_up must be one of transposed, nearest, bilinear, got 'linear'"),
        (["--model", "unet_tiny,x3d_shortcut_norm=on"], "it belongs to x3d models"),
        (["--model", "unet_tiny,nothing=1"], "'nothing' is no option"),
        (["--model", "x3d_tiny,x3d_shortcut_norm=1"], "'1' is no option, or no value (of a switch: on or off)"),
        (["--model", "tsn_tiny", "--steps", "forward,speed"], "got speed"),
        (["--model", "tsn_tiny", "--video", "absent.mp4"], "absent.mp4"),
        (["--model", "tsn_tiny", "--size", "16", "--steps", "guards"], "needs the stage forward"),
        (["report", "nowhere"], "no report.json in nowhere"),
        (["selftest", "--only", "nothing is called so"], "no mutant's name contains"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(run, argv, message):
    code, printed = run(*argv)
    assert code == 2
    assert message in printed.err
    assert len(printed.err.strip().splitlines()) == 1


def test_options_of_a_network_stand_behind_its_name(run, tmp_path):
    """And with them both sides have another network."""
    small = ["--frames", "1", "--size", "32", "--batch", "2", "--steps", "config,forward", "--threads", "1"]
    titles = ("unet_tiny", "unet_tiny,unet_up=nearest")
    for title in titles:
        assert run("--model", title, *small, "--output", tmp_path)[0] == 0
    layers = [json.loads((tmp_path / f"{title}_float32" / "report.json").read_text()) for title in titles]
    assert [report["title"] for report in layers] == list(titles)
    assert np.load(tmp_path / f"{titles[1]}_float32" / "tensors.npz")
    assert layers[0]["stages"][0] != layers[1]["stages"][0]


def test_help_answers_without_a_framework():
    code = "import sys; from alignment import command\ntry: command.run(['--help'])\n"
    code += "except SystemExit: pass\nsys.exit('paddle' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True).returncode == 0


def test_clips_are_cut_from_the_videos_that_are_given(run, tmp_path, motion_videos):
    video = next(Path(motion_videos).rglob("*.mp4"))
    argv = ["--model", "tsn_tiny", *SMALL, "--steps", "forward", "--output", tmp_path]
    assert run(*argv, "--video", video)[0] == 0
    given = np.load(tmp_path / "tsn_tiny_float32" / "forward_ref.npy", allow_pickle=True).item()["eval"]
    assert run(*argv)[0] == 0
    embedded = np.load(tmp_path / "tsn_tiny_float32" / "forward_ref.npy", allow_pickle=True).item()["eval"]
    assert not np.allclose(given, embedded)


def test_the_differences_of_the_frameworks_are_still_there():
    from alignment.certification.framework_differences import DIFFERENCES

    found = {row.what: row.measured for row in (measure() for measure in DIFFERENCES)}
    assert "0.968750 of PyTorch's" in found["running variance of BatchNorm (CPU)"]
    assert "(1, 1) instead of (0.6, 0.8)" in found["ClipGradByGlobalNorm with parameter groups"]
    assert "becomes (0 6 3 4)" in found["F.temporal_shift"]
    assert "PyTorch's own mistake" in found["BatchNorm3d of PyTorch on maps of one pixel (CPU)"]
    assert "change the result by 0.0" not in found["BatchNorm3d of PyTorch on maps of one pixel (CPU)"]
    assert "off by up to 0 epsilons" not in found["mean in BatchNorm in float64 (CPU)"]
    assert "off by 7.5e-09" in found["gradient of average pooling in float64 (CPU)"]
