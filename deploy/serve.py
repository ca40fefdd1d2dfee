"""Serves an artifact over HTTP: `python -m deploy.serve --model_dir DIR --port P`.

    curl http://127.0.0.1:P/health
    curl --data-binary @clip.mp4 http://127.0.0.1:P/predict

The body is a video file and nothing else; no path, no name and no code is taken from a request. It lies in a file
without a name, so that nothing is left of it however the process ends. SIGTERM and Ctrl-C end the server when the
requests that it has begun are answered.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from configs import cli
from configs.limits import STRANGERS, Limits
from datasets import VideoDataset, load_views, unlabeled
from datasets.annotation import DataError
from deploy.artifact import Artifact, open_artifact
from deploy.infer import add_graph_flags, open_engine_of
from deploy.interface import Engine
from runtime import command
from runtime.errors import UserError
from tasks import task_of

BUSY = 8  # requests that are decoded at a time; others wait, those that have not sent their video take no place
CONNECTIONS = 256
HELD = 4 * BUSY  # videos of the largest size that may lie on the disk at a time


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
        "--patience", dest="timeout_s", type=command.positive, default=120,
        help="seconds in which a request must have come whole, may wait for its turn, and may be answered at the end",
    )  # fmt: skip
    add_graph_flags(parser)
    cli.add_limit_flags(parser, STRANGERS)
    return parser.parse_args(argv)


class Classifier:
    """An artifact in an engine, for many threads: each decodes for itself, one at a time computes."""

    def __init__(self, artifact: Artifact, engine: Engine, top: int = 5, limits: Limits = STRANGERS) -> None:
        self.artifact, self.engine, self.top, self.limits = artifact, engine, top, limits
        dataset = task_of(artifact.recipe).dataset(
            unlabeled([]), artifact.recipe, cli.VIEWS[artifact.record["views"]], limits
        )  # can it be?
        if not isinstance(dataset, VideoDataset):
            raise ServeError(f"a server names the classes of videos, and {artifact.record['model']} takes pictures")
        self._turn = threading.Lock()

    def probabilities(self, video: IO[bytes]) -> np.ndarray:
        """Class probabilities float32 [K] of a video file.

        Raises:
            DataError: It does not decode.
        """
        video.seek(0)
        recipe, name = self.artifact.recipe, f"/dev/fd/{video.fileno()}"
        try:
            views = load_views(name, recipe, cli.VIEWS[self.artifact.record["views"]], self.limits)
        except DataError as error:
            raise DataError(str(error).replace(name, "the body of the request")) from error
        with self._turn:
            return task_of(recipe).scores(self.engine, views[None], recipe)[0]

    def best(self, video: IO[bytes]) -> list[dict[str, Any]]:
        """Label, name and probability of the best classes of a video file, see `probabilities`."""
        probabilities, names = self.probabilities(video), self.artifact.class_names
        labels = probabilities.argsort()[::-1][: self.top]
        return [{"label": int(k), "name": names[k], "probability": float(probabilities[k])} for k in labels]


class Service:
    """What answers requests.

    Args:
        classifier: Names the action in a video.
        max_megabytes: Largest video that is taken.
        timeout_s: Seconds that a video may take to come, and to wait for its turn.
    """

    def __init__(self, classifier: Classifier, max_megabytes: int, timeout_s: float) -> None:
        self.classifier, self.max_bytes, self.timeout_s = classifier, max_megabytes * 2**20, timeout_s
        self.decoding = 0
        self._places = asyncio.Semaphore(BUSY)
        self._held = 0  # bytes of videos that lie on the disk

    def application(self) -> Starlette:
        """`GET /health` and `POST /predict`; all answers are JSON."""
        handlers: Any = {HTTPException: _refusal, Exception: _failure}
        routes = [Route("/health", self.health), Route("/predict", self.predict, methods=["POST"])]
        return Starlette(routes=routes, exception_handlers=handlers)

    async def health(self, request: Request) -> JSONResponse:
        """Says what is served."""
        artifact, facts = self.classifier.artifact, self.classifier.engine.facts
        return _answer(200, status="ok", model=artifact.record["model"], precision=facts["precision"])

    async def predict(self, request: Request) -> JSONResponse:
        """Names the action in the video that is the body."""
        with tempfile.TemporaryFile() as video, self._counted() as count:
            try:
                await self._receive(request, video, count)
            except ClientDisconnect:
                return _answer(400, error="the sender has gone")  # which nobody will read
            try:
                await asyncio.wait_for(self._places.acquire(), self.timeout_s)
            except asyncio.TimeoutError as error:
                raise HTTPException(503, f"{BUSY} requests are being answered: try again") from error
            loop = asyncio.get_running_loop()
            self.decoding += 1
            try:
                top = await run_in_threadpool(self._classify, os.dup(video.fileno()), loop)
            except UserError as error:
                raise HTTPException(400, str(error)) from error
        return _answer(200, top=top)

    def _classify(self, descriptor: int, loop: asyncio.AbstractEventLoop) -> list[dict[str, Any]]:
        """In a thread, which goes on when its request is given up: it has its own descriptor, and frees its place."""
        try:
            with open(descriptor, "rb") as video:
                return self.classifier.best(video)
        finally:
            self.decoding -= 1
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._places.release)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[Callable[[int], None]]:
        """A function that counts bytes as held, for as long as the block runs."""
        own = 0

        def count(size: int) -> None:
            nonlocal own
            if self._held + size > HELD * self.max_bytes:
                raise HTTPException(503, "too many videos wait for their turn: try again")
            own += size
            self._held += size

        try:
            yield count
        finally:
            self._held -= own

    async def _receive(self, request: Request, video: IO[bytes], count: Callable[[int], None]) -> None:
        """Writes the body into a file; a body that is too large runs out first, or its sender would not hear of it."""
        size, limit = 0, self.max_bytes
        async for part in request.stream():
            size += len(part)
            if size <= limit:
                count(len(part))
                video.write(part)
            elif size > 4 * limit:
                break
        if size > limit:
            raise HTTPException(413, f"videos of {limit // 2**20} MB at most are taken")
        video.flush()


def _answer(code: int, /, **content: Any) -> JSONResponse:
    return JSONResponse(content, code, {"Connection": "close"})


async def _refusal(request: Request, error: HTTPException) -> JSONResponse:
    known = {404: "there are GET /health and POST /predict", 405: "there are GET /health and POST /predict"}
    return _answer(error.status_code, error=known.get(error.status_code, error.detail))


async def _failure(request: Request, error: Exception) -> JSONResponse:
    """The server outlives whatever one request meets; uvicorn logs it."""
    return _answer(500, error="the model failed on this video")


class Connection(H11Protocol):
    """Closes a connection whose request has not come whole within `timeout_s` of its beginning."""

    timeout_s: float

    def connection_made(self, transport: Any) -> None:
        """Starts the clock."""
        super().connection_made(transport)
        self._clock = self.loop.call_later(self.timeout_s, self._expire)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock, which would keep all that belongs to the connection."""
        self._clock.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no request; behind one that has come whole, nothing is read."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or (cycle.more_body and not cycle.response_started):
            super().send_400_response(msg)
            if cycle is not None:
                cycle.disconnected = True  # what the application answers besides goes nowhere

    def _expire(self) -> None:
        if self.cycle is None or (self.cycle.more_body and not self.cycle.response_complete):
            self.transport.abort()


class Server(uvicorn.Server):
    """Ends at SIGTERM and Ctrl-C with exit code 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Lets a signal end the server, and does not raise it again afterwards as uvicorn's own would."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ServeError: The port is taken, or not to be had.
    """
    if port > 65535:
        raise ServeError(f"cannot listen on port {port}: the last one is 65535")
    try:
        return socket.create_server((host, port), backlog=CONNECTIONS)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServeError(
                f"port {port} of {host} is taken: end what listens there or choose another --port"
            ) from error
        raise ServeError(f"cannot listen on {host}, port {port}: {error}") from error


def main(argv: list[str] | None = None) -> None:
    """Takes the port, loads the artifact, and answers until a signal comes."""
    args = parse_args(argv)
    with listen(args.host, args.port) as listener:
        artifact = open_artifact(args.model_dir)
        engine = open_engine_of(args)
        classifier = Classifier(artifact, engine, args.top, cli.limits_of(args))
        service = Service(classifier, args.max_megabytes, args.timeout_s)
        config = uvicorn.Config(
            service.application(), log_level="warning", limit_concurrency=CONNECTIONS, server_header=False,
            http=type("Timed", (Connection,), {"timeout_s": args.timeout_s}), ws="none", lifespan="off",
            timeout_graceful_shutdown=args.timeout_s,
        )  # fmt: skip
        how = f"{engine.facts['engine']}, {engine.facts['precision']}"
        command.say(f"serving {artifact.record['model']} ({how}) on http://{args.host}:{listener.getsockname()[1]}")
        Server(config).run(sockets=[listener])
    command.say("stopped")
    if service.decoding:  # in threads that end when they have decoded, which may be long
        os._exit(0)


if __name__ == "__main__":
    with command.clear_errors():
        main()
