"""A stream as its connection sees it: audio waits here to be heard, and messages wait to be sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

import numpy as np

from asr.serving.hearing import Hearing
from asr.serving.protocol import Event, error_event

TURN_S = 1.0
"""Seconds of audio that a stream may bring to one round, so that nobody's backlog delays the others."""


class Session:
    """Between one connection and the engine; all on the event loop."""

    def __init__(self, hearing: Hearing, sample_rate: int, *, backlog_s: float, wake: Callable[[], None]):
        self.hearing = hearing
        self.close_code = 1000
        self._sample_rate = sample_rate
        self._max_waiting = int(backlog_s * sample_rate)
        self._wake = wake
        self._inbox: deque[np.ndarray] = deque()
        self._num_waiting = self._num_heard = 0
        self._next_chunk_s = hearing.next_chunk_s
        self._busy = False
        self._reason = ""
        self._finished = False  # the hearing knows that it has ended
        self._over = False
        self._outbox: list[Event] = []
        self._room, self._news = asyncio.Event(), asyncio.Event()
        self._room.set()

    # The connection's side.

    @property
    def ended(self) -> bool:
        """Whether no more audio is taken."""
        return bool(self._reason) or self._over

    @property
    def audio_s(self) -> float:
        """Seconds of audio that came in."""
        return (self._num_heard + self._num_waiting) / self._sample_rate

    async def put(self, samples: np.ndarray) -> None:
        """Take (N,) samples; waits while too many of them are there already. Ignored if N is 0, and after the end."""
        if self.ended or not len(samples):  # empty pieces would pile up below every limit
            return
        self._inbox.append(samples)
        self._num_waiting += len(samples)
        if self._num_waiting > self._max_waiting:
            self._room.clear()
        if self.has_work:
            self._wake()
        await self._room.wait()

    def end(self, reason: str, *, close_code: int = 1000) -> None:
        """No more audio will come; the first reason given is the one that is told."""
        if not self.ended:
            self._reason, self.close_code = reason, close_code
            self._room.set()
            self._wake()

    def tell(self, event: Event) -> None:
        """Put a message into the outbox; a partial text that has not been sent gives way to what is newer."""
        if self._over:
            return
        if self._outbox and self._outbox[-1]["type"] == "partial" and event["type"] in ("partial", "final"):
            self._outbox.pop()
        self._outbox.append(event)
        self._news.set()

    def fail(self, message: str, *, close_code: int) -> None:
        """Give up: this sentence is the last the client hears."""
        if not self._over:
            self.tell(error_event(message, fatal=True))
            self._over, self.close_code = True, close_code
            self._room.set()

    async def events(self) -> AsyncIterator[Event]:
        """Messages for the client, as they come, to the last one."""
        while self._outbox or not self._over:
            await self._news.wait()
            self._news.clear()
            while self._outbox:
                yield self._outbox.pop(0)

    # The engine's side.

    @property
    def has_work(self) -> bool:
        """Whether a turn would lead to anything: while there is room, pieces gather until they make a chunk."""
        if self._over:
            return False
        ending = bool(self._reason) and not self._finished
        gathered = self.audio_s >= self._next_chunk_s or not self._room.is_set()
        return self._busy or ending or (self._num_waiting > 0 and gathered)

    def take(self) -> tuple[np.ndarray, bool]:
        """Audio for one turn, at most `TURN_S` of it, and whether it was the last; none while a chunk still waits."""
        if self._busy:
            return np.zeros(0, np.float32), False
        joined = np.concatenate([*self._inbox, np.zeros(0, np.float32)])
        taken, rest = np.split(joined, [int(TURN_S * self._sample_rate)])
        self._inbox = deque([rest] if len(rest) else [])
        self._num_waiting = len(rest)
        self._num_heard += len(taken)
        if self._num_waiting <= self._max_waiting:
            self._room.set()
        self._finished = bool(self._reason) and not len(rest)
        return taken, self._finished

    def answer(self, events: list[Event]) -> None:
        """What a turn has found."""
        self._busy, self._next_chunk_s = self.hearing.busy, self.hearing.next_chunk_s
        for event in events:
            self.tell(event)
        if self.hearing.done:
            self.tell({"type": "done", "reason": self._reason, "audio_s": round(self.audio_s, 3)})
            self._over = True
