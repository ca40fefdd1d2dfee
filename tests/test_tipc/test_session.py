"""A step has passed when its process, what it leaves and its numbers are right; nothing else counts."""

import json
import re
import sys
import time
from pathlib import Path

import pytest

from runtime.errors import UserError
from runtime.owned import FOLDER, ForeignError
from test_tipc import session as module
from test_tipc.session import Session, StepError


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "OUTPUT", tmp_path / "output")
    session = Session("mvf", "whole_infer", timeout_s=30)
    yield session
    session._lock.close()


def python(code):
    return [sys.executable, "-c", code]


def fail():
    raise StepError("the numbers do not hold")


@pytest.mark.parametrize(
    ("code", "check", "reason"),
    [
        ("import sys; print('one'); sys.exit('error: no such file')", dict, "exit code 1: error: no such file"),
        ("import os; os.abort()", dict, "exit code -6: it printed nothing"),
        ("pass", dict, r"exit code 0, but there is no .*weights"),
        ("open(PATH, 'w')", dict, r"exit code 0, but there is no .*weights"),
        ("open(PATH, 'w').write('x')", fail, "the numbers do not hold"),
        ("open(PATH, 'w').write('x')", lambda: json.loads("{"), "JSONDecodeError: "),
        ("open(PATH, 'w').write('x')", lambda: {}["top1_acc"], "KeyError: 'top1_acc'"),
        ("open(PATH, 'w').write('x')", lambda: {"top1_acc": 1}, ""),
    ],
)
def test_a_step_passes_only_if_all_of_it_holds(code, check, reason, session):
    weights = session.folder / "weights"
    weights.write_text("of an earlier run")
    step = session.run("train", python(f"PATH = {str(weights)!r}\n{code}"), session.folder / "log", [weights], check)
    assert step.passed == (not reason)
    assert re.match(reason, step.reason)
    assert session.finish() == int(bool(reason))
    record = json.loads((session.folder / "results.json").read_text())
    assert record["passed"] == (not reason)
    assert [step["name"] for step in record["steps"]] == ["train"]
    assert step.numbers == ({} if reason else {"top1_acc": 1})


def test_result_lines_are_those_of_tipc(session):
    session.run("good", ["true"], session.folder / "a.log")
    session.run("bad", ["false"], session.folder / "b.log")
    session.skip("amp", "needs a GPU")
    lines = (session.folder / "results_python.log").read_text().splitlines()
    folder = session.folder
    assert lines[0] == f"\033[33m Run successfully with command - mvf - true - {folder}/a.log!  \033[0m"
    assert lines[1] == f"\033[33m Run failed with command - mvf - false - {folder}/b.log!  \033[0m"
    assert lines[2] == "   bad: exit code 1: it printed nothing"
    assert lines[3:] == [f"\033[33m Skipped - mvf - amp - {folder}/results_python.log!  \033[0m", "   amp: needs a GPU"]
    assert session.finish() == 1


def test_a_failed_step_does_not_hide_the_next(session):
    session.run("bad", ["false"], session.folder / "a.log")
    session.run("good", ["true"], session.folder / "b.log")
    session.judge("numbers", dict)
    assert [step.status for step in session.steps] == ["failed", "passed", "passed"]
    assert session.finish() == 1


def test_nothing_run_is_no_success(session, capsys):
    session.skip("amp", "needs a GPU")
    assert session.finish() == 77
    assert "  skipped: amp: needs a GPU\n" in capsys.readouterr().out


def test_no_step_is_a_failure(session):
    assert session.finish() == 1


def test_results_of_an_earlier_run_are_removed(session):
    session.finish()
    assert (session.folder / "results.json").is_file()
    again = Session("mvf", "whole_infer")
    assert [path.name for path in session.folder.iterdir()] == [FOLDER]
    again._lock.close()


def test_what_somebody_put_among_the_results_stays(session):
    session.finish()
    (session.folder / "notes.txt").write_text("mine")
    with pytest.raises(ForeignError, match=r"notes\.txt was not written by this program"):
        Session("mvf", "whole_infer")
    assert (session.folder / "results.json").is_file()
    assert (session.folder / "notes.txt").read_text() == "mine"


def test_results_of_a_run_that_was_killed_are_removed(session):
    (session.folder / "half.log").write_text("x")
    session._lock.close()  # as the kernel does
    again = Session("mvf", "whole_infer")
    assert [path.name for path in again.folder.iterdir()] == [FOLDER]
    again._lock.close()


def test_outputs_are_looked_for_in_the_folder_alone(session, tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(ForeignError, match="mine is not inside of"):
        session.run("step", python(""), session.folder / "log", [tmp_path / "mine"])
    assert (tmp_path / "mine").read_text() == "x"


@pytest.mark.parametrize(("model", "mode"), [("..", "x"), ("x", ".."), ("", "x"), ("/", "x"), ("a/b", "x"), ("x", ".")])
def test_a_session_has_a_folder_of_its_own(model, mode):
    with pytest.raises(UserError, match="must be the name of a folder"):
        Session(model, mode)


@pytest.mark.parametrize("in_a_group_of_its_own", [False, True])
def test_a_step_that_hangs_is_ended_with_all_its_processes(in_a_group_of_its_own, session):
    session._timeout_s = 1
    start = f"subprocess.Popen(['sleep', '60'], start_new_session={in_a_group_of_its_own})"
    code = f"import subprocess, time; print({start}.pid, flush=True); time.sleep(60)"
    step = session.run("hang", python(code), session.folder / "log")
    assert step.reason == "not over after 1 s"
    child = int((session.folder / "log").read_text())
    assert ends(child)


def test_what_a_step_has_in_its_own_care_is_ended_with_it(session):
    """As the launchers of several nodes, whose processes carry the mark of both."""
    root = str(Path(__file__).resolve().parents[2])
    code = f"import sys; sys.path.insert(0, {root!r}); from test_tipc.processes import contained\n"
    code += "with contained(['sleep', '60']) as child: print(child.pid, flush=True); child.wait()"
    log = session.folder / "log"
    with session.server("server", python(code), log, lambda: log.read_text().endswith("\n")) as server:
        assert server.passed
        child = int(log.read_text())
        assert alive(child)
    assert ends(child)


def ends(process):
    """Whether a process is gone, or is in the moment that it takes to go."""
    for _ in range(50):
        if not alive(process):
            return True
        time.sleep(0.1)
    return False


def alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().split()[2]
    except FileNotFoundError:
        return False
    return state != "Z"


SERVER = (
    "import signal, sys, time; signal.signal(15, lambda *_: sys.exit({code})); print('up', flush=True); time.sleep(60)"
)


@pytest.mark.parametrize(
    ("code", "ready", "reason"),
    [
        (SERVER.format(code=0), True, ""),
        (SERVER.format(code=3), True, "exit code 3 after SIGTERM"),
        (SERVER.format(code=0), False, "not ready within 1 s"),
        ("import sys; sys.exit('error: port 80 is taken')", True, "exit code 1: error: port 80 is taken"),
        ("import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)", True,
         "does not end within 1 s of SIGTERM"),
    ],
)  # fmt: skip
def test_a_server_is_started_probed_and_ended(code, ready, reason, session, monkeypatch):
    monkeypatch.setattr(module, "_ENDING", 1)
    log = session.folder / "log"
    timeout_s = 20 if ready else 1
    with session.server("server", python(code), log, lambda: ready and "up" in log.read_text(), timeout_s) as server:
        assert server.passed == (reason in ("", "exit code 3 after SIGTERM", "does not end within 1 s of SIGTERM"))
    assert session.steps[0].reason == reason
    assert session.finish() == int(bool(reason))


def test_an_error_of_ours_in_a_check_is_not_swallowed(session):
    with pytest.raises(ZeroDivisionError):
        session.run("bug", ["true"], session.folder / "log", check=lambda: {"a": 1 / 0})


def test_two_runs_do_not_write_into_one_folder(session):
    (session.folder / "kept").touch()
    with pytest.raises(UserError, match="is being written by another run"):
        Session("mvf", "whole_infer")
    assert (session.folder / "kept").is_file()
