"""One client, from its first message to its last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from asr.errors import StreamError
from asr.serving.config import LimitConfig
from asr.serving.engine import Engine
from asr.serving.protocol import (
    POLICY,
    UNACCEPTABLE,
    Refusal,
    Start,
    decode_audio,
    error_event,
    parse_end,
    parse_start,
)
from asr.serving.session import Session


async def converse(socket: WebSocket, engine: Engine, limits: LimitConfig, *, token: str | None) -> None:
    """Serve an accepted connection until its stream is answered, or the client is gone."""
    try:
        start = await _hear_start(socket, limits.start_s, token)
        session = engine.open(start.sample_rate)
    except Refusal as refusal:
        await turn_away(socket, refusal)
        return
    talking = asyncio.create_task(_talk(socket, session, limits.send_s))
    listening = asyncio.create_task(_listen(socket, session, start.encoding, limits))
    try:
        done, _ = await asyncio.wait({talking, listening}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        engine.drop(session)
        for task in (talking, listening):
            task.cancel()
        await asyncio.gather(talking, listening, return_exceptions=True)
    for task in done:
        task.result()  # raises what nobody foresaw


async def turn_away(socket: WebSocket, refusal: Refusal) -> None:
    """Say why in a sentence, and close."""
    await socket.send_json(error_event(str(refusal), fatal=True))
    await socket.close(refusal.code)


async def _hear_start(socket: WebSocket, limit_s: float, token: str | None) -> Start:
    try:
        message = await asyncio.wait_for(_receive(socket), limit_s)
    except asyncio.TimeoutError as error:
        raise Refusal(POLICY, f"nothing came for {limit_s:g} s; send the start message at once") from error
    if isinstance(message, bytes):
        raise Refusal(UNACCEPTABLE, 'audio came before the start message; begin with {"type": "start", ...}')
    return parse_start(message, token=token)


async def _talk(socket: WebSocket, session: Session, limit_s: float) -> None:
    """Send what there is to tell, to the end; a client that does not read is left."""
    try:
        async for event in session.events():
            await asyncio.wait_for(_unless_closed(socket.send_json(event)), limit_s)
        await _unless_closed(socket.close(session.close_code))
    except asyncio.TimeoutError:
        pass


async def _unless_closed(sending: Coroutine[Any, Any, None]) -> None:
    """The server below closes by itself after a message too long or a ping without answer: that is a client gone."""
    try:
        await sending
    except RuntimeError as error:
        raise WebSocketDisconnect from error


async def _listen(socket: WebSocket, session: Session, encoding: str, limits: LimitConfig) -> None:
    """Take what comes until the client is gone, or `_talk` has had the last word."""
    deadline, idle_at, refused = time.monotonic() + limits.session_s, time.monotonic() + limits.idle_s, 0
    while True:
        message: str | bytes = b""
        try:
            rest_s = max(min(deadline, idle_at) - time.monotonic(), 0.0)
            message = await asyncio.wait_for(_receive(socket), None if session.ended else rest_s)
            if isinstance(message, bytes):
                await session.put(decode_audio(message, encoding))
            else:
                parse_end(message)
                session.end("end")
        except asyncio.TimeoutError:
            session.end("idle" if idle_at < deadline else "limit")
        except Refusal as refusal:
            session.fail(str(refusal), close_code=refusal.code)
        except StreamError as error:
            refused += 1
            session.tell(error_event(str(error), fatal=False))
            if refused > limits.refused_messages:
                session.fail(f"more than {limits.refused_messages} messages were refused", close_code=UNACCEPTABLE)
        if message:  # an empty one says nothing, not even that somebody is there
            idle_at = time.monotonic() + limits.idle_s
        if session.audio_s > limits.session_s or time.monotonic() > deadline:
            session.end("limit")


async def _receive(socket: WebSocket) -> str | bytes:
    """The next message; raises WebSocketDisconnect."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    text: str | None = message.get("text")
    return text if text is not None else bytes(message["bytes"])
