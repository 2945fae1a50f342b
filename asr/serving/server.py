"""Runs the application until it is told to stop, and stops it without losing anybody's words."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn

from asr.errors import ConfigError
from asr.serving.app import build_app
from asr.serving.config import ServeConfig
from asr.streaming import Recognizer


class Server:
    """Listens from the moment it is made, and answers while it runs."""

    def __init__(self, recognizer: Recognizer, config: ServeConfig):
        """Raises ConfigError where the address cannot be had, or the model not be streamed so."""
        app = build_app(recognizer, config)
        self._listener = _listen(config.host, config.port)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Connections inherit it: one whose client stopped reading is not kept until its last words are read.
            self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * config.limits.send_s))
        settings = uvicorn.Config(
            app,
            lifespan="on",
            log_level="warning",
            ws="websockets-sansio",  # reads no further than the application does
            ws_max_size=config.limits.message_bytes,
            ws_per_message_deflate=False,  # audio hardly shrinks, and a small message could become a huge one
            server_header=False,
            timeout_graceful_shutdown=max(int(config.limits.send_s), 1),
        )
        self._uvicorn = _Uvicorn(settings, app.state.drain)

    @property
    def address(self) -> str:
        """Where the page is."""
        host, port = self._listener.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def run(self) -> None:
        """Serve until SIGINT, SIGTERM or `stop`; open streams are then finished and answered. A second signal does not
        wait for that."""
        with self._listener:
            self._uvicorn.run(sockets=[self._listener])

    def stop(self) -> None:
        """Make `run` return soon; may be called from any thread."""
        self._uvicorn.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise ConfigError(f"cannot listen on {host}, port {port} ({why}); choose another") from error


class _Uvicorn(uvicorn.Server):
    """As it is, it would cut connections off before the application can end their streams."""

    def __init__(self, settings: uvicorn.Config, drain: Callable[[], Awaitable[None]]):
        super().__init__(settings)
        self._drain = drain

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if not self.force_exit:
            await self._drain()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
