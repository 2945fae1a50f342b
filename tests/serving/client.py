"""A scripted client, and a server to talk to, in a thread of this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from asr.serving import ServeConfig
from asr.serving.server import Server
from asr.streaming import Recognizer
from tests.streaming.segments import segments

WAIT_S = 60


class Client:
    """Says what a test wants, and keeps what it is told."""

    def __init__(self, address: str, **options: Any):
        self._open = ExitStack()
        connecting = connect(f"{address.replace('http', 'ws')}/stream", compression=None, **options)
        self.socket: ClientConnection = self._open.enter_context(connecting)

    def say(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def start(self, sample_rate: int = 16000, **more: Any) -> None:
        self.say(type="start", sample_rate=sample_rate, **more)

    def send(self, samples: np.ndarray, *, piece: int = 1600) -> None:
        for at in range(0, len(samples), piece):
            self.socket.send(np.ascontiguousarray(samples[at : at + piece]).tobytes())

    def hear(self) -> dict[str, Any]:
        return json.loads(self.socket.recv(WAIT_S))

    def hear_all(self) -> list[dict[str, Any]]:
        """Every message to the end of the connection."""
        found = []
        while True:
            try:
                found.append(self.hear())
            except ConnectionClosed:
                return found

    @property
    def close_code(self) -> int | None:
        return self.socket.protocol.close_code

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()


def words(events: list[dict[str, Any]]) -> str:
    """The final texts of a conversation."""
    return " ".join(event["text"] for event in events if event["type"] == "final")


def transcript(recognizer: Recognizer, samples: np.ndarray, config: ServeConfig, *, sample_rate: int = 16000) -> str:
    """What the library makes of a recording in one piece, under the server's settings."""
    return " ".join(segments(recognizer, recognizer.stream(config), samples, sample_rate=sample_rate))


@contextmanager
def serving(recognizer: Recognizer, **settings: Any) -> Iterator[Server]:
    """A server on a free port; stopped, and its thread gone, on the way out."""
    server = Server(recognizer, ServeConfig(port=0, **settings))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(WAIT_S)
        assert not thread.is_alive()
