"""Serves an artifact over HTTP: `python -m deploy.serve --model_dir DIR --port P`.

    curl http://127.0.0.1:P/health
    curl --data-binary @clip.mp4 http://127.0.0.1:P/predict
    curl -X PUT --data '{"latency_ms": 40, "size_mb": 12}' http://127.0.0.1:P/budget    with --scaling

The body is a video file and nothing else; no path, no name and no code is taken from a request. How it is taken, and
what is left of it (nothing), says `deploy/reception.py`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import threading
from collections.abc import Callable
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from configs import Recipe, cli
from configs.limits import STRANGERS, Limits
from datasets import VideoDataset, load_views, unlabeled
from deploy.artifact import open_artifact
from deploy.infer import add_graph_flags, open_engine_of
from deploy.reception import HANDLERS, Reception, ServeError, json_answer, listen, serve
from runtime import command
from runtime.errors import UserError, errors_called
from tasks import task_of

BUDGET_BYTES = 1024  # that a budget may have as JSON
LARGEST_BUDGET = 1e12  # milliseconds, or megabytes
MEGABYTE = 2**20
SCALING = "scaling.serving"  # what opens the folder of --scaling: this room knows nothing above it


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
    run.add_argument("--top", type=command.positive, default=5, help="classes in an answer")
    cli.add_server_flags(run)
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
            UserError: It does not decode.
        """
        recipe, name = self.served.recipe, f"/dev/fd/{video.fileno()}"
        with errors_called("the body of the request", name):
            views = load_views(name, recipe, self.served.mode, self.limits)
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
        reception: Takes the videos.
    """

    def __init__(self, classifier: Classifier, reception: Reception) -> None:
        self.classifier, self.reception = classifier, reception

    def application(self) -> Starlette:
        """`GET /health`, `POST /predict`, and `/budget` where there is one; all answers are JSON."""
        routes = [Route("/health", self.health), Route("/predict", self.predict, methods=["POST"])]
        if self.classifier.served.budget:
            routes.append(Route("/budget", self.budget, methods=["GET", "PUT"]))
        return Starlette(routes=routes, exception_handlers=HANDLERS)

    async def health(self, request: Request) -> JSONResponse:
        """Says what is served."""
        served = self.classifier.served
        state = {"scaling": await run_in_threadpool(served.budget.state)} if served.budget else {}
        return json_answer(200, status="ok", model=served.model, precision=served.facts["precision"], **state)

    async def budget(self, request: Request) -> JSONResponse:
        """Says what the budget is and has led to; takes another one by PUT."""
        follows = self.classifier.served.budget
        assert follows  # or there is no such route
        if request.method == "PUT":
            try:
                await run_in_threadpool(follows.set_budget, **budget_of(await _small_body(request)))
            except ClientDisconnect:
                return json_answer(400, error="the sender has gone")
            except UserError as error:
                raise HTTPException(400, str(error)) from error
        return json_answer(200, **await run_in_threadpool(follows.state))

    async def predict(self, request: Request) -> JSONResponse:
        """Names the action in the video that is the body."""
        async with self.reception.video(request) as video:
            top = await self.reception.work(self.classifier.best, video)
        return json_answer(200, top=top)


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
        reception = Reception(args.max_megabytes, args.timeout_s)
        service = Service(Classifier(served, args.top, cli.limits_of(args)), reception)
        how = f"{served.facts['engine']}, {served.facts['precision']}"
        command.say(f"serving {served.model} ({how}) on http://{args.host}:{listener.getsockname()[1]}")
        serve(service.application(), reception, listener)


if __name__ == "__main__":
    with command.clear_errors():
        main()
