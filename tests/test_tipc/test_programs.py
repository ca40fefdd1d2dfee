"""A program of another language gives Paddle's logits, or its step fails."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from test_tipc import programs
from test_tipc import session as module
from test_tipc.config import read_config
from test_tipc.programs import comparable, compare_logits, run_program
from test_tipc.session import Session, StepError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "test_tipc" / "configs" / "tsn" / "inference_cpp.txt"
TRUTH = np.array([[1, 2, -3], [4, -5, 6], [-7, 8, 9]], np.float32)


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "OUTPUT", tmp_path / "output")
    session = Session("tsn", "cpp_infer", timeout_s=30)
    np.save(session.folder / "logits.npy", TRUTH)
    yield session
    session._lock.close()


def run(session, tmp_path, code):
    """A step whose program is Python that is given the path of the logits to write."""
    (tmp_path / "program.py").write_text(f"import sys\nout = sys.argv[3].partition('=')[2]\n{code}\n")
    text = CONFIG.read_text().replace("test_tipc/build/cpp/infer", f"{sys.executable} {tmp_path}/program.py")
    (tmp_path / "config.txt").write_text(text)
    return run_program(read_config(tmp_path / "config.txt"), session, "inference", tmp_path, "cpp_infer")


NPY = f"import numpy as np; truth = np.array({TRUTH.tolist()}, np.float32)\n"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("np.save(out, truth + np.float32(1e-5))", ""),
        ("np.save(out, truth + np.float32(1e-2))", "is off by 1.0e-02, 9.0e-04 is allowed"),
        ("np.save(out, truth); open(out, 'r+').truncate(140)", "cpp_infer.npy is no .npy file, or truncated"),
        ("np.save(out, truth); open(out, 'r+').truncate(4)", "cpp_infer.npy is no .npy file, or truncated"),
        ("np.save(out, truth[:2])", "holds logits [2, 3], not [3, 3]"),
        ("np.save(out, truth.astype(np.float64))", "holds float64 [3, 3], not float32 [N, K]"),
        ("np.save(out, truth[::-1])", "is off by 1.2e+01"),
        ("truth[1, 1] = np.nan; np.save(out, truth)", "is off by nan"),
        ("pass", "exit code 0, but there is no "),
        ("sys.exit('error: no graph')", "exit code 1: error: no graph"),
    ],
)
def test_a_program_passes_by_its_logits_alone(code, reason, session, tmp_path):
    step = run(session, tmp_path, f"{NPY if 'np.' in code else ''}{code}")
    assert step.passed == (not reason)
    assert reason in step.reason
    assert session.finish() == int(bool(reason))
    assert not reason or re.search(
        r"Run failed with command - tsn - .*/program\.py", (session.folder / "results_python.log").read_text()
    )


def test_the_same_logits_for_every_clip_prove_nothing(tmp_path):
    np.save(tmp_path / "truth.npy", np.repeat(TRUTH[:1], 3, axis=0))
    with pytest.raises(StepError, match="holds the same logits for every clip: train the model"):
        compare_logits(tmp_path / "truth.npy", tmp_path / "truth.npy")


def test_a_tolerance_hides_no_other_class(tmp_path):
    near = np.array([[1, 1.00001, 0], [9, 0, 0]], np.float32)
    np.save(tmp_path / "truth.npy", near)
    np.save(tmp_path / "found.npy", near[:, [1, 0, 2]])
    with pytest.raises(StepError, match="is off by 9"):
        compare_logits(tmp_path / "truth.npy", tmp_path / "found.npy")
    near[0, :2] = near[0, 1::-1]
    np.save(tmp_path / "found.npy", near)
    with pytest.raises(StepError, match=r"top-1 agreement of .*found\.npy with Paddle Inference is 1 of 2"):
        compare_logits(tmp_path / "truth.npy", tmp_path / "found.npy")


def test_a_chain_without_its_tools_is_skipped_before_anything_runs(session, monkeypatch):
    monkeypatch.setattr(programs, "missing", lambda config, mode: "cmake is not found")
    monkeypatch.setattr(programs, "converted", lambda *_: pytest.fail("nothing may run"))
    assert comparable(read_config(CONFIG), "cpp_infer", session) is None
    assert [(step.name, step.status, step.reason) for step in session.steps] == [
        ("cpp_infer", "skipped", "cmake is not found")
    ]
    assert session.finish() == 77
