"""What clients do: the polite listen to the end, the rude do what they please."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import numpy as np
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

PIECE_S = 0.1


class Recording(NamedTuple):
    """samples: (N,) float32; sample_rate: Hz; text: what the library makes of them, offline."""

    samples: np.ndarray
    sample_rate: int
    text: str


class Wrong(AssertionError):
    """The server did what it must not do."""


async def start(socket: ClientConnection, recording: Recording, **more: object) -> None:
    await socket.send(json.dumps({"type": "start", "sample_rate": recording.sample_rate, **more}))


async def send(socket: ClientConnection, recording: Recording, draw: random.Random, *, share: float = 1.0) -> None:
    """The first `share` of a recording in pieces of varying length, at one to eight times the speed of speech."""
    speed, end, at = draw.choice([1, 2, 4, 8]), int(share * len(recording.samples)), 0
    while at < end:
        count = int(recording.sample_rate * PIECE_S * draw.uniform(0.2, 2.0))
        await socket.send(np.ascontiguousarray(recording.samples[at : min(at + count, end)]).tobytes())
        await asyncio.sleep(count / recording.sample_rate / speed)
        at += count


async def answers(socket: ClientConnection) -> list[dict]:
    """Everything the server says, until it closes, for whatever reason."""
    said: list[dict] = []
    try:
        async for message in socket:
            said.append(json.loads(message))
    except ConnectionClosed:
        pass
    return said


async def polite(socket: ClientConnection, recording: Recording, draw: random.Random) -> None:
    await start(socket, recording)
    listening = asyncio.create_task(answers(socket))
    await send(socket, recording, draw)
    await socket.send('{"type": "end"}')
    said = await listening
    text = " ".join(event["text"] for event in said if event["type"] == "final")
    if text != recording.text or said[-1]["type"] != "done" or socket.close_code != 1000:
        raise Wrong(f"heard {text!r}, not {recording.text!r}; closed with {socket.close_code}, last {said[-1:]}")


async def nan(socket: ClientConnection, recording: Recording, draw: random.Random) -> None:
    """Sends no numbers in between; what is said before and after must still be understood."""
    await start(socket, recording)
    listening = asyncio.create_task(answers(socket))
    await send(socket, recording, draw, share=0.5)
    await socket.send(np.full(100, np.nan, dtype=np.float32).tobytes())
    rest = recording._replace(samples=recording.samples[int(0.5 * len(recording.samples)) :])
    await send(socket, rest, draw)
    await socket.send('{"type": "end"}')
    said = await listening
    text = " ".join(event["text"] for event in said if event["type"] == "final")
    if text != recording.text or sum(event["type"] == "error" for event in said) != 1:
        raise Wrong(f"heard {text!r} around no numbers, not {recording.text!r}")


async def drips(socket: ClientConnection, recording: Recording, draw: random.Random) -> None:
    """Sends one sample at a time, for a while."""
    await start(socket, recording)
    for sample in recording.samples[:2000]:
        await socket.send(sample.tobytes())
    await socket.send('{"type": "end"}')
    if (await answers(socket))[-1:] != [
        {"type": "done", "reason": "end", "audio_s": round(2000 / recording.sample_rate, 3)}
    ]:
        raise Wrong("single samples were not all heard")


async def vanishes(socket: ClientConnection, recording: Recording, draw: random.Random) -> None:
    """Is gone in the middle of a word, without a word."""
    await start(socket, recording)
    await send(socket, recording, draw, share=draw.random())
    socket.transport.abort()


async def leaves(socket: ClientConnection, recording: Recording, draw: random.Random) -> None:
    """Closes properly, but does not wait for its answer."""
    await start(socket, recording)
    await send(socket, recording, draw, share=draw.random())


async def babbles(socket: ClientConnection, recording: Recording, draw: random.Random) -> None:
    """Sends what is no message of the protocol, before or after the start."""
    if draw.random() < 0.5:
        await start(socket, recording)
    await socket.send(draw.choice(["{", "[]", '{"type": 1}', '{"type": "dance"}', "\0", '{"type": "start"}']))
    last = (await answers(socket))[-1]
    if last["type"] != "error" or not last["fatal"]:
        raise Wrong(f"garbage was answered with {last}")


async def shouts(socket: ClientConnection, recording: Recording, draw: random.Random) -> None:
    """Sends a message far too long."""
    await start(socket, recording)
    await socket.send(b"\0" * (1 << 21))
    await answers(socket)
    if socket.close_code != 1009:
        raise Wrong(f"a message too long closed the connection with {socket.close_code}")


async def stalls(socket: ClientConnection, recording: Recording, draw: random.Random) -> None:
    """Says half of it, and then nothing; the server must end the stream by itself."""
    await start(socket, recording)
    await send(socket, recording, draw, share=0.5)
    if (await answers(socket))[-1].get("reason") != "idle":
        raise Wrong("a silent client was not answered")


async def pesters(socket: ClientConnection, recording: Recording, draw: random.Random) -> None:
    """Says half of it, and then nothing, again and again, in empty messages: that is no sign of life."""
    await start(socket, recording)
    listening = asyncio.create_task(answers(socket))
    await send(socket, recording, draw, share=0.5)
    try:
        while not listening.done():
            await socket.send(b"")
            await asyncio.sleep(0.01)
    except ConnectionClosed:
        pass
    if (await listening)[-1].get("reason") != "idle":
        raise Wrong("a client of empty messages was not answered")


Visit = Callable[[ClientConnection, Recording, random.Random], Awaitable[None]]
RUDE: list[Visit] = [nan, drips, vanishes, leaves, babbles, shouts, stalls, pesters]
