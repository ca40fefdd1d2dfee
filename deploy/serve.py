"""Serves an artifact over HTTP: `python -m deploy.serve --model_dir DIR --port P`.

    curl http://127.0.0.1:P/health
    curl --data-binary @clip.mp4 http://127.0.0.1:P/predict

The body is a video file and nothing else; no path, no name and no code is taken from a request. SIGTERM and Ctrl-C end
the server when the requests that it has begun are answered.
"""

from __future__ import annotations

import argparse
import errno
import json
import signal
import sys
import tempfile
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from configs import cli
from datasets import load_views
from datasets.annotation import DataError
from deploy.artifact import Artifact, open_artifact
from deploy.infer import add_graph_flags, open_engine_of
from deploy.interface import Engine
from runtime import command
from runtime.errors import UserError
from tasks import task_of

BUSY = 8  # requests that are read and decoded at a time; a further one is told to come back
# What video files begin with: position, bytes. FFmpeg would take a text as a playlist and open the files it names.
CONTAINERS = (
    *((4, kind) for kind in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),  # MP4, QuickTime
    (0, b"RIFF"),  # AVI
    (0, b"\x1a\x45\xdf\xa3"),  # Matroska, WebM
    (0, b"\x00\x00\x01\xba"),  # MPEG program stream
    (0, b"\x30\x26\xb2\x75"),  # ASF, WMV
    *((0, kind) for kind in (b"FLV", b"OggS", b"GIF8")),
)


class ServeError(UserError):
    """The server cannot start."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Flags of the command."""
    parser = command.parser(__doc__, "python -m deploy.serve --model_dir DIR --port P [flags]")
    run = parser.add_argument_group("run")
    run.add_argument("--model_dir", required=True, help="folder that deploy.export or deploy.quantize wrote")
    run.add_argument(
        "--port", type=command.count, required=True, help="port to listen on; 0 takes a free one and says it"
    )
    run.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    run.add_argument("--top", type=command.positive, default=5, help="classes in an answer")
    run.add_argument("--max_megabytes", type=command.positive, default=64, help="largest video that is taken")
    run.add_argument(
        "--patience", dest="timeout_s", type=command.positive, default=30, help="seconds that a sender may stand still"
    )
    add_graph_flags(parser)
    return parser.parse_args(argv)


class Classifier:
    """An artifact in an engine, for many threads: each decodes for itself, one at a time computes."""

    def __init__(self, artifact: Artifact, engine: Engine) -> None:
        self.artifact = artifact
        self.engine = engine
        self._turn = threading.Lock()

    def probabilities(self, video: bytes) -> np.ndarray:
        """Class probabilities float32 [K] of a video file.

        Raises:
            DataError: It does not decode.
        """
        if not any(video[start : start + len(mark)] == mark for start, mark in CONTAINERS):
            raise DataError("the body of the request is no video file that is known here")
        recipe = self.artifact.recipe
        with tempfile.NamedTemporaryFile(suffix=".video") as file:
            file.write(video)
            file.flush()
            try:
                views = load_views(file.name, recipe, cli.VIEWS[self.artifact.record["views"]])
            except DataError as error:
                raise DataError(str(error).replace(file.name, "the body of the request")) from error
        with self._turn:
            return task_of(recipe).scores(self.engine, views[None], recipe)[0]


class Server(ThreadingHTTPServer):
    """Answers each request in a thread of its own.

    Args:
        host, port: Where it listens.
        top: Classes in an answer.
        max_megabytes: Largest video that is taken.
        timeout_s: Seconds that a sender may stand still, and that the last answers may take at the end.

    Raises:
        ServeError: The port is taken, or not to be had.
    """

    daemon_threads = True  # a connection that says nothing must not keep the server from its end
    request_queue_size = 64

    def __init__(self, host: str, port: int, top: int, max_megabytes: int, timeout_s: float) -> None:
        """Takes the port; requests wait until `serve_forever`."""
        self.host, self.top, self.max_megabytes, self.timeout_s = host, top, max_megabytes, timeout_s
        self.classifier: Classifier  # set before the first request is answered
        self.room = threading.BoundedSemaphore(BUSY)
        try:
            super().__init__((host, port), Handler)
        except (OSError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                raise ServeError(
                    f"port {port} of {host} is taken: end what listens there or choose another --port"
                ) from error
            raise ServeError(f"cannot listen on {host}, port {port}: {error}") from error

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.host}:{self.server_address[1]}"

    def drain(self) -> None:
        """Waits until the requests that were taken in are answered, `timeout_s` seconds at most."""
        end = time.monotonic() + self.timeout_s
        for _ in range(BUSY):
            self.room.acquire(timeout=max(0.0, end - time.monotonic()))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leaves out the traceback of a client that went away."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """`GET /health` and `POST /predict`, one request a connection; all answers are JSON."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "ActionAlign"
    sys_version = ""

    def setup(self) -> None:
        """Sets the timeout of the connection."""
        super().setup()
        self.connection.settimeout(self.server.timeout_s)

    def do_GET(self) -> None:
        """Says what is served."""
        if self.path != "/health":
            self._answer(HTTPStatus.NOT_FOUND, error="there are GET /health and POST /predict")
        else:
            classifier = self.server.classifier
            model, precision = classifier.artifact.record["model"], classifier.engine.facts["precision"]
            self._answer(HTTPStatus.OK, status="ok", model=model, precision=precision)

    def do_POST(self) -> None:
        """Names the action in the video that is the body."""
        header = self.headers.get("Content-Length", "")
        length = int(header) if header.isascii() and header.isdigit() and len(header) < 19 else -1
        limit = self.server.max_megabytes
        if length < 0 or "Transfer-Encoding" in self.headers:
            self._answer(HTTPStatus.LENGTH_REQUIRED, error="send the video with its Content-Length")
        elif self.path != "/predict":
            self._refuse(length, HTTPStatus.NOT_FOUND, "there are GET /health and POST /predict")
        elif length > limit * 2**20:
            self._refuse(length, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"videos of {limit} MB at most are taken")
        elif not self.server.room.acquire(blocking=False):
            self._refuse(length, HTTPStatus.SERVICE_UNAVAILABLE, f"{BUSY} requests are being answered: try again")
        else:
            try:
                self._predict(length)
            finally:
                self.server.room.release()

    def _predict(self, length: int) -> None:
        video = self.rfile.read(length)
        classifier = self.server.classifier
        if len(video) < length:
            return self._answer(HTTPStatus.BAD_REQUEST, error=f"the body ends after {len(video)} of {length} bytes")
        try:
            probabilities = classifier.probabilities(video)
        except UserError as error:
            return self._answer(HTTPStatus.BAD_REQUEST, error=str(error))
        except Exception as error:  # the server outlives whatever one request meets
            self.log_error("%r", error)
            return self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, error="the model failed on this video")
        names = classifier.artifact.class_names
        best = probabilities.argsort()[::-1][: self.server.top]
        top = [{"label": int(k), "name": names[k], "probability": float(probabilities[k])} for k in best]
        return self._answer(HTTPStatus.OK, top=top)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses: another method, a line that is no request."""
        self._answer(HTTPStatus(code), error=message or HTTPStatus(code).phrase)

    def _refuse(self, length: int, code: HTTPStatus, error: str) -> None:
        """Answers, and lets a body of moderate length run out: who is cut off while sending never reads the answer."""
        self._answer(code, error=error)
        self.wfile.flush()
        rest = min(length, 4 * self.server.max_megabytes * 2**20)
        while rest > 0 and (part := self.rfile.read(min(rest, 2**16))):
            rest -= len(part)

    def _answer(self, code: HTTPStatus, **content: Any) -> None:
        body = json.dumps(content).encode()
        self.close_connection = True
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def main(argv: list[str] | None = None) -> None:
    """Takes the port, loads the artifact, and answers until a signal comes."""
    args = parse_args(argv)
    with Server(args.host, args.port, args.top, args.max_megabytes, args.timeout_s) as server:
        _end_on_signals(server)
        artifact = open_artifact(args.model_dir)
        engine = open_engine_of(args)
        server.classifier = Classifier(artifact, engine)
        _end_on_signals(server)  # again: Paddle has put its own handlers in place when it was imported
        how = f"{engine.facts['engine']}, {engine.facts['precision']}"
        print(f"serving {artifact.record['model']} ({how}) on {server.url}", flush=True)
        server.serve_forever(poll_interval=0.1)
        server.drain()
    print("stopped", flush=True)


def _end_on_signals(server: Server) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        # `shutdown` waits for the loop that the signal interrupts: hence from another thread.
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown, daemon=True).start())


if __name__ == "__main__":
    with command.clear_errors():
        main()
