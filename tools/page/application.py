"""The page itself and what answers it, as an ASGI application."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deploy.reception import HANDLERS, Reception, json_answer
from runtime.html_page import STYLE, text
from tools.page.answer import Answerer, Question

FILES = Path(__file__).parent
WINDOWS = {0: "the video as a whole", 0.5: "every half second", 1: "every second", 2: "every 2 seconds",
           5: "every 5 seconds"}  # fmt: skip
ASKED_FIRST = 2
VIEW_WORDS = {"quick": "quick: one center view", "full": "full: all views of a test"}
HEADERS = {
    # Nothing is loaded from elsewhere, and nothing of an answer is run.
    b"content-security-policy": b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    b"img-src data:; media-src blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"cache-control": b"no-store",
}


def application(answerer: Answerer, reception: Reception, hosts: Sequence[str]) -> Starlette:
    """`GET /`, its style and script, and `POST /answer`.

    Args:
        answerer: Answers.
        reception: Takes the videos.
        hosts: Names by which a browser may ask for the page; "*" for any.
    """

    async def page(request: Request) -> Response:
        return HTMLResponse(page_of(answerer, reception))

    async def style(request: Request) -> Response:
        return Response(STYLE + (FILES / "page.css").read_text(encoding="utf-8"), media_type="text/css")

    async def script(request: Request) -> Response:
        return Response((FILES / "page.js").read_text(encoding="utf-8"), media_type="text/javascript")

    async def answer(request: Request) -> JSONResponse:
        check_origin(request)
        question = question_of(request, answerer)
        async with reception.video(request) as video:
            return json_answer(200, **await reception.work(lambda file: answerer.answer(question, file), video))

    routes = [Route("/", page), Route("/page.css", style), Route("/page.js", script)]
    return Starlette(
        routes=[*routes, Route("/answer", answer, methods=["POST"])], exception_handlers=HANDLERS,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)), Middleware(WithHeaders)],
    )  # fmt: skip


def page_of(answerer: Answerer, reception: Reception) -> str:
    """The page, with what there is to choose from."""
    networks = [
        (f"{one.model} ({Path(one.place).parent.name}/{Path(one.place).name})", one) for one in answerer.networks
    ]
    views = {view for one in answerer.networks for view in one.ready}
    fields = {
        "networks": "".join(
            f'<option value="{k}" data-views="{" ".join(one.ready)}">{text(title)}</option>'
            for k, (title, one) in enumerate(networks)
        ),
        "views": "".join(_option(key, words) for key, words in VIEW_WORDS.items() if key in views),
        "windows": "".join(_option(f"{key:g}", words, key == ASKED_FIRST) for key, words in WINDOWS.items()),
        "megabytes": str(reception.max_bytes // 2**20),
        "seconds": f"{answerer.max_seconds:g}",
    }
    page = (FILES / "page.html").read_text(encoding="utf-8")
    for name, content in fields.items():
        page = page.replace(f"{{{name}}}", content)
    return page


def _option(value: str, words: str, is_chosen: bool = False) -> str:
    return f'<option value="{value}"{" selected" * is_chosen}>{words}</option>'


def check_origin(request: Request) -> None:
    """Refuses what a page of another place asks for.

    Raises:
        HTTPException: It does.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, "the page of another place may not ask here")


def question_of(request: Request, answerer: Answerer) -> Question:
    """What the address of a request asks.

    Raises:
        HTTPException: It asks for something that there is not.
    """
    asked = request.query_params
    try:
        network, window = int(asked.get("network", "0")), float(asked.get("window", "0"))
        views = asked.get("views") or next(iter(answerer.networks[network].ready))
        known = network >= 0 and views in answerer.networks[network].ready
    except (ValueError, IndexError):
        known = False
    if not known or not (window == 0 or 0.1 <= window <= answerer.max_seconds):
        raise HTTPException(400, f"there is no such network, view or window: {json.dumps(dict(asked))}")
    return Question(network, views, window, asked.get("why") == "1")


class WithHeaders:
    """Adds HEADERS to each answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        await self._app(scope, receive, _with_headers(send))


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def sends(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *HEADERS.items()]
        await send(message)

    return sends
