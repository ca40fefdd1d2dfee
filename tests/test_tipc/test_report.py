"""The table of results, and the command that runs everything."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from runtime.errors import UserError
from runtime.owned import ForeignError, Owned
from test_tipc import certify, report, session
from test_tipc.compare_results import read_predictions
from test_tipc.config import read_config
from test_tipc.session import results_name

ROOT = Path(__file__).resolve().parents[2]


def step(name, status="passed", log="", reason="", **numbers):
    return {"name": name, "status": status, "log": log, "reason": reason, "numbers": numbers}


def record(mode, steps, passed=True):
    facts = {"date": "2026-11-22", "versions": {"paddlepaddle": "3.3.1", "numpy": "2.4.6"}, "cpu": "a CPU"}
    return {"model": "mvf", "mode": mode, "passed": passed, "seconds": 61.6, **facts, "steps": steps}


def inference(precision, difference, same_top1=8):
    log = f"python_infer_cpu_usemkldnn_True_threads_1_precision_{precision}_batchsize_1.log"
    return step("inference", log=log, videos=8, same_top1=same_top1, difference=difference)


def test_a_row_says_the_worst_of_its_steps():
    steps = [
        step("evaluation", top1_acc=0.5, needed=0), step("evaluation", top1_acc=0.25, needed=0),
        step("export", paddle_relative=1e-7, openvino_relative=3e-7), inference("fp32", 1e-6), inference("fp32", 2e-6),
        inference("bf16", 0.002, same_top1=7), step("train, amp", "skipped"),
    ]  # fmt: skip
    row = report.table([record("whole_train_whole_infer", steps)]).splitlines()[2]
    assert row == (
        "| mvf | whole_train_whole_infer | passed | 6 / 0 / 1 | top-1 50.0%, 25.0%; export off by 3e-07 of the largest "
        "logit; fp32 probabilities off by 2e-06, top-1 agreement 16 of 16; bf16 probabilities off by 0.002, top-1 "
        "agreement 7 of 8 | 62 | 2026-11-22, a CPU |"
    )


def test_of_masks_the_figure_has_its_own_name():
    steps = [step("evaluation", miou=0.9, needed=0.8), step("quantization", fp32_miou=0.9, int8_miou=0.89)]
    assert report.measured(steps) == ["mIoU 90.0%", "mIoU int8 89.0%, fp32 90.0%"]


def test_a_failed_chain_names_its_steps():
    steps = [step("train"), step("export", "failed"), step("inference", "skipped")]
    assert "| **FAILED**: export | 1 / 1 / 1 |" in report.table([record("whole_infer", steps, passed=False)])
    assert "| **FAILED**: no step passed | 0 / 0 / 0 |" in report.table([record("x", [], passed=False)])


def test_a_chain_that_is_skipped_is_not_called_passed():
    row = report.table([record("x", [step("node_infer", "skipped", reason="npm is not found")], passed=False)])
    assert "| mvf | x | skipped: npm is not found | 0 / 0 / 1 |" in row
    assert "passed |" not in row.splitlines()[2]


def test_the_other_chains_have_their_numbers():
    steps = [
        step("quantization", fp32_top1_acc=0.9, int8_top1_acc=0.875), step("equal", first_difference=2e-7),
        step("benchmark", avg_ips=46.5), step("ground truth", clips=16), step("json", clips=32, of_largest_logit=3e-7),
        step("pdmodel", clips=32, of_largest_logit=1e-7), step("nodes", nodes_losses=16, nodes_difference=0.0),
    ]  # fmt: skip
    assert report.measured(steps) == [
        "top-1 int8 87.5%, fp32 90.0%", "first losses off by 2e-07",
        "logits off by 3e-07 of the largest, 32 clips", "several nodes equal one to the bit, 16 losses", "46.5 clips/s",
    ]  # fmt: skip


def test_results_are_written_under_tipcs_names(tmp_path):
    log = tmp_path / "python_infer_cpu_usemkldnn_True_threads_1_precision_fp32_batchsize_1.log"
    rows = [f"{name}\nTop1 class:a prob:0.9\n  1. a 0.9\ntop-1 class: 3\ntop-1 score: 0.90000000\n" for name in "xy"]
    log.write_text("root INFO: precision: fp32\n" + "".join(f"test_tipc/data/{row}" for row in rows))
    steps = [step("inference", log=str(log), inference_ms=2.5)]
    report.write_results([record("lite_train_lite_infer", steps)], tmp_path / "results")
    report.write_results([record("whole_infer", steps, passed=False)], tmp_path / "results")
    assert not (tmp_path / "results").exists()
    report.write_results([record("whole_infer", steps)], tmp_path / "results")
    written = tmp_path / "results" / "mvf" / "python_mvf_results_fp32.txt"
    assert written.read_text().splitlines() == [
        "# 2026-11-22, numpy 2.4.6, paddlepaddle 3.3.1; a CPU. Written by python -m test_tipc.report.",
        "Current video file: x", "top-1 class: 3", "top-1 score: 0.90000000",
        "Current video file: y", "top-1 class: 3", "top-1 score: 0.90000000",
    ]  # fmt: skip
    assert list((tmp_path / "results").rglob("*.txt")) == [written]
    assert [found.label for found in read_predictions(written)] == [3, 3]


def test_the_table_goes_between_the_marks_and_keeps_other_models(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results: begin -->\nold\n<!-- results: end -->\nafter\n")
    other = record("whole_infer", [step("train")]) | {"model": "tsn", "date": "2026-11-20"}
    report.write_table([other, record("gone", [step("train")])], readme)
    report.write_table([record("whole_infer", [step("train")])], readme)
    head, _, rows = readme.read_text().partition("| --- |")
    assert head.startswith(
        "before\n<!-- results: begin -->\nThe last run: 2026-11-22, numpy 2.4.6, paddlepaddle 3.3.1; a CPU. Written"
    )
    assert "old" not in head
    assert rows.partition("\n")[2] == (
        "| mvf | whole_infer | passed | 1 / 0 / 0 |  | 62 | 2026-11-22, a CPU |\n"
        "| tsn | whole_infer | passed | 1 / 0 / 0 |  | 62 | 2026-11-20, a CPU |\n"
        "<!-- results: end -->\nafter\n"
    )


def test_no_results_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"has no results: bash test_tipc/certify\.sh makes them"):
        report.read_results(tmp_path)
    (tmp_path / "mvf" / "whole_infer").mkdir(parents=True)
    results = tmp_path / "mvf" / "whole_infer" / "results.json"
    results.write_text(json.dumps(record("whole_infer", [step("train")])))
    assert report.read_results(tmp_path) == [record("whole_infer", [step("train")])]
    for content in ('{"model": "mvf"}', "[" * 100_000, "{", "\xff"):
        results.write_text(content)
        with pytest.raises(UserError, match=r"results\.json is damaged"):
            report.read_results(tmp_path)


@pytest.fixture
def chains(monkeypatch, tmp_path):
    """Lets certify run nothing: (what it ran, script -> exit code if not 0, or `no results`)."""
    ran, codes = [], {}

    def run(script, argv):
        ran.append((script, *argv))
        config = read_config(argv[0])
        if codes.get(script) == "no results":
            return 1
        if script != "prepare":
            name = results_name(argv[1], "dy2static" in script, ";" in config["gpu_list"])
            results = tmp_path / config["model_name"] / name
            results.parent.mkdir(exist_ok=True)
            Owned.create_private(results).write({"results.json": json.dumps(record(name, [])).encode()})
        return codes.get(script, 0)

    for module in (certify, session):
        monkeypatch.setattr(module, "OUTPUT", tmp_path)
    monkeypatch.setattr(certify, "run", run)
    for name in ("write_table", "write_results"):
        monkeypatch.setattr(certify, name, lambda *_: [])
    return ran, codes


def test_certify_runs_what_is_there_and_tells_of_a_failure(chains, monkeypatch, capsys, tmp_path):
    ran, codes = chains
    monkeypatch.setattr(certify, "read_results", lambda: [])
    (tmp_path / "tsn" / "of_an_earlier_run").mkdir(parents=True)
    codes.update({"test_paddle2onnx": 1, "test_inference_node": 77})
    assert certify.main(["test_tipc/configs/tsn"]) == 1
    assert not (tmp_path / "tsn" / "of_an_earlier_run").exists()
    assert len(ran) == 2 * len(certify.RUNS)
    for script, config, _ in ran:
        assert (ROOT / "test_tipc" / f"{script}.sh").is_file()
        assert (ROOT / config).is_file()
    said = capsys.readouterr().out
    assert said.count("FAILED   tsn") == 1
    assert said.count("skipped  tsn               test_inference_node") == 1
    assert said.count("passed   tsn") == len(certify.RUNS) - 2
    codes["test_paddle2onnx"] = 0
    assert certify.main(["test_tipc/configs/tsn"]) == 0, "a chain that is skipped fails nothing"
    codes.update({script: 77 for script, *_ in certify.RUNS})
    assert certify.main(["test_tipc/configs/tsn"]) == 1, "but something must have passed"


def test_a_chain_that_does_not_come_to_its_end_has_a_row(chains, monkeypatch, capsys, tmp_path):
    """77 of prepare.sh is no skipped chain: Python, bash, or what they start may end with it."""
    _, codes = chains
    rows = {}
    monkeypatch.setattr(certify, "read_results", lambda: rows.update(enumerate(report.read_results(tmp_path))))
    codes["test_inference_cpp"] = "no results"
    assert certify.main(["test_tipc/configs/tsn"]) == 1
    table = report.table(list(rows.values()))
    assert len(rows) == len(certify.RUNS)
    assert "| tsn | cpp_infer | **FAILED**: test_inference_cpp | 0 / 1 / 0 |" in table
    codes["prepare"] = 77
    assert certify.main(["test_tipc/configs/tsn"]) == 1
    assert len(rows) == len(certify.RUNS)
    table = report.table(list(rows.values()))
    assert table.count("| **FAILED**: prepare | 0 / 1 / 0 |") == len(certify.RUNS)
    for mode in ("lite_train_lite_infer", "dy2static_lite_train_lite_infer", "fleet_lite_train_lite_infer"):
        assert f"| tsn | {mode} | **FAILED**: prepare" in table
    assert "skipped  tsn" not in capsys.readouterr().out


def test_certify_refuses_configs_of_another_model(monkeypatch, tmp_path):
    folder = Path(shutil.copytree(ROOT / "test_tipc" / "configs" / "tsn", tmp_path / "mine"))
    monkeypatch.setattr(certify, "run", lambda script, argv: pytest.fail("it must not run"))
    with pytest.raises(UserError, match=r"mine/train_infer_python\.txt: model_name is tsn: it must be mine, as"):
        certify.main([str(folder)])


@pytest.mark.parametrize(
    "argument", ["test_tipc/configs/tsm/..", ".", "", "/", "..", "tests", "test_tipc/configs/absent"]
)
def test_certify_looks_at_a_folder_before_it_removes_anything(monkeypatch, tmp_path, argument):
    """Folders of other names have no results, and `..` has the repository."""
    monkeypatch.setattr(certify, "OUTPUT", tmp_path)
    monkeypatch.setattr(certify, "run", lambda script, argv: pytest.fail("it must not run"))
    (tmp_path / "tsn" / "whole_infer").mkdir(parents=True)
    (tmp_path / "tsn" / "whole_infer" / "results.json").write_text("{}")
    before = subprocess.check_output(["git", "status", "--short"], cwd=ROOT, text=True)
    with pytest.raises(UserError, match="is no folder of configs"):
        certify.main([argument])
    assert (tmp_path / "tsn" / "whole_infer" / "results.json").is_file()
    assert subprocess.check_output(["git", "status", "--short"], cwd=ROOT, text=True) == before


def test_certify_leaves_what_no_chain_has_written(monkeypatch, tmp_path):
    monkeypatch.setattr(certify, "OUTPUT", tmp_path)
    (tmp_path / "tsn" / "whole_infer").mkdir(parents=True)
    (tmp_path / "tsn" / "whole_infer" / "notes.txt").write_text("mine")
    with pytest.raises(ForeignError, match=r"notes\.txt"):
        certify.main(["test_tipc/configs/tsn"])
    assert (tmp_path / "tsn" / "whole_infer" / "notes.txt").read_text() == "mine"
