"""The web application: the page at /, the WebSocket at /stream, and a word about itself at /status."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from asr.serving.config import ServeConfig
from asr.serving.conversation import converse, turn_away
from asr.serving.engine import Engine
from asr.serving.protocol import POLICY, TOO_MANY, Refusal, stopping
from asr.streaming import Recognizer

PAGE = Path(__file__).with_name("page")
GOING_AWAY = 1001


class Service:
    """The engine, and who is connected to it."""

    def __init__(self, recognizer: Recognizer, config: ServeConfig):
        self._config = config
        self._engine = Engine(recognizer, config, backlog_s=config.limits.backlog_s)
        self._num_connected = 0

    @asynccontextmanager
    async def running(self, app: Starlette) -> AsyncIterator[None]:
        """Serve while this is entered; on the way out, finish and answer what is open."""
        task = asyncio.create_task(self._engine.run())
        try:
            yield
            await self.drain()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def drain(self) -> None:
        """Take nobody any more; end all streams, and wait until their last words are sent, or the limit is reached."""
        self._engine.end_all("shutdown", close_code=GOING_AWAY)
        deadline = time.monotonic() + self._config.limits.shutdown_s
        while self._engine.num_sessions and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    async def stream(self, socket: WebSocket) -> None:
        """One connection."""
        if not self._may_connect(socket):
            await socket.close(POLICY)  # before accepting: the browser sees a plain refusal
            return
        await socket.accept()
        self._num_connected += 1
        try:
            if (refusal := self._refusal()) is not None:
                await turn_away(socket, refusal)
                return
            await converse(socket, self._engine, self._config.limits, token=self._config.token)
        except WebSocketDisconnect:
            pass
        finally:
            self._num_connected -= 1

    async def status(self, request: Request) -> Response:
        """How many streams are open, and how many tasks run."""
        return JSONResponse({"streams": self._engine.num_sessions, "tasks": len(asyncio.all_tasks())})

    def _refusal(self) -> Refusal | None:
        """Why the client that came last is not served, if so."""
        limit = self._config.limits.connections
        if self._engine.closing:
            return stopping()
        if self._num_connected > limit:
            return Refusal(TOO_MANY, f"the server serves its {limit} clients already; try again later")
        return None

    def _may_connect(self, socket: WebSocket) -> bool:
        """Browsers let any page connect anywhere, so the server must ask which one it is; programs name none."""
        origin = socket.headers.get("origin")
        return origin is None or origin in self._config.origins or urlsplit(origin).netloc == socket.headers.get("host")


class PageHeaders:
    """What browsers shall allow the page: its own files and its own server, nothing else."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'")
                message["headers"] = [*message["headers"], policy, (b"cache-control", b"no-cache")]
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


def build_app(recognizer: Recognizer, config: ServeConfig) -> Starlette:
    """The application, for any ASGI server.

    Raises:
        ConfigError: the model cannot be streamed with such settings.
    """
    recognizer.stream(config)  # refuses now what it would refuse to every client
    service = Service(recognizer, config)
    routes = [
        WebSocketRoute("/stream", service.stream),
        Route("/status", service.status),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(PageHeaders)], lifespan=service.running)
    app.state.drain = service.drain
    return app
