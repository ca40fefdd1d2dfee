"""The client of the chains: what a server says is checked, and shown as text."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from test_tipc.serving_client import ServingError, main


@pytest.fixture
def server_that_says():
    """Starts a server that answers every request with given bytes; returns its address."""
    servers = []

    def start(content):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_names_are_shown_as_text(server_that_says, tmp_path, capsys):
    videos = [tmp_path / "a\x1b[2J.mp4", tmp_path / "b\nTop1 class:x.mp4"]
    for video in videos:
        video.write_bytes(b"video")
    url = server_that_says(json.dumps({"top": [{"name": "\x1b]0;x\x07", "label": 3, "probability": 1}]}).encode())
    main(["--url", url, "--video", *map(str, videos)])
    shown = capsys.readouterr().out
    assert shown.count("\\x1b]0;x\\x07 prob:1.000000") == 2
    assert all(line.isprintable() for line in shown.splitlines())
    assert sum(line.startswith("Top1 class:") for line in shown.splitlines()) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b'{"top": 1}',
        b'{"top": [{"name": 1, "label": 0, "probability": 1}]}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_an_answer_of_another_form_is_one_error(server_that_says, tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(b"video")
    with pytest.raises(ServingError, match=r"a\.mp4: .* does not answer"):
        main(["--url", server_that_says(content), "--video", str(tmp_path / "a.mp4")])
