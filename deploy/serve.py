"""Serves an artifact over HTTP: `python -m deploy.serve --model_dir DIR --port P`.

    curl http://127.0.0.1:P/health
    curl --data-binary @clip.mp4 http://127.0.0.1:P/predict
    curl -X PUT --data '{"latency_ms": 40, "size_mb": 12}' http://127.0.0.1:P/budget    with --scaling

The body is a video file and nothing else; no path, no name and no code is taken from a request. It lies in a file
without a name, so that nothing is left of it however the process ends. SIGTERM and Ctrl-C end the server when the
requests that it has begun are answered.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import importlib
import json
import math
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from configs import Recipe, cli
from configs.limits import STRANGERS, Limits
from datasets import VideoDataset, load_views, unlabeled
from datasets.annotation import DataError
from deploy.artifact import open_artifact
from deploy.infer import add_graph_flags, open_engine_of
from runtime import command
from runtime.errors import UserError
from tasks import task_of

BUSY = 8  # requests that are decoded at a time; others wait, those that have not sent their video take no place
CONNECTIONS = 256
HELD = 4 * BUSY  # videos of the largest size that may lie on the disk at a time
BUDGET_BYTES = 1024  # that a budget may have as JSON
LARGEST_BUDGET = 1e12  # milliseconds, or megabytes
MEGABYTE = 2**20
SCALING = "scaling.serving"  # what opens the folder of --scaling: this room knows nothing above it


class ServeError(UserError):
    """The server cannot start."""


class Follows(Protocol):
    """What computes within a budget."""

    def set_budget(self, latency_ms: float = math.inf, size_bytes: float = math.inf) -> None:
        """Takes a budget; raises UserError, and keeps the one before."""

    def state(self) -> dict[str, Any]:
        """For JSON: the budget, and what it has led to."""


class Served(NamedTuple):
    """What answers.

    Attributes:
        model: Name of the network.
        recipe: Of the network.
        class_names: One for each class.
        mode: Of the data set, which decides about the views of a video.
        compute: Views float32 [B, ...] -> output float32 [B, ...]; called by one thread at a time.
        facts: `engine` and `precision` at least.
        budget: What follows a budget; None if it is always the same network.
    """

    model: str
    recipe: Recipe
    class_names: tuple[str, ...]
    mode: str
    compute: Callable[[np.ndarray], np.ndarray]
    facts: dict[str, Any]
    budget: Follows | None = None


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Flags of the command."""
    parser = command.parser(__doc__, "python -m deploy.serve --model_dir DIR --port P [flags]")
    run = parser.add_argument_group("run")
    source = run.add_mutually_exclusive_group(required=True)
    source.add_argument("--model_dir", help="folder that deploy.export or deploy.quantize wrote")
    source.add_argument("--scaling", help="folder of python -m scaling: a network that follows a budget and the load")
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
    """What answers, for many threads: each decodes for itself, one at a time computes."""

    def __init__(self, served: Served, top: int = 5, limits: Limits = STRANGERS) -> None:
        self.served, self.top, self.limits = served, top, limits
        dataset = task_of(served.recipe).dataset(unlabeled([]), served.recipe, served.mode, limits)  # can it be?
        if not isinstance(dataset, VideoDataset):
            raise ServeError(f"a server names the classes of videos, and {served.model} takes pictures")
        self._turn = threading.Lock()

    def probabilities(self, video: IO[bytes]) -> np.ndarray:
        """Class probabilities float32 [K] of a video file.

        Raises:
            DataError: It does not decode.
        """
        video.seek(0)
        recipe, name = self.served.recipe, f"/dev/fd/{video.fileno()}"
        try:
            views = load_views(name, recipe, self.served.mode, self.limits)
        except DataError as error:
            raise DataError(str(error).replace(name, "the body of the request")) from error
        with self._turn:
            return task_of(recipe).scores(self.served.compute, views[None], recipe)[0]

    def best(self, video: IO[bytes]) -> list[dict[str, Any]]:
        """Label, name and probability of the best classes of a video file, see `probabilities`."""
        probabilities, names = self.probabilities(video), self.served.class_names
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
        """`GET /health`, `POST /predict`, and `/budget` where there is one; all answers are JSON."""
        handlers: Any = {HTTPException: _refusal, Exception: _failure}
        routes = [Route("/health", self.health), Route("/predict", self.predict, methods=["POST"])]
        if self.classifier.served.budget:
            routes.append(Route("/budget", self.budget, methods=["GET", "PUT"]))
        return Starlette(routes=routes, exception_handlers=handlers)

    async def health(self, request: Request) -> JSONResponse:
        """Says what is served."""
        served = self.classifier.served
        state = {"scaling": await run_in_threadpool(served.budget.state)} if served.budget else {}
        return _answer(200, status="ok", model=served.model, precision=served.facts["precision"], **state)

    async def budget(self, request: Request) -> JSONResponse:
        """Says what the budget is and has led to; takes another one by PUT."""
        follows = self.classifier.served.budget
        assert follows  # or there is no such route
        if request.method == "PUT":
            try:
                await run_in_threadpool(follows.set_budget, **budget_of(await _small_body(request)))
            except ClientDisconnect:
                return _answer(400, error="the sender has gone")
            except UserError as error:
                raise HTTPException(400, str(error)) from error
        return _answer(200, **await run_in_threadpool(follows.state))

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


async def _small_body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BUDGET_BYTES:
            raise HTTPException(413, f"a budget has at most {BUDGET_BYTES} bytes")
    return body


def budget_of(body: bytes) -> dict[str, float]:
    """A budget as `set_budget` takes it, of JSON such as {"latency_ms": 40, "size_mb": 12}; a megabyte has 2^20 bytes.

    Raises:
        ServeError: It is something else.
    """
    units = {"latency_ms": ("latency_ms", 1), "size_mb": ("size_bytes", MEGABYTE)}
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):  # nested too deeply
        given = None
    if not isinstance(given, dict) or not given or set(given) - set(units):
        raise ServeError('a budget is JSON with latency_ms, size_mb, or both: {"latency_ms": 40, "size_mb": 12}')
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < LARGEST_BUDGET:
            raise ServeError(f"{name} must be a number above 0, got {json.dumps(value)}")
    return {units[name][0]: value * units[name][1] for name, value in given.items()}


def _answer(code: int, /, **content: Any) -> JSONResponse:
    return JSONResponse(content, code, {"Connection": "close"})


async def _refusal(request: Request, error: HTTPException) -> JSONResponse:
    if error.status_code not in (404, 405):
        return _answer(error.status_code, error=error.detail)
    known = (f"{' or '.join(sorted(route.methods - {'HEAD'}))} {route.path}" for route in request.app.routes)
    return _answer(error.status_code, error=f"there are {' and '.join(known)}")


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


def served_of(args: argparse.Namespace) -> Served:
    """What the flags name.

    Raises:
        UserError: It cannot be opened, or a flag is not for it.
    """
    if args.scaling:
        if args.engine or args.precision or args.use_gpu:
            raise ServeError("--scaling exchanges blocks of a network in Paddle, in fp32: leave the engine's flags out")
        served: Served = importlib.import_module(SCALING).served(args.scaling, args.threads)
        return served
    artifact, engine = open_artifact(args.model_dir), open_engine_of(args)
    mode = cli.VIEWS[artifact.record["views"]]
    return Served(artifact.record["model"], artifact.recipe, artifact.class_names, mode, engine, engine.facts)


def main(argv: list[str] | None = None) -> None:
    """Takes the port, loads the artifact, and answers until a signal comes."""
    args = parse_args(argv)
    with listen(args.host, args.port) as listener:
        served = served_of(args)
        service = Service(Classifier(served, args.top, cli.limits_of(args)), args.max_megabytes, args.timeout_s)
        config = uvicorn.Config(
            service.application(), log_level="warning", limit_concurrency=CONNECTIONS, server_header=False,
            http=type("Timed", (Connection,), {"timeout_s": args.timeout_s}), ws="none", lifespan="off",
            timeout_graceful_shutdown=args.timeout_s,
        )  # fmt: skip
        how = f"{served.facts['engine']}, {served.facts['precision']}"
        command.say(f"serving {served.model} ({how}) on http://{args.host}:{listener.getsockname()[1]}")
        Server(config).run(sockets=[listener])
    command.say("stopped")
    if service.decoding:  # in threads that end when they have decoded, which may be long
        os._exit(0)


if __name__ == "__main__":
    with command.clear_errors():
        main()
