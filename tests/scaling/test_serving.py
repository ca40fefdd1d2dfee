"""The network behind the server follows budgets and load; the same over HTTP."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import UserError
from scaling.optimize import BudgetError
from scaling.serving import REMEMBERED, Follower, served
from tests.deploy.test_serve import ask

pytest.importorskip("starlette")
from deploy.serve import ServeError, budget_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def follower(trained):
    """Of networks that take from 1 to 10 ms, the smaller the faster; they would take the same time on some machines."""
    follower = Follower(trained, threads=1)
    costs = follower._selector.front.costs
    shares = (costs[:, 2] - costs[:, 2].min()) / np.ptp(costs[:, 2])
    costs[:, 0], costs[:, 1] = 1 - shares, 1 + 9 * shares
    return follower


def times_of(follower):
    return follower._selector.front.costs[:, 1]


def notice(follower, slowness, answers=REMEMBERED):
    """Answers that take so much longer than the profile says."""
    for _ in range(answers):
        selected = follower._selected
        follower._notice(selected.choice, slowness * selected.expected.latency_ms)


@pytest.fixture(autouse=True)
def _as_it_begins(request):
    if "follower" in request.fixturenames:
        follower = request.getfixturevalue("follower")
        follower._slowness, follower._chosen_at, follower._keeps = 1.0, 1.0, True
        follower.set_budget()


def test_a_budget_is_taken_or_refused(follower):
    first = follower.state()
    assert first["budget"] == {"latency_ms": None, "size_bytes": None}
    sizes = follower._selector.front.costs[:, 2]
    budget = (sizes.min() + sizes.max()) / 2
    follower.set_budget(size_bytes=budget)
    second = follower.state()
    assert second["expected"]["size_bytes"] <= budget < first["expected"]["size_bytes"]
    assert list(follower.switch.running.choice) == second["sparsities"] != first["sparsities"]
    with pytest.raises(BudgetError, match="no choice of blocks keeps within 1 bytes: the nearest takes"):
        follower.set_budget(size_bytes=1)
    with pytest.raises(BudgetError, match="latency_ms must be above 0, got -1"):
        follower.set_budget(latency_ms=-1)
    assert follower.state() == second  # what ran goes on


def test_it_follows_the_load(follower):
    times = times_of(follower)
    budget = 1.01 * times.max()
    follower.set_budget(latency_ms=budget)
    large = follower.state()
    slowness = budget / ((times.min() + times.max()) / 2)
    notice(follower, slowness, REMEMBERED - 1)
    assert follower.state() == large  # too few answers to tell
    notice(follower, slowness, 1)
    small = follower.state()
    assert small["slowness"] == pytest.approx(slowness)
    assert small["keeps_budget"]
    assert small["expected"]["latency_ms"] <= budget
    assert sum(small["sparsities"]) > sum(large["sparsities"])
    notice(follower, 1.0)  # the load is gone
    assert follower.state()["sparsities"] == large["sparsities"]


def test_where_nothing_keeps_the_budget_the_fastest_runs_and_it_says_so(follower):
    times = times_of(follower)
    follower.set_budget(latency_ms=1.01 * times.max())
    notice(follower, 100.0)
    state = follower.state()
    assert not state["keeps_budget"]
    assert state["expected"]["latency_ms"] == pytest.approx(100 * times.min())
    notice(follower, 1.0)
    assert follower.state()["keeps_budget"]


def test_an_answer_is_that_of_the_network_and_its_time_is_seen(follower, clip, original):
    views = clip.numpy()
    assert (follower(views) == original.model(clip).numpy()).all()
    assert len(follower._recent) == 1
    assert follower._recent[0] > 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "a budget is JSON with latency_ms, size_mb, or both"),
        (b"[40]", "a budget is JSON with"),
        (b"{}", "a budget is JSON with"),
        (b'{"latency": 40}', "a budget is JSON with"),
        (b'{"latency_ms": "40"}', 'latency_ms must be a number above 0, got "40"'),
        (b'{"latency_ms": true}', "latency_ms must be a number above 0, got true"),
        (b'{"size_mb": -1}', "size_mb must be a number above 0, got -1"),
        (b'{"size_mb": NaN}', "size_mb must be a number above 0, got NaN"),
        (b'{"size_mb": 1e999}', "size_mb must be a number above 0, got Infinity"),
        (b'{"latency_ms": ' + b"1" * 400 + b"}", "latency_ms must be a number above 0, got 111"),
        (b"[" * 1000, "a budget is JSON with"),
        (b"\xff", "a budget is JSON with"),
    ],
)
def test_a_budget_that_is_none_is_refused(body, said):
    with pytest.raises(ServeError, match=re.escape(said)):
        budget_of(body)


def test_budgets_are_in_milliseconds_and_megabytes():
    assert budget_of(b'{"latency_ms": 40, "size_mb": 1.5}') == {"latency_ms": 40, "size_bytes": 1.5 * 2**20}


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(UserError, match="there is no such folder"):
        served(str(tmp_path / "absent"))


def put(url, **budget):
    return ask(f"{url}/budget", json.dumps(budget).encode(), method="PUT")


def test_a_server_takes_budgets_over_http(trained, motion_videos):
    argv = [sys.executable, "-m", "deploy.serve", "--scaling", str(trained), "--port", "0", "--threads", "1"]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            line = process.stdout.readline()
            url = re.fullmatch(r"serving tsm_tiny \(paddle, as it was trained, fp32\) on (http://\S+)\n", line)[1]
            status, health = ask(f"{url}/health")
            assert (status, health["model"], health["scaling"]["keeps_budget"]) == (200, "tsm_tiny", True)
            whole = health["scaling"]["expected"]["size_bytes"]
            status, state = put(url, size_mb=0.7 * whole / 2**20)
            assert status == 200
            assert state["expected"]["size_bytes"] <= 0.7 * whole
            assert state["switch_ms"] > 0
            video = next((motion_videos / "val").rglob("*.mp4")).read_bytes()
            status, answer = ask(f"{url}/predict", video)
            assert status == 200
            assert sum(one["probability"] for one in answer["top"]) == pytest.approx(1, abs=0.3)
            assert ask(f"{url}/budget")[1]["sparsities"] == state["sparsities"]
            status, refused = put(url, size_mb=1e-6)
            assert status == 400
            assert "the nearest takes" in refused["error"]
            assert put(url, latency="fast")[0] == 400
            assert ask(f"{url}/budget", b"x" * 2000, method="PUT")[0] == 413
            known = "there are GET /health and POST /predict and GET or PUT /budget"
            assert ask(f"{url}/budget", b"", method="DELETE") == (405, {"error": known})
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=120) == 0
        finally:
            process.kill()


def test_the_process_is_set_up_before_paddle_is_imported():
    code = "import scaling.serving, sys; raise SystemExit('paddle' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_flags_of_an_engine_are_not_for_it(trained, in_this_process):
    from deploy import serve

    code, _ = in_this_process(serve.main, "--scaling", str(trained), "--port", "0", "--engine", "openvino")
    assert "--scaling exchanges blocks of a network in Paddle, in fp32" in str(code)
