"""The HTTP server in a process of its own: correct predictions, clear refusals, a clean end."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from deploy import infer, reception, serve
from tests.datasets.media import write_video
from tests.fuzz.damage import damaged

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def started(exported, *flags, env=None):
    """A server's process, which is gone at the end."""
    argv = [sys.executable, "-m", "deploy.serve", "--model_dir", exported, "--threads", "1", "--top", "8", *flags]
    with subprocess.Popen(
        [str(word) for word in argv], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | (env or {}),
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def eventually(holds, seconds=120):
    """Waits until something holds: the sender of a request has its answer before the server has closed its end."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def server(exported):
    """A server of the artifact: the URL that it says."""
    with started(exported, "--port", 0, "--max_megabytes", 1, "--patience", 2) as process:
        line = process.stdout.readline()
        yield re.fullmatch(r"serving tsm_tiny \(onnxruntime, fp32\) on (http://127\.0\.0\.1:\d+)\n", line)[1]
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert out.endswith("stopped\n")


@pytest.fixture
def start(exported):
    """Starts servers of the artifact, which are gone when the test is."""
    with contextlib.ExitStack() as servers:
        yield lambda *flags, **options: servers.enter_context(started(exported, *flags, **options))


def ask(url, body=None, method=None, **headers):
    """(status, decoded answer)."""
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def send(url, text):
    """The first line that answers bytes as they are."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=120) as connection:
        connection.sendall(text)
        return connection.makefile("rb").readline()


@pytest.fixture(scope="module")
def videos(motion_videos):
    return sorted((motion_videos / "val").rglob("*.mp4"))[::4]


def test_health_says_what_is_served(server):
    assert ask(f"{server}/health") == (200, {"status": "ok", "model": "tsm_tiny", "precision": "fp32"})


def test_answers_are_those_of_infer_for_many_at_once(server, exported, videos, tmp_path):
    infer.main(["--model_dir", str(exported), "--threads", "1", "--save_json", str(tmp_path / "scores.json"),
                "--video", *map(str, videos)])  # fmt: skip
    expected = json.loads((tmp_path / "scores.json").read_text())["scores"]
    answers = {}
    threads = [
        threading.Thread(target=lambda v=video: answers.update({v: ask(f"{server}/predict", v.read_bytes())}))
        for video in videos
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(videos) > 2
    for video in videos:
        status, answer = answers[video]
        assert status == 200
        scores = {entry["label"]: entry["probability"] for entry in answer["top"]}
        assert [scores[label] for label in range(8)] == pytest.approx(expected[str(video)], abs=1e-6)
        assert answer["top"][0]["name"] == f"class_{answer['top'][0]['label']}"
        assert scores[answer["top"][0]["label"]] == max(scores.values())


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("nothing", None, 404, "there are GET /health and POST /predict"),
        ("nothing", b"x", 404, "there are GET /health and POST /predict"),
        ("predict", b"", 400, "the body of the request is no readable video"),
        ("predict", b"x" * (2**20 + 1), 413, "videos of 1 MB at most"),
        ("predict", b'{"path": "/etc/passwd"}', 400, "the body of the request is no readable video"),
        ("predict", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", 400, "the body of the request is no readable video"),
        ("predict", b"ffconcat version 1.0\nfile clip.mp4\n", 400, "the body of the request is no readable video"),
        ("predict", b"\0\0\0\x18ftypisom" + b"\0" * 100, 400, "the body of the request is no readable video"),
    ],
)
def test_what_is_no_video_is_refused(path, body, status, message, server):
    code, answer = ask(f"{server}/{path}", body)
    assert code == status
    assert message in answer["error"]
    assert "/tmp" not in answer["error"]


@pytest.mark.parametrize(("suffix", "codec"), [("ts", "libx264"), ("mxf", "mpeg2video"), ("y4m", "wrapped_avframe")])
def test_a_video_in_any_container_is_answered(server, tmp_path, suffix, codec):
    path = write_video(tmp_path / f"clip.{suffix}", codec=codec, count=8)
    code, answer = ask(f"{server}/predict", path.read_bytes())
    assert (code, len(answer["top"])) == (200, 8)


def test_a_request_must_come_whole_and_in_time(server):
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\n"
    assert b"400" in send(server, head + b"Content-Length: -1\r\n\r\n")
    for begun in (b"", b"POST /pre", head, head + b"Content-Length: 100\r\n\r\nshort"):
        assert send(server, begun) == b""  # given up after --patience
    assert ask(f"{server}/health")[0] == 200


def test_a_taken_port_is_named(start, server):
    port = server.rpartition(":")[2]
    process = start("--port", port)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 1
    assert error == (f"error: port {port} of 127.0.0.1 is taken: end what listens there or choose another --port\n")


def test_a_port_that_cannot_be(exported, capsys):
    with pytest.raises(serve.ServeError, match="cannot listen on port 99999"):
        serve.main(["--model_dir", str(exported), "--port", "99999"])


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_may_come_in_pieces(server, videos, chunked):
    content = videos[0].read_bytes()
    pieces = [content[start : start + 997] for start in range(0, len(content), 997)]
    connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=120)
    headers = {} if chunked else {"Content-Length": str(len(content))}
    connection.request("POST", "/predict", body=iter(pieces), headers=headers, encode_chunked=chunked)
    answer = connection.getresponse()
    assert (answer.status, len(json.load(answer)["top"])) == (200, 8)
    connection.close()


def test_head_is_answered(server):
    assert send(server, b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n") == b"HTTP/1.1 200 OK\r\n"


def test_slow_senders_take_no_place(server, videos):
    """More of them than there are places, each with a byte now and then; all honest requests are answered."""
    host, port = server.removeprefix("http://").split(":")
    slow = [socket.create_connection((host, int(port))) for _ in range(20)]
    for connection in slow:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(ask(f"{server}/predict", videos[0].read_bytes())[0]))
        for _ in range(60)
    ]
    for thread in threads:
        thread.start()
        for connection in slow:
            with contextlib.suppress(OSError):  # its time is over
                connection.send(b"x")
    for thread in threads:
        thread.join()
    for connection in slow:
        connection.close()
    assert answers == [200] * 60


def test_nothing_is_left_of_requests(start, videos, tmp_path):
    """The end comes in the middle of an upload, of a decode and of an answer; TMPDIR, descriptors and threads."""
    process = start("--port", 0, "--patience", 5, env={"TMPDIR": str(tmp_path)})
    url = process.stdout.readline().rpartition(" ")[2].strip()
    kept = Path(f"/proc/{process.pid}/fd")
    assert ask(f"{url}/health")[0] == 200  # the loop has its descriptors
    answers, before = [], len(list(kept.iterdir()))
    for _ in range(3):
        threads = [
            threading.Thread(target=lambda: answers.append(ask(f"{url}/predict", videos[0].read_bytes())[0]))
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        eventually(lambda: len(list(kept.iterdir())) <= before + 2)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf of it")
        threading.Thread(target=lambda: answers.append(ask(f"{url}/predict", videos[0].read_bytes())[0])).start()
        assert not list(tmp_path.iterdir())
        process.send_signal(signal.SIGTERM)
        out, error = process.communicate(timeout=120)
    assert (process.returncode, out, error) == (0, "stopped\n", "")
    assert answers[:60] == [200] * 60
    assert not list(tmp_path.iterdir())


FACTOR = int(os.environ.get("ACTIONALIGN_FUZZ", "1"))


def resident_mb(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024


def test_many_requests_beside_slow_ones_are_all_answered_and_leave_no_memory(start, videos):
    """Eight clients beside twenty that send a byte now and then; `ACTIONALIGN_FUZZ=25` lets each ask 1,000 times."""
    process = start("--port", 0, "--patience", 600)
    url = process.stdout.readline().rpartition(" ")[2].strip()
    host, port = url.removeprefix("http://").split(":")
    slow = [socket.create_connection((host, int(port))) for _ in range(20)]
    for connection in slow:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    content = videos[0].read_bytes()
    answers = []

    def client(count):
        for number in range(count):
            answers.append(ask(f"{url}/predict", content)[0] if number % 4 else ask(f"{url}/health")[0])
            with contextlib.suppress(OSError):
                slow[number % 20].send(b"x")

    def eight_clients(count):
        clients = [threading.Thread(target=client, args=(count,)) for _ in range(8)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()

    eight_clients(13)
    before, threads_before = resident_mb(process), len(list(Path(f"/proc/{process.pid}/task").iterdir()))
    eight_clients(40 * FACTOR)
    grown = resident_mb(process) - before
    threads = len(list(Path(f"/proc/{process.pid}/task").iterdir())) - threads_before
    for connection in slow:
        connection.close()
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=120)
    assert answers == [200] * 8 * (13 + 40 * FACTOR)
    assert (process.returncode, out, error) == (0, "stopped\n", "")
    assert grown < 40, grown
    assert threads <= reception.BUSY


def test_damaged_requests_leave_the_server_as_it_was(start, videos):
    process = start("--port", 0, "--patience", 1, "--max_megabytes", 1)
    url = process.stdout.readline().rpartition(" ")[2].strip()
    host, port = url.removeprefix("http://").split(":")
    head, body = b"POST /predict HTTP/1.1\r\nHost: x\r\n", videos[0].read_bytes()
    whole = [
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
        head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body),
        head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
    ]
    for _ in range(3):  # what follows a whole request is neither answered nor in its way
        with socket.create_connection((host, int(port)), timeout=120) as connection:
            connection.sendall(whole[0] + b"no request\r\n\r\n")
            assert b"".join(iter(lambda: connection.recv(4096), b"")).count(b"HTTP/1.1 200") == 1
    broken = head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZZ\r\n"
    for request in (broken, broken.replace(b"/predict", b"/nowhere")):  # to which the application has an answer, too
        with socket.create_connection((host, int(port)), timeout=120) as connection:
            connection.sendall(request)
            assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
    statuses = Counter()
    for number in range(120 * FACTOR):
        request = damaged(whole[number % 3], np.random.default_rng([7, number]))
        with socket.create_connection((host, int(port)), timeout=120) as connection, contextlib.suppress(OSError):
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            line = connection.makefile("rb").readline()
            assert not line or re.match(rb"HTTP/1\.1 \d{3} ", line), line
            statuses[line[9:12].decode()] += 1
    assert process.poll() is None
    assert ask(f"{url}/predict", body)[0] == 200
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, "stopped\n")
    assert "Traceback" not in error
    assert {"200", "400"} <= set(statuses)
    print(statuses)
