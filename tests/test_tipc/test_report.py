"""The table of results, and the command that runs everything."""

import json
import subprocess
from pathlib import Path

import pytest

from runtime.errors import UserError
from runtime.owned import ForeignError
from test_tipc import certify, report

ROOT = Path(__file__).resolve().parents[2]


def step(name, status="passed", log="", **numbers):
    return {"name": name, "status": status, "log": log, "numbers": numbers}


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
        "agreement 7 of 8 | 62 |"
    )


def test_a_failed_chain_names_its_steps():
    steps = [step("train"), step("export", "failed"), step("inference", "skipped")]
    assert "| **FAILED**: export | 1 / 1 / 1 |" in report.table([record("whole_infer", steps, passed=False)])
    assert "| **FAILED**: no step passed | 0 / 0 / 1 |" in report.table([record("x", steps[2:], passed=False)])


def test_the_other_chains_have_their_numbers():
    steps = [
        step("quantization", fp32_top1_acc=0.9, int8_top1_acc=0.875), step("equal", first_difference=2e-7),
        step("benchmark", avg_ips=46.5),
    ]  # fmt: skip
    assert report.measured(steps) == ["top-1 int8 87.5%, fp32 90.0%", "first losses off by 2e-07", "46.5 clips/s"]


def test_the_table_goes_between_the_marks(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results: begin -->\nold\n<!-- results: end -->\nafter\n")
    report.write_table([record("whole_infer", [step("train")])], readme)
    text = readme.read_text()
    assert text.startswith(
        "before\n<!-- results: begin -->\n2026-11-22, numpy 2.4.6, paddlepaddle 3.3.1; a CPU. Written"
    )
    assert "old" not in text
    assert text.endswith("| mvf | whole_infer | passed | 1 / 0 / 0 |  | 62 |\n<!-- results: end -->\nafter\n")


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


def test_certify_runs_what_is_there_and_tells_of_a_failure(monkeypatch, capsys, tmp_path):
    ran = []
    monkeypatch.setattr(certify, "OUTPUT", tmp_path)
    (tmp_path / "tsn" / "whole_infer").mkdir(parents=True)
    monkeypatch.setattr(
        certify, "run", lambda script, argv: ran.append((script, *argv)) or script == "test_paddle2onnx"
    )
    monkeypatch.setattr(certify, "read_results", list)
    monkeypatch.setattr(certify, "write_table", lambda records: None)
    assert certify.main(["test_tipc/configs/tsn"]) == 1
    assert not list((tmp_path / "tsn").glob("[!.]*")), "results of an earlier run are removed"
    assert len(ran) == 2 * len(certify.RUNS)
    for script, config, _ in ran:
        assert (ROOT / "test_tipc" / f"{script}.sh").is_file()
        assert (ROOT / config).is_file()
    said = capsys.readouterr().out
    assert said.count("FAILED") == 1
    assert said.count("passed  tsn") == len(certify.RUNS) - 1


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
