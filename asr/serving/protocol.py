"""What clients and the server say to each other, over a WebSocket at /stream.

The client's first message is text, what follows is audio, and text again ends it:

    {"type": "start", "sample_rate": 48000, "encoding": "float32"}
    audio: binary messages of any length, one channel, little-endian
    {"type": "end"}

The encoding may also be "int16"; a server that asks for a token wants "token": "..." in the start message. The server
answers with text:

    {"type": "ready", "chunk_s": 0.64, "lookahead_s": 0.13}
    {"type": "partial", "segment": 0, "text": "one tw", "start_s": 0.0, "decoded_s": 1.28}
    {"type": "final", "segment": 0, "text": "one two", "start_s": 0.0, "decoded_s": 2.56}
    {"type": "error", "message": "...", "fatal": false}
    {"type": "done", "reason": "end", "audio_s": 3.1}

A partial text replaces the one before it of the same segment; a final one stays, and the next segment begins. Segments
without words are not mentioned. `start_s` and `decoded_s` count seconds of audio since the stream's start: where the
segment begins, and up to where the audio was decoded. An error that is not fatal leaves out the message it complains
about, and the stream goes on. Every stream that was started ends with `done` or a fatal error, and its connection then
closes; `reason` is "end", "idle" (no message for long), "limit" (the stream lasted too long) or "shutdown".

Codes of closing: 1000 after `done`, 1001 after `done` at a shutdown, 1003 for messages that are none of these, 1008 for
a missing or wrong token or a stream that never starts, 1009 for a message too long, 1011 for an error in the server,
1012 when it stops before a stream has started, 1013 when it is full. Pages of other sites are refused with status 403.
"""

from __future__ import annotations

import hmac
import json
from typing import Any, NamedTuple

import numpy as np

from asr.errors import StreamError
from asr.features.audio import LOUDEST

Event = dict[str, Any]
"""A message to the client."""

SAMPLE_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 176400, 192000)
"""Rates that devices have; the filters of others could be made arbitrarily large."""
ENCODINGS: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "int16": np.dtype("<i2")}
UNACCEPTABLE, POLICY, STOPPING, TOO_MANY = 1003, 1008, 1012, 1013


class Refusal(StreamError):
    """A client is turned away; `code` closes its connection."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


class Start(NamedTuple):
    """sample_rate: Hz; encoding: one of `ENCODINGS`."""

    sample_rate: int
    encoding: str


def stopping() -> Refusal:
    """For clients that have not started when the server stops."""
    return Refusal(STOPPING, "the server is shutting down; try again later")


def parse_start(text: str, *, token: str | None) -> Start:
    """Read the first message; raises Refusal."""
    said = _parse(text)
    if said["type"] != "start":
        raise Refusal(
            UNACCEPTABLE, f'the first message is of type {_short(said["type"])}; begin with {{"type": "start", ...}}'
        )
    if token is not None and not hmac.compare_digest(_bytes(str(said.get("token", ""))), _bytes(token)):
        raise Refusal(POLICY, "the token is missing or wrong; put the server's token into the start message")
    rate, encoding = said.get("sample_rate"), said.get("encoding", "float32")
    if isinstance(rate, bool) or rate not in SAMPLE_RATES:
        rates = ", ".join(map(str, SAMPLE_RATES))
        raise Refusal(UNACCEPTABLE, f"sample_rate={_short(rate)} is not served; resample to one of {rates} Hz")
    if not isinstance(encoding, str) or encoding not in ENCODINGS:
        raise Refusal(UNACCEPTABLE, f"encoding={_short(encoding)} is unknown; use float32 or int16")
    return Start(int(rate), encoding)


def parse_end(text: str) -> None:
    """Read a text message that comes after the first: it can only be the end; raises Refusal."""
    kind = _parse(text)["type"]
    if kind == "start":
        raise Refusal(UNACCEPTABLE, "this stream has started and keeps its sample rate; open another connection")
    if kind != "end":
        raise Refusal(
            UNACCEPTABLE, f'a message of type {_short(kind)} means nothing here; send audio, or {{"type": "end"}}'
        )


def decode_audio(data: bytes, encoding: str) -> np.ndarray:
    """A binary message to samples, (N,) float32 in [-1, 1]; raises StreamError."""
    kind = ENCODINGS[encoding]
    if len(data) % kind.itemsize:
        raise StreamError(f"a message of {len(data)} bytes is no whole number of {encoding} samples; it was left out")
    samples = np.frombuffer(data, dtype=kind)
    if encoding == "int16":
        return samples.astype(np.float32) / 32768
    # Not `<=` the other way round: comparisons with NaN are false.
    if len(samples) and not np.abs(samples).max() <= LOUDEST:
        raise StreamError("a message holds samples that are NaN, infinite or far outside [-1, 1]; it was left out")
    return samples


def error_event(message: str, *, fatal: bool) -> Event:
    """What went wrong, in a sentence."""
    return {"type": "error", "message": message, "fatal": fatal}


def _parse(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refusal(UNACCEPTABLE, f"a text message is no JSON: {_short(text)}; see the protocol") from error
    if not isinstance(said, dict) or not isinstance(said.get("type"), str):
        raise Refusal(UNACCEPTABLE, f'a text message is no object with a "type": {_short(text)}; see the protocol')
    return said


def _bytes(text: str) -> bytes:
    """JSON may hold halves of characters, which UTF-8 proper does not spell."""
    return text.encode("utf-8", "surrogatepass")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "..."
