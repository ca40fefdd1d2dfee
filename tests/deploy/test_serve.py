"""The HTTP server in a process of its own: correct predictions, clear refusals, a clean end."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from deploy import infer, serve

ROOT = Path(__file__).resolve().parents[2]


def start(exported, *flags):
    argv = [sys.executable, "-m", "deploy.serve", "--model_dir", exported, "--threads", "1", "--top", "8", *flags]
    return subprocess.Popen(
        [str(word) for word in argv], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture(scope="module")
def server(exported):
    """A server of the artifact: the URL that it says."""
    process = start(exported, "--port", 0, "--max_megabytes", 1, "--patience", 2)
    line = process.stdout.readline()
    yield re.fullmatch(r"serving tsm_tiny \(paddle, fp32\) on (http://127\.0\.0\.1:\d+)\n", line)[1]
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out.endswith("stopped\n")


def ask(url, body=None, **headers):
    """(status, decoded answer)."""
    request = urllib.request.Request(url, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def send(url, text):
    """The first line that answers bytes as they are."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
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
        ("predict", b"", 400, "no video file that is known"),
        ("predict", b"x" * (2**20 + 1), 413, "videos of 1 MB at most"),
        ("predict", b'{"path": "/etc/passwd"}', 400, "no video file that is known"),
        ("predict", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", 400, "no video file that is known"),
        ("predict", b"ffconcat version 1.0\nfile clip.mp4\n", 400, "no video file that is known"),
        ("predict", b"\0\0\0\x18ftypisom" + b"\0" * 100, 400, "the body of the request is no readable video"),
    ],
)
def test_what_is_no_video_is_refused(path, body, status, message, server):
    code, answer = ask(f"{server}/{path}", body)
    assert code == status
    assert message in answer["error"]
    assert "/tmp" not in answer["error"]


def test_a_length_must_be_said_and_kept(server):
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\n"
    assert b"411" in send(server, head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert b"411" in send(server, head + b"Content-Length: -1\r\n\r\n")
    assert send(server, head + b"Content-Length: 100\r\n\r\nshort") == b""  # given up after --patience
    assert ask(f"{server}/health")[0] == 200


def test_a_taken_port_is_named(exported, server):
    port = server.rpartition(":")[2]
    process = start(exported, "--port", port)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 1
    assert error == (f"error: port {port} of 127.0.0.1 is taken: end what listens there or choose another --port\n")


def test_a_port_that_cannot_be(exported, capsys):
    with pytest.raises(serve.ServeError, match="cannot listen on"):
        serve.main(["--model_dir", str(exported), "--port", "99999"])


def test_more_requests_than_there_is_room_for_are_told_to_come_back(server):
    host, port = server.removeprefix("http://").split(":")
    slow = [socket.create_connection((host, int(port))) for _ in range(serve.BUSY)]
    for connection in slow:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
    for _ in range(50):
        status, answer = ask(f"{server}/predict", b"x")
        if status == 503:
            break
    assert (status, answer["error"]) == (503, f"{serve.BUSY} requests are being answered: try again")
    for connection in slow:
        connection.close()
    assert ask(f"{server}/health")[0] == 200
