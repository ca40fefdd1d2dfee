"""The benchmarks of the networks: what the table says, and that engines are proved to compute the same."""

import json
import sys

import numpy as np
import pytest

from deploy.engines import ENGINES
from deploy.formats import FORMATS
from tools import bench_edge, bench_infer, bench_stream, bench_train, measure
from tools.measure import Engine, Job, Row

JOB = Job("tsm_tiny", 4, 32, 1, 10, "")


def rows(**seconds):
    return {name: Row(list(values), 100.0, np.ones((2, 3))) for name, values in seconds.items()}


def test_ratio_is_of_the_smallest_seconds():
    engines = {"ours": Engine("Ours", None), "torch": Engine("Theirs", None)}
    measured = rows(ours=[0.5, 9.0], torch=[2.0, 1.0])
    measured["ours"].values = np.array([[1, 1.25, 1], [1, 1, 0.5]])
    ours, theirs = measure.table_rows(JOB, engines, measured)
    assert ours == "| tsm_tiny | 1 x 4 x 32² | Ours | 0.500 | 2.00 | 100 | 2e-01 / 5e-01 |"
    assert theirs.split("|")[5:8] == [" 1.00 ", " 100 ", " - "]


def test_an_engine_measured_once_says_so_and_without_a_reference_there_is_no_ratio():
    engines = {"slow": Engine("Slow", None, rounds=1)}
    (line,) = measure.table_rows(JOB, engines, rows(slow=[3.0]))
    assert line == "| tsm_tiny | 1 x 4 x 32² | Slow (1 run) | 3.000 | - | 100 | - |"


def test_nan_is_not_taken_for_agreement():
    measured = rows(ours=[1.0], torch=[1.0])
    measured["ours"].values[0, 0] = np.nan
    line, _ = measure.table_rows(JOB, {"ours": Engine("Ours", None), "torch": Engine("Theirs", None)}, measured)
    assert "nan" in line


def test_head_and_rows_have_as_many_columns():
    (line,) = measure.table_rows(JOB, {"ours": Engine("Ours", None)}, rows(ours=[1.0]))
    assert {text.count("|") for text in [*measure.table_head("difference"), line]} == {8}


def test_machine_names_versions():
    found = measure.machine()
    assert found["versions"]["torch"].startswith("2.")
    assert found["cores"] >= 1


def spin(job):
    def work():
        return sum(i * i for i in range(200_000)) * np.ones(2)

    return work


def break_down(job):
    raise RuntimeError("no such operator")


def die(job):
    sys.exit(1)


def test_turns_are_timed_in_processes_of_their_own():
    measured = measure.measure(JOB, {"a": Engine("A", spin), "b": Engine("B", spin, rounds=1)}, rounds=2)
    assert [len(row.seconds) for row in measured.values()] == [2, 1]
    assert 0.001 < min(measured["a"].seconds) < 1
    assert measured["a"].values.shape == (2, 2)
    assert measured["a"].peak_mb > 10


@pytest.mark.parametrize(("engine", "message"), [(break_down, "A: .*no such operator"), (die, "died")])
def test_a_failing_engine_ends_the_run(engine, message):
    with pytest.raises(ValueError, match=message):
        measure.measure(JOB, {"a": Engine("A", engine)}, rounds=1)


def test_no_rounds_are_refused(capsys):
    with pytest.raises(SystemExit):
        bench_infer.main(["--rounds", "0"])
    assert "--rounds: must be 1 or more, got 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "model", "engines"),
    [
        pytest.param(bench_infer, "mvf_tiny", ["ours", "paddle", "onnxruntime", "torch"], marks=pytest.mark.whole),
        (bench_train, "tsm_tiny", ["ours", "torch"]),
        pytest.param(bench_edge, "tsm_tiny", ["onnxruntime", "mnn", "ncnn", "torch"], marks=pytest.mark.whole),
        pytest.param(bench_stream, "tsm_tiny", ["onnxruntime", "mnn", "ncnn", "torch"], marks=pytest.mark.whole),
    ],
)
def test_engines_compute_the_same_network(command, model, engines, tmp_path, capsys):
    lacking = {name for name, kind in ENGINES.items() if FORMATS[kind.formats[0]].lack}
    engines = [name for name in engines if name not in lacking]
    file = tmp_path / "numbers.json"
    command.main(["--quick", "--rounds", "1", "--models", model, "--engines", *engines, "--json", str(file)])
    measured = json.loads(file.read_text())["models"][model]
    assert list(measured) == engines
    want = np.array(measured["torch"]["values"])
    for name in engines:
        assert np.allclose(measured[name]["values"], want, rtol=1e-3, atol=1e-3 * np.abs(want).max()), name
    assert np.abs(want).max() > 0.01
    assert (want[0] == want[1]).all() == (command is not bench_train)  # a step has changed the loss
    assert capsys.readouterr().out.count(f"| {model} |") == len(engines)
