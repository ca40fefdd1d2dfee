"""Takes videos over HTTP: limits of size, time and number, files without a name, and a clean end.

A body lies in a file without a name, so that nothing is left of it however the process ends. SIGTERM and Ctrl-C end a
server when the requests that it has begun are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from typing import IO, Any, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from runtime import command
from runtime.errors import UserError

BUSY = 8  # requests that are decoded at a time; others wait, those that have not sent their video take no place
CONNECTIONS = 256
HELD = 4 * BUSY  # videos of the largest size that may lie on the disk at a time

Answer = TypeVar("Answer")


class ServeError(UserError):
    """The server cannot start."""


class Reception:
    """Takes videos and finds a thread for each.

    Args:
        max_megabytes: Largest video that is taken.
        timeout_s: Seconds that a request may take to come, and to wait for its turn.

    Attributes:
        decoding: Threads at work.
    """

    def __init__(self, max_megabytes: int, timeout_s: float) -> None:
        self.max_bytes, self.timeout_s = max_megabytes * 2**20, timeout_s
        self.decoding = 0
        self._places = asyncio.Semaphore(BUSY)
        self._held = 0  # bytes of videos that lie on the disk

    @contextlib.asynccontextmanager
    async def video(self, request: Request) -> AsyncIterator[IO[bytes]]:
        """The body of a request as a file, once it has come whole.

        Raises:
            HTTPException: It is too large, there are too many, or the sender has gone.
        """
        with tempfile.TemporaryFile() as video, self._counted() as count:
            try:
                await self._receive(request, video, count)
            except ClientDisconnect as error:
                raise HTTPException(400, "the sender has gone") from error  # which nobody will read
            yield video

    async def work(self, does: Callable[[IO[bytes]], Answer], video: IO[bytes]) -> Answer:
        """What a function makes of a video, in a thread, as soon as there is a place.

        Raises:
            HTTPException: There has been no place for `timeout_s`, or the video is refused.
        """
        try:
            await asyncio.wait_for(self._places.acquire(), self.timeout_s)
        except asyncio.TimeoutError as error:
            raise HTTPException(503, f"{BUSY} requests are being answered: try again") from error
        loop = asyncio.get_running_loop()
        self.decoding += 1
        try:
            return await run_in_threadpool(self._in_thread, does, os.dup(video.fileno()), loop)
        except UserError as error:
            raise HTTPException(400, str(error)) from error

    def _in_thread(
        self, does: Callable[[IO[bytes]], Answer], descriptor: int, loop: asyncio.AbstractEventLoop
    ) -> Answer:
        """In a thread, which goes on when its request is given up: it has its own descriptor, and frees its place."""
        try:
            with open(descriptor, "rb") as video:
                video.seek(0)
                return does(video)
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


def json_answer(code: int, /, **content: Any) -> JSONResponse:
    """An answer after which the connection ends."""
    return JSONResponse(content, code, {"Connection": "close"})


async def refusal(request: Request, error: HTTPException) -> JSONResponse:
    """What an error is answered with."""
    if error.status_code not in (404, 405):
        return json_answer(error.status_code, error=error.detail)
    known = (f"{' or '.join(sorted(route.methods - {'HEAD'}))} {route.path}" for route in request.app.routes)
    return json_answer(error.status_code, error=f"there are {' and '.join(known)}")


async def failure(request: Request, error: Exception) -> JSONResponse:
    """The server outlives whatever one request meets; uvicorn logs it."""
    return json_answer(500, error="the model failed on this video")


HANDLERS: Any = {HTTPException: refusal, Exception: failure}


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


def serve(application: Starlette, reception: Reception, listener: socket.socket) -> None:
    """Answers until a signal comes."""
    timeout_s = reception.timeout_s
    config = uvicorn.Config(
        application, log_level="warning", limit_concurrency=CONNECTIONS, server_header=False,
        http=type("Timed", (Connection,), {"timeout_s": timeout_s}), ws="none", lifespan="off",
        timeout_graceful_shutdown=int(timeout_s),
    )  # fmt: skip
    Server(config).run(sockets=[listener])
    command.say("stopped")
    if reception.decoding:  # in threads that end when they have decoded, which may be long
        os._exit(0)
